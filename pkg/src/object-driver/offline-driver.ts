import type { Database } from '../database.js';
import { errorWithCode, QueryError } from '../errors.js';
import { inNewerForm } from '../older-forms.js';
import type { Records } from '../records.js';
import { Transaction } from '../transaction.js';
import type { AggregateQuery, Explanation, ObjectDefinition, OpenOptions, RecordId } from '../types.js';
import type { CallOptions, DriverQuery, DriverRecord, ObjectSchema } from './contract.js';
import { definitionOf, temporalFieldsOf } from './definitions.js';
import { FilterError, forEngine } from './failures.js';
import { filterOf, isPlain, type Kinds, numberOf } from './filters.js';
import { Opening } from './opening.js';
import { inStoredForm } from './temporal.js';

/** What the driver takes: what `openDatabase` does, and whose it is. */
export interface OfflineDriverOptions extends Omit<OpenOptions, 'objects'> {
  /**
   * Definitions of this package's form. What they say of an object goes before what the engine does; `sync`, which engines know nothing of,
   * is said here. Default: none, the engine's are taken.
   */
  objects?: readonly ObjectDefinition[];
  /** What the engine knows the driver by, the name of a data source. Default: `objectql-offline`. */
  driverName?: string;
  /**
   * The tenant whose records these are: an engine that names another one is refused, and without this, one that names any. A
   * database has no rows of several tenants that could be kept apart.
   */
  tenantId?: string;
}

/** The parts of a query that are the engine's own business: it puts related records in itself. */
const ENGINES = ['object', 'expand'];

/** Those that the engine hands over with a read whose rows it will group itself. */
const OF_GROUPS = ['groupBy', 'aggregations', 'having'];

/**
 * A driver for ObjectQL's engine (`IDataDriver` of `@objectstack/spec/contracts`) over an offline database. Nothing is opened before it is
 * first used; the objects are those whose definitions the engine has handed over by then, and those of the option.
 *
 * Records go in and out as copies, with their ids as text. Errors are those of `Database`, with the HTTP `status` that an engine answers
 * with; a filter that is refused is a {@link FilterError}.
 *
 * ```ts
 * const engine = new ObjectQL();
 * engine.registerDriver(new OfflineDriver({ name: 'crm', sync: { url: '/api/sync' } }), true);
 * await engine.init();
 * ```
 */
export class OfflineDriver {
  readonly name: string;
  readonly version = '0.1.0';
  /**
   * What the engine may leave to it. The last two say what it is; version 17 of the specification has no keys for them.
   */
  readonly supports = {
    queryDateGranularity: { day: true, week: true, month: true, quarter: true, year: true },
    batchSchemaSync: true,
    mutationLog: true,
    changeTracking: true,
  };
  readonly #options: OpenOptions;
  readonly #tenantId: string | undefined;
  readonly #opening: Opening;
  readonly #kinds = new Map<string, Kinds>();

  constructor({ driverName = 'objectql-offline', tenantId, objects = [], ...options }: OfflineDriverOptions) {
    this.name = driverName;
    this.#tenantId = tenantId;
    this.#options = { ...options, objects };
    this.#opening = new Opening(this.#options);
    for (const { name } of objects) this.#learn(name);
  }

  /** The database itself, opened: for live queries, sync and conflicts. Ask again after definitions changed: it is opened anew then. */
  database(): Promise<Database> {
    return this.#opening.use((database) => database);
  }

