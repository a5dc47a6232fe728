import type { Database } from '../database.js';
import type { Transaction } from '../transaction.js';
import type { RecordId } from '../types.js';
import type { CallOptions, DriverQuery, DriverRecord, ObjectSchema } from './contract.js';
import { FilterError } from './failures.js';
import { OfflineDriver, type OfflineDriverOptions } from './offline-driver.js';

/** A filter of the older form, or of the newer one. */
type Filters = unknown;

/**
 * The older `Driver` interface of ObjectQL, over an {@link OfflineDriver}: `findOne` goes by id, `count`, `distinct`, `updateMany` and
 * `deleteMany` take a filter in the place of a query, and the last two resolve with objects.
 *
 * ```ts
 * const driver = new LegacyOfflineDriver({ name: 'crm', objects });
 * const { modifiedCount } = await driver.updateMany('story', [['status', '=', 'open']], { status: 'done' });
 * ```
 */
export class LegacyOfflineDriver {
  /** What does the work: the newer interface. */
  readonly driver: OfflineDriver;
  readonly name: string;
  readonly version: string;

  constructor(options: OfflineDriverOptions) {
    this.driver = new OfflineDriver(options);
    this.name = this.driver.name;
    this.version = this.driver.version;
  }

  /** The database itself, opened. */
  database(): Promise<Database> {
    return this.driver.database();
  }

  /** Takes the definitions of objects, which may come in the option `objects` as well. */
  init(objects: readonly ObjectSchema[]): Promise<void> {
    return this.driver.registerObjectMetadata(objects);
  }

  connect(): Promise<void> {
    return this.driver.connect();
  }

  disconnect(): Promise<void> {
    return this.driver.disconnect();
  }

  checkHealth(): Promise<boolean> {
    return this.driver.checkHealth();
  }

  find(object: string, query?: DriverQuery, options?: CallOptions): Promise<DriverRecord[]> {
    return this.driver.find(object, query, options);
  }

  /** The record with this id, if the query matches it; without an id, the first that the query finds. */
  findOne(object: string, id: RecordId | null | undefined, query?: DriverQuery, options?: CallOptions): Promise<DriverRecord | null> {
    if (id === null || id === undefined) return this.driver.findOne(object, query, options);
    const { where: newer, filters: older, ...rest } = { ...query } as DriverQuery & { filters?: unknown };
    const where = newer ?? older;
    const isAll = where === undefined || where === null || (Array.isArray(where) && where.length === 0);
    return this.driver.findOne(object, { ...rest, where: isAll ? { id } : [{ id }, 'and', where] }, options);
  }

  create(object: string, data: DriverRecord, options?: CallOptions): Promise<DriverRecord> {
    return this.driver.create(object, data, options);
  }

  update(object: string, id: RecordId, data: DriverRecord, options?: CallOptions): Promise<DriverRecord | null> {
    return this.driver.update(object, id, data, options);
  }

  delete(object: string, id: RecordId, options?: CallOptions): Promise<boolean> {
    return this.driver.delete(object, id, options);
  }

  count(object: string, filters?: Filters, options?: CallOptions): Promise<number> {
    return this.driver.count(object, { where: filters }, options);
  }

  distinct(object: string, field: string, filters?: Filters, options?: CallOptions): Promise<unknown[]> {
    return this.driver.distinct(object, field, { where: filters }, options);
  }

  aggregate(object: string, query: DriverQuery, options?: CallOptions): Promise<DriverRecord[]> {
    return this.driver.aggregate(object, query, options);
  }

  createMany(object: string, data: readonly DriverRecord[], options?: CallOptions): Promise<DriverRecord[]> {
    return this.driver.bulkCreate(object, data, options);
  }

  async updateMany(object: string, filters: Filters, data: DriverRecord, options?: CallOptions): Promise<{ modifiedCount: number }> {
    return { modifiedCount: await this.driver.updateMany(object, { where: given(filters) }, data, options) };
  }

  async deleteMany(object: string, filters: Filters, options?: CallOptions): Promise<{ deletedCount: number }> {
    return { deletedCount: await this.driver.deleteMany(object, { where: given(filters) }, options) };
  }

  beginTransaction(): Promise<Transaction> {
    return this.driver.beginTransaction();
  }

  commitTransaction(transaction: unknown): Promise<void> {
    return this.driver.commit(transaction);
  }

  rollbackTransaction(transaction: unknown): Promise<void> {
    return this.driver.rollback(transaction);
  }

  /** Forgets all that this browser has, also what was not pushed; the server's records stay. */
  clear(): Promise<void> {
    return this.driver.clear();
  }
}

/** A filter that must be there: a forgotten one would have all records changed. */
function given(filters: Filters): Filters {
  if (filters !== undefined && filters !== null) return filters;
  throw new FilterError('say which records: {} for all of them');
}
