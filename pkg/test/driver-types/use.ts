// That the driver is what the engine asks for. `tsc` is the test; nothing here runs. The declarations of the specification do not compile by
// themselves (they name packages that it does not depend on), so that they are not checked, and the package's own do without them.
import type { DriverCapabilities } from '@objectstack/spec/data';
import type { IDataDriver } from '@objectstack/spec/contracts';
import { type FilterError, LegacyOfflineDriver, OfflineDriver } from 'objectql-offline/driver';

const driver = new OfflineDriver({ name: 'crm', storage: 'memory', objects: [{ name: 'story', sync: { enabled: true } }] });
const contract: IDataDriver = driver;
const capabilities: DriverCapabilities = driver.supports;
void [contract, capabilities];

// All of the contract's optional parts that it says it has.
const offered: Required<Pick<IDataDriver, 'aggregate' | 'updateMany' | 'deleteMany' | 'explain' | 'temporalFilterValue' | 'syncSchemasBatch' | 'registerObjectMetadata'>> = driver;
void offered;

const mutationLog: boolean = driver.supports.mutationLog;
const status: 400 = (null as unknown as FilterError).status;
void [mutationLog, status];

const found: Record<string, unknown>[] = await driver.find('story', { where: { title: 'a' }, orderBy: [{ field: 'title', order: 'asc' }], limit: 5 });
const one: Record<string, unknown> | null = await driver.findOne('story', { where: { id: 'a' } });
const changed: Record<string, unknown> | null = await driver.update('story', 'a', { title: 'b' });
const count: number = await driver.updateMany('story', { where: {} }, { title: 'c' });
void [found, one, changed, count];
// @ts-expect-error a misspelled part of a query
await driver.find('story', { were: {} });
// @ts-expect-error a database has a name
new OfflineDriver({ storage: 'memory' });

/** The older interface, as far as the packages of ObjectQL before `@objectstack` call it. */
interface OlderDriver {
  name?: string;
  version?: string;
  find(objectName: string, query: object, options?: object): Promise<object[]>;
  findOne(objectName: string, id: string | number, query?: object, options?: object): Promise<object | null>;
  create(objectName: string, data: Record<string, unknown>, options?: object): Promise<object>;
  update(objectName: string, id: string | number, data: Record<string, unknown>, options?: object): Promise<object | null>;
  delete(objectName: string, id: string | number, options?: object): Promise<boolean>;
  count(objectName: string, filters: unknown, options?: object): Promise<number>;
  distinct(objectName: string, field: string, filters?: unknown, options?: object): Promise<unknown[]>;
  aggregate(objectName: string, query: object, options?: object): Promise<object[]>;
  createMany(objectName: string, data: Record<string, unknown>[], options?: object): Promise<object[]>;
  updateMany(objectName: string, filters: unknown, data: Record<string, unknown>, options?: object): Promise<{ modifiedCount: number }>;
  deleteMany(objectName: string, filters: unknown, options?: object): Promise<{ deletedCount: number }>;
  beginTransaction(): Promise<unknown>;
  commitTransaction(transaction: unknown): Promise<void>;
  rollbackTransaction(transaction: unknown): Promise<void>;
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  clear(): Promise<void>;
}
const older: OlderDriver = new LegacyOfflineDriver({ name: 'crm', storage: 'memory' });
void older;