  /** Checks that there is somewhere to keep records; opens nothing. Errors: `STORAGE_FAILED`. */
  async connect(): Promise<void> {
    if (this.#options.storage === 'memory' || typeof indexedDB !== 'undefined') return;
    const message = `there is no IndexedDB here: give the driver storage: 'memory', or use it in a browser`;
    throw forEngine(errorWithCode('STORAGE_FAILED', message), '', true);
  }

  /** Closes the database. What is pending stays, and the next call opens it again. */
  disconnect(): Promise<void> {
    return this.#opening.close();
  }

  async checkHealth(): Promise<boolean> {
    try {
      await this.connect();
      return !this.#opening.isOpen || (await this.database()).status.state !== 'storage-failed';
    } catch {
      return false;
    }
  }

  /** There is no language for commands. Errors: `INVALID_QUERY`, always. */
  async execute(command: unknown, parameters?: unknown[], options?: CallOptions): Promise<never> {
    void [command, parameters, options];
    const message = 'an offline database has no commands: use find, aggregate and the other methods';
    throw forEngine(new QueryError('INVALID_QUERY', message), '', true);
  }

  /** The records that the query finds, each for itself: groups are `aggregate`'s. */
  find(object: string, query?: DriverQuery, options?: CallOptions): Promise<DriverRecord[]> {
    const read = () => this.#query(object, query);
    return this.#call(object, options, read, async (records, query) => (await records.find(object, query)).map(handedOut));
  }

  async findOne(object: string, query?: DriverQuery, options?: CallOptions): Promise<DriverRecord | null> {
    return (await this.find(object, { ...query, limit: 1 }, options))[0] ?? null;
  }

  /** Errors: `ALREADY_EXISTS` and `UNIQUE_VIOLATION`, which an engine takes for a duplicate. */
  create(object: string, data: DriverRecord, options?: CallOptions): Promise<DriverRecord> {
    const read = () => this.#stored(object, data);
    return this.#call(object, options, read, async (records, record) => handedOut(await records.create(object, record)));
  }

  /** Resolves with the record as it then is, or null if there is none. */
  update(object: string, id: RecordId, data: DriverRecord, options?: CallOptions): Promise<DriverRecord | null> {
    return this.#call(object, options, () => this.#patch(object, id, data), async (records, patch) => {
      const found = await idIn(records, object, id);
      try {
        return handedOut(await records.update(object, found, patch));
      } catch (thrown) {
        if ((thrown as { code?: unknown }).code === 'NOT_FOUND') return null;
        throw thrown;
      }
    });
  }

  /** Changes the record with this id or, without one, that with the same values under `conflictKeys`; creates it if there is none. */
  upsert(object: string, data: DriverRecord, conflictKeys: readonly string[] = [], options?: CallOptions): Promise<DriverRecord> {
    return this.#atOnce(object, options, () => this.#stored(object, data), async (records, record) => {
      const { id } = record;
      if (id !== undefined) return handedOut(await records.upsert(object, { ...record, id: await idIn(records, object, id) }));
      const where = Object.fromEntries(conflictKeys.map((key) => [key, { $eq: record[key] ?? null }]));
      const found = conflictKeys.length > 0 ? await records.findOne(object, { where, fields: [] }) : undefined;
      return handedOut(found ? await records.update(object, found.id, record) : await records.create(object, record));
    });
  }

  delete(object: string, id: RecordId, options?: CallOptions): Promise<boolean> {
    return this.#call(object, options, () => id, async (records) => await records.delete(object, await idIn(records, object, id)));
  }

  /** Counts what matches `where` and `search`; the other parts of a query are about which of these are shown. */
  count(object: string, query: DriverQuery = {}, options?: CallOptions): Promise<number> {
    return this.#call(object, options, () => this.#query(object, query), async (records, { where, search, searchFields }) => {
      if (search === undefined) return await records.count(object, where);
      return (await records.find(object, { search, fields: [], ...(where && { where }), ...(searchFields && { searchFields }) })).length;
    });
  }

  /** Computes over groups of records: a row for each, with nulls where a field has no value. */
  aggregate(object: string, query: DriverQuery, options?: CallOptions): Promise<DriverRecord[]> {
    return this.#call(object, options, () => this.#aggregation(object, query), (records, query) => {
      return records.aggregate(object, query) as Promise<DriverRecord[]>;
    });
  }

  /** The different values of a field, but null. */
  distinct(object: string, field: string, query?: Pick<DriverQuery, 'where'>, options?: CallOptions): Promise<unknown[]> {
    return this.#call(object, options, () => this.#filter(object, query?.where), (records, where) => records.distinct(object, field, where));
  }

  /** Creates all of them, or none. */
  bulkCreate(object: string, data: readonly DriverRecord[], options?: CallOptions): Promise<DriverRecord[]> {
    const read = () => listOf(data, 'data').map((record) => this.#stored(object, record));
    return this.#call(object, options, read, async (records, data) => (await records.bulkCreate(object, data)).map(handedOut));
  }

  /** Changes all of them that are there, or none; resolves with these as they then are. */
  bulkUpdate(
    object: string,
    updates: readonly { readonly id: RecordId; readonly data: DriverRecord }[],
    options?: CallOptions,
  ): Promise<DriverRecord[]> {
    const read = () => listOf(updates, 'updates').map(({ id, data }) => ({ id, data: this.#patch(object, id, data) }));
    return this.#atOnce(object, options, read, async (records, updates) => {
      const found = [];
      for (const { id, data } of updates) {
        const existing = await idIn(records, object, id);
        if ((await records.get(object, existing)) !== undefined) found.push({ id: existing, data });
      }
      return (await records.bulkUpdate(object, found)).map(handedOut);
    });
  }

  /** Deletes those that are there. */
  bulkDelete(object: string, ids: readonly RecordId[], options?: CallOptions): Promise<void> {
    return this.#call(object, options, () => [...listOf(ids, 'ids')], async (records, ids) => {
      await records.bulkDelete(object, await Promise.all(ids.map((id) => idIn(records, object, id))));
    });
  }

  /** Changes all that the query finds; resolves with how many there were. */
  updateMany(object: string, query: DriverQuery, data: DriverRecord, options?: CallOptions): Promise<number> {
    return this.#many(object, query, options, () => this.#stored(object, data), {
      byFilter: (records, where, patch) => records.updateMany(object, where, patch),
      byIds: async (records, ids, patch) => (await records.bulkUpdate(object, ids.map((id) => ({ id, data: patch })))).length,
    });
  }

  /** Deletes all that the query finds; resolves with how many there were. */
  deleteMany(object: string, query: DriverQuery, options?: CallOptions): Promise<number> {
    return this.#many(object, query, options, () => undefined, {
      byFilter: (records, where) => records.deleteMany(object, where),
      byIds: (records, ids) => records.bulkDelete(object, ids),
    });
  }

  /** How the query is answered: by which index, and how many records are looked at. */
  explain(object: string, query?: DriverQuery, options?: CallOptions): Promise<Explanation> {
    return this.#call(object, options, () => this.#query(object, query), (_, query, database) => database.explain(object, query));
  }

  /** A value as it is compared with what the field holds: a time in the form in which times are stored. */
  temporalFilterValue(object: string, field: string, value: unknown): unknown {
    return inStoredForm(value, this.#kinds.get(object)?.get(field));
  }

  /** Begins a transaction, to go with calls as `options.transaction`. It locks nothing, so that there are no levels of isolation to choose. */
  async beginTransaction(options?: { isolationLevel?: string }): Promise<Transaction> {
    void options;
    return await this.#opening.begin().catch(refusal('', true));
  }

  /** Errors: `TRANSACTION_CONFLICT` where what it read was changed meanwhile; nothing was written then. */
  async commit(transaction: unknown): Promise<void> {
    await this.#opening.end(transactionIn(transaction), 'commit').catch(refusal('', true));
  }

  async rollback(transaction: unknown): Promise<void> {
    await this.#opening.end(transactionIn(transaction), 'rollback').catch(refusal('', true));
  }

  /**
   * Takes the definition of an object. The database is opened with all that came before it is first used, and anew when others came since.
   *
   * # Errors
   * `INVALID_NAME`; `INVALID_OPTIONS` for one of several tenants' records.
   */
  async syncSchema(object: string, schema: unknown, options?: CallOptions): Promise<void> {
    this.#checkTenant(options);
    const definition = (schema ?? {}) as ObjectSchema;
    if (definition.tenancy?.enabled === true && this.#tenantId === undefined) {
      const message = `${object} has records of several tenants, which are not kept apart: give the driver the tenantId whose database it is`;
      throw forEngine(errorWithCode('INVALID_OPTIONS', message), object, true);
    }
    try {
      this.#opening.define(definitionOf(object, definition));
    } catch (thrown) {
      throw forEngine(thrown, object, true);
    }
    this.#learn(object);
  }

  async syncSchemasBatch(schemas: readonly { object: string; schema: unknown }[], options?: CallOptions): Promise<void> {
    for (const { object, schema } of schemas) await this.syncSchema(object, schema, options);
  }

  /** As `syncSchema`, which does not touch the database either. */
  async registerObjectMetadata(schemas: readonly unknown[]): Promise<void> {
    for (const schema of schemas) await this.syncSchema(String((schema as ObjectSchema).name), schema);
  }

  /** Deletes the records of an object, as `deleteMany` does: those of a synced object on the server, too. */
  async dropTable(object: string, options?: CallOptions): Promise<void> {
    await this.deleteMany(object, {}, options);
  }

  /** Forgets all that this browser has, also what was not pushed. The server's records stay, and come again with the next sync. */
  async clear(): Promise<void> {
    await this.#opening.destroy().catch(refusal('', true));
  }

  #learn(object: string): void {
    const definition = this.#opening.definition(object);
    if (definition) this.#kinds.set(object, temporalFieldsOf(definition));
  }

  /** Runs one call, in the transaction that its options name. What it is about is read before it returns. */
  async #call<P, R>(
    object: string,
    options: CallOptions | undefined,
    read: () => P,
    task: (records: Records, read: P, database: Database) => R | Promise<R>,
  ): Promise<R> {
    try {
      this.#checkTenant(options);
      const within = options?.transaction === undefined || options.transaction === null ? undefined : transactionIn(options.transaction);
      const about = read();
      return await this.#opening.use((database) => task(within ?? database, about, database));
    } catch (thrown) {
      throw forEngine(thrown, object, this.#opening.definition(object) !== undefined);
    }
  }

  /** As `#call`, for what takes several steps that must be one. */
  #atOnce<P, R>(
    object: string,
    options: CallOptions | undefined,
    read: () => P,
    task: (records: Records, read: P) => Promise<R>,
  ): Promise<R> {
    return this.#call(object, options, read, (records, about) => inTransaction(records, (within) => task(within, about)));
  }

  /** Runs a write of what a query finds: by its filter, if that is all there is to it. */
  #many<P>(
    object: string,
    query: DriverQuery | undefined,
    options: CallOptions | undefined,
    read: () => P,
    write: {
      byFilter(records: Records, where: object, read: P): Promise<number>;
      byIds(records: Records, ids: RecordId[], read: P): Promise<number>;
    },
  ): Promise<number> {
    const readAll = () => ({ ...this.#query(object, query), about: read() });
    return this.#call(object, options, readAll, (records, { where = {}, about, ...rest }) => {
      if (Object.keys(rest).length === 0) return write.byFilter(records, where, about);
      return inTransaction(records, async (within) => {
        const rows = await within.find(object, { ...rest, where, fields: [] });
        return await write.byIds(within, rows.map(({ id }) => id), about);
      });
    });
  }

  #checkTenant({ tenantId, tenantIds = [] }: CallOptions = {}): void {
    const others = [...tenantIds, ...(tenantId === undefined ? [] : [tenantId])].filter((tenant) => tenant !== this.#tenantId);
    if (others.length === 0) return;
    const whose = this.#tenantId === undefined ? 'nobody in particular' : this.#tenantId;
    const message = `a call for the tenant ${others[0]} came to a database of ${whose}: give the driver the tenantId whose database it is`;
    throw forEngine(errorWithCode('INVALID_OPTIONS', message), '', true);
  }

  #filter(object: string, where: unknown): object | undefined {
    return filterOf(where, this.#kinds.get(object) ?? new Map());
  }

  /** The query as the database takes it. */
  #query(object: string, query: DriverQuery = {}, ignored = [...ENGINES, ...OF_GROUPS]): { where?: object; search?: string; searchFields?: string[] } {
    // `filters` is the older name.
    const { where, filters, ...rest } = query as DriverQuery & { filters?: unknown };
    const given = [where, filters].filter((filter) => filter !== undefined && filter !== null);
    if (given.length > 1) throw new FilterError('filters is the older name of where: leave one of them out');
    const filter = this.#filter(object, given[0]);
    const parts = Object.entries(inNewerForm(rest)).filter(([name, value]) => {
      // No fields are all fields, to an engine.
      const isEmpty = value === undefined || value === null || (name === 'fields' && Array.isArray(value) && value.length === 0);
      return !isEmpty && !ignored.includes(name);
    });
    return { ...Object.fromEntries(parts), ...(filter && { where: filter }) };
  }

  #aggregation(object: string, query: DriverQuery): AggregateQuery<DriverRecord> & { [key: string]: never } {
    const { aggregations, ...rest } = this.#query(object, query, ENGINES) as DriverQuery;
    const columns = aggregations?.map(({ filter, ...column }) => {
      return { ...column, ...(filter !== undefined && { filter: this.#filter(object, filter) }) };
    });
    return { ...rest, ...(columns && { aggregations: columns }) } as never;
  }

  /** A record as it is written: times in the form in which they are stored, the id as text. */
  #stored(object: string, data: DriverRecord): DriverRecord & { id?: RecordId } {
    // What is no record is for the database to refuse.
    if (!isPlain(data)) return data;
    const record: DriverRecord & { id?: RecordId } = { ...data };
    for (const [field, kind] of this.#kinds.get(object) ?? []) {
      if (Object.hasOwn(record, field)) record[field] = inStoredForm(record[field], kind);
    }
    if (record.id === undefined || record.id === null) delete record.id;
    else if (typeof record.id === 'number') record.id = String(record.id);
    return record;
  }

  /** A change as it is written, without the id of the record that it is to. */
  #patch(object: string, to: RecordId, data: DriverRecord): DriverRecord {
    if (!isPlain(data)) return data;
    const { id, ...patch } = this.#stored(object, data);
    return id === undefined || id === String(to) ? patch : { id, ...patch };
  }
}

/** The id of a record that an engine knows by text: that text, or the number that it says if there is only a record of that. */
async function idIn(records: Records, object: string, id: RecordId): Promise<RecordId> {
  const number = numberOf(id);
  if (number === undefined) return id;
  const text = String(number);
  const isNumber = (await records.get(object, text)) === undefined && (await records.get(object, number)) !== undefined;
  return isNumber ? number : text;
}

function inTransaction<R>(records: Records, task: (records: Records) => Promise<R>): Promise<R> {
  return records instanceof Transaction ? task(records) : (records as Database).transaction(task);
}

function listOf<T>(items: readonly T[], name: string): readonly T[] {
  if (Array.isArray(items)) return items as readonly T[];
  throw errorWithCode('INVALID_VALUE', `${name} must be an array`);
}

function transactionIn(handle: unknown): Transaction {
  if (handle instanceof Transaction) return handle;
  throw forEngine(errorWithCode('INVALID_OPTIONS', 'a transaction must be what beginTransaction() of this driver resolved with'), '', true);
}

function refusal(object: string, isKnown: boolean): (thrown: unknown) => never {
  return (thrown) => {
    throw forEngine(thrown, object, isKnown);
  };
}

/** A copy that belongs to who gets it. */
function handedOut(record: object): DriverRecord {
  const copy = copyOf(record) as DriverRecord;
  copy.id = String(copy.id);
  return copy;
}

function copyOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(copyOf);
  const copy = { ...value } as { [key: string]: unknown };
  for (const [key, inner] of Object.entries(copy)) if (typeof inner === 'object') copy[key] = copyOf(inner);
  return copy;
}
