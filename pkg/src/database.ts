import type { Driver } from './driver.js';
import { errorWithCode, toObjectqlError } from './errors.js';
import type { Events } from './events.js';
import { LiveQuery, type Watch } from './live-query.js';
import type { Reading } from './reading.js';
import type {
  AggregateQuery,
  AggregateRow,
  AnySchema,
  Conflict,
  DatabaseEvents,
  Expand,
  Expandable,
  ExpandedRow,
  Explanation,
  FieldName,
  MutationEntry,
  MutationOutcome,
  NewRecord,
  ObjectName,
  OlderFilter,
  Patch,
  PendingMutation,
  Query,
  RecordId,
  RecordWithId,
  RejectedMutation,
  Resolution,
  SchemaOf,
  Status,
  Stored,
  SyncReport,
  Where,
} from './types.js';
import { encodeAggregation, encodeId, encodeQuery, encodeRecord, encodeRecords, encodeResolution, encodeWhere } from './values.js';

/** The part of a query that says what to put in from other objects. */
type Expanding<Schema, Name extends ObjectName<Schema>, E> = { readonly expand?: E & Expandable<Schema, Name, E> };

/** What a handle works with. */
export interface Handle {
  readonly name: string;
  readonly driver: Driver;
  readonly reading: Reading;
  readonly events: Events;
  close(): Promise<void>;
  destroy(): Promise<void>;
}

/**
 * A database that is open in this page: made by `openDatabase`.
 *
 * A write is in the log on disk when its promise resolves, and in what is read from then on; it goes to the server later.
 * What a write takes is read before the call returns, so the app may change it afterwards. Writes made without waiting for
 * each other share a commit. Reads see what is in memory and cost no I/O. The records they return are frozen and shared: as long as a
 * record does not change, every read returns the same object. What a write returns belongs to the caller.
 *
 * Every method but `status`, `on` and `liveQuery` returns a promise, which rejects with an `ObjectqlError` and nothing else.
 * All of them reject with `CLOSED` after `close()`. Those that take an object's name reject with `UNKNOWN_OBJECT` where it is not among
 * the definitions. Writes reject with `QUOTA_EXCEEDED`, `STORAGE_FAILED`, `STORAGE_UNKNOWN` or `DATABASE_LOST`
 * where IndexedDB does not take them.
 */
export class Database<Schema extends SchemaOf<Schema> = AnySchema> {
  readonly #handle: Handle;
  #closing: Promise<void> | undefined;
  /** What `status` is from the end on; undefined before. */
  #lastStatus: Status | undefined;

  /** @internal */
  constructor(handle: Handle) {
    this.#handle = handle;
    handle.events.onEnd(() => {
      this.#lastStatus = { ...this.status, state: 'closed', leader: false, realtime: false };
    });
  }

  /** The name it was opened with. */
  get name(): string {
    return this.#handle.name;
  }

  /**
   * Creates a record; resolves with it as it was stored, with `id`, `created_at` and `updated_at`.
   *
   * # Errors
   * `ALREADY_EXISTS`, `UNIQUE_VIOLATION`, `READ_ONLY_OBJECT`, `INVALID_ID`, `INVALID_VALUE`, `VALUE_TOO_DEEP`, `VALUE_TOO_LARGE`.
   *
   * ```ts
   * const { id } = await db.create('story', { title: 'Ship it', due: new Date() });
   * ```
   */
  create<Name extends ObjectName<Schema>>(object: Name, record: NewRecord<Schema[Name]>): Promise<Stored<Schema[Name]>> {
    return this.#read(async (driver) => driver.create(objectName(object), encodeRecord(record, object)));
  }

  /**
   * Creates many records, or none of them: they are one commit. Resolves with them as they were stored, in the same order.
   * All of them may have 16 MiB of JSON text; with more, or where none hangs on the others, several calls do as well.
   *
   * # Errors
   * As `create`; the message names the place in the array.
   *
   * ```ts
   * await db.bulkCreate('story', titles.map((title) => ({ title })));
   * ```
   */
  bulkCreate<Name extends ObjectName<Schema>>(
    object: Name,
    records: readonly NewRecord<Schema[Name]>[],
  ): Promise<Stored<Schema[Name]>[]> {
    return this.#read(async (driver) => driver.bulkCreate(objectName(object), encodeRecords(records, object)));
  }

  /**
   * Changes the fields that are given and leaves the others; resolves with the record as it then is.
   *
   * # Errors
   * `NOT_FOUND`, `UNIQUE_VIOLATION`, `READ_ONLY_OBJECT`, `INVALID_ID`, `INVALID_VALUE`, `VALUE_TOO_DEEP`, `VALUE_TOO_LARGE`.
   *
   * ```ts
   * await db.update('story', id, { status: 'done', due: null });
   * ```
   */
  update<Name extends ObjectName<Schema>>(
    object: Name,
    id: RecordId,
    patch: Patch<Schema[Name]>,
  ): Promise<Stored<Schema[Name]>> {
    return this.#read(async (driver) => driver.update(objectName(object), encodeId(id), encodeRecord(patch, object)));
  }

  /**
   * Creates the record, or changes the one with its id; resolves with the record as it then is.
   *
   * # Errors
   * `UNIQUE_VIOLATION`, `READ_ONLY_OBJECT`, `INVALID_ID`, `INVALID_VALUE`, `VALUE_TOO_DEEP`, `VALUE_TOO_LARGE`.
   *
   * ```ts
   * await db.upsert('setting', { id: 'theme', value: 'dark' });
   * ```
   */
  upsert<Name extends ObjectName<Schema>>(object: Name, record: RecordWithId<Schema[Name]>): Promise<Stored<Schema[Name]>> {
    return this.#read(async (driver) => driver.upsert(objectName(object), encodeRecord(record, object)));
  }

  /**
   * Deletes a record; resolves with whether there was one.
   *
   * # Errors
   * `READ_ONLY_OBJECT`, `INVALID_ID`.
   *
   * ```ts
   * if (!(await db.delete('story', id))) console.log('somebody was faster');
   * ```
   */
  delete<Name extends ObjectName<Schema>>(object: Name, id: RecordId): Promise<boolean> {
    return this.#call(async (driver) => driver.delete(objectName(object), encodeId(id)));
  }

  /**
   * Reads a record by its id; resolves with `undefined` when there is none.
   *
   * # Errors
   * `INVALID_ID`.
   *
   * ```ts
   * const story = await db.get('story', id);
   * ```
   */
  get<Name extends ObjectName<Schema>>(object: Name, id: RecordId): Promise<Readonly<Stored<Schema[Name]>> | undefined> {
    return this.#call(() => this.#handle.reading.get(objectName(object), id) as Readonly<Stored<Schema[Name]>> | undefined);
  }

  /**
   * Reads the records that match; all of the object's without a query. `expand` puts records of other objects in.
   *
   * # Errors
   * `INVALID_QUERY`, also where a value in `where` is `undefined`: a filter that lost its value would match every record. `UNKNOWN_OBJECT`
   * also where `expand` leads to an object that is not among the definitions.
   *
   * ```ts
   * const open = await db.find('story', {
   *   where: { status: { $in: ['open', 'started'] }, points: { $gte: 3 } },
   *   orderBy: [{ field: 'created_at', order: 'desc' }],
   *   expand: { assignee: true, task: { where: { done: false }, limit: 5 } },
   *   limit: 20,
   * });
   * ```
   */
  find<Name extends ObjectName<Schema>, Field extends FieldName<Schema[Name]> = never, const E extends Expand<Schema, Name> = never>(
    object: Name,
    query?: Query<Schema[Name], Field> & Expanding<Schema, Name, E>,
  ): Promise<ExpandedRow<Schema, Name, Field, E>[]> {
    return this.#call(() => this.#handle.reading.find(objectName(object), encodeQuery(query)) as unknown as ExpandedRow<Schema, Name, Field, E>[]);
  }

  /**
   * Reads the first record that matches; resolves with `undefined` when there is none.
   *
   * # Errors
   * As `find`.
   *
   * ```ts
   * const newest = await db.findOne('story', { orderBy: [{ field: 'created_at', order: 'desc' }] });
   * ```
   */
  async findOne<Name extends ObjectName<Schema>, Field extends FieldName<Schema[Name]> = never, const E extends Expand<Schema, Name> = never>(
    object: Name,
    query?: Omit<Query<Schema[Name], Field>, 'limit'> & Expanding<Schema, Name, E>,
  ): Promise<ExpandedRow<Schema, Name, Field, E> | undefined> {
    const rows = await this.#call(() => this.#handle.reading.find(objectName(object), encodeQuery({ ...query, limit: 1 })));
    return rows[0] as unknown as ExpandedRow<Schema, Name, Field, E> | undefined;
  }

  /**
   * Counts the records that match; all of the object's without a filter.
   *
   * # Errors
   * `INVALID_QUERY`.
   *
   * ```ts
   * const left = await db.count('story', { status: { $ne: 'done' } });
   * ```
   */
  count<Name extends ObjectName<Schema>>(object: Name, where?: Where<Schema[Name]> | OlderFilter): Promise<number> {
    return this.#call((driver) => driver.count(objectName(object), encodeWhere(where)));
  }

  /**
   * Computes over groups of records; resolves with a row for each group. Null and absent fields are no values; the sum of none is 0.
   *
   * # Errors
   * `INVALID_QUERY`.
   *
   * ```ts
   * const load = await db.aggregate('story', {
   *   groupBy: ['assignee'],
   *   aggregations: [{ function: 'sum', field: 'points', alias: 'points' }],
   *   having: { points: { $gt: 8 } },
   * });
   * ```
   */
  aggregate<Name extends ObjectName<Schema>, const Q extends AggregateQuery<Schema[Name]>>(
    object: Name,
    query: Q & { [Key in Exclude<keyof Q, keyof AggregateQuery<Schema[Name]>>]: never },
  ): Promise<AggregateRow<Schema[Name], Q>[]> {
    return this.#read((driver) => driver.aggregate(objectName(object), encodeAggregation(query)));
  }

  /**
   * Reads the different values of a field, in the order in which they first came; null is none.
   *
   * # Errors
   * `INVALID_QUERY`.
   *
   * ```ts
   * const statuses = await db.distinct('story', 'status');
   * ```
   */
  distinct<Name extends ObjectName<Schema>, Field extends FieldName<Schema[Name]>>(
    object: Name,
    field: Field,
    where?: Where<Schema[Name]> | OlderFilter,
  ): Promise<NonNullable<Stored<Schema[Name]>[Field]>[]> {
    return this.#read((driver) => driver.distinct(objectName(object), fieldName(field), encodeWhere(where)));
  }

  /**
   * Tells how a query is answered: by which index, and how many records are looked at for it.
   *
   * # Errors
   * `INVALID_QUERY`.
   *
   * ```ts
   * const { index, rowsExamined } = await db.explain('story', { where: { status: 'open' } });
   * ```
   */
  explain<Name extends ObjectName<Schema>>(object: Name, query?: Query<Schema[Name]>): Promise<Explanation> {
    return this.#read((driver) => driver.explain(objectName(object), encodeQuery(query).json));
  }

  /**
   * Makes a query whose result is delivered anew whenever it changes: by this tab, another one, or the server. With `expand`, that is also
   * when a related record in it does.
   *
   * # Errors
   * Throws what `find` would reject with for the query itself.
   *
   * ```ts
   * const stop = db.liveQuery('story', { where: { status: 'open' } }).subscribe(({ rows }) => render(rows));
   * for await (const { rows, added } of db.liveQuery('story')) render(rows, added);
   * ```
   */
  liveQuery<Name extends ObjectName<Schema>, Field extends FieldName<Schema[Name]> = never, const E extends Expand<Schema, Name> = never>(
    object: Name,
    query?: Query<Schema[Name], Field> & Expanding<Schema, Name, E>,
  ): LiveQuery<ExpandedRow<Schema, Name, Field, E>> {
    const { reading, events } = this.#handle;
    const watch = reading.watch(objectName(object), encodeQuery(query)) as unknown as Watch<ExpandedRow<Schema, Name, Field, E>>;
    return new LiveQuery((onRows) => {
      this.#throwIfClosed();
      return watch(onRows);
    }, events);
  }

  /**
   * Pushes what is pending and pulls what is new, until nothing is left of either; resolves with what that took.
   * A sync that is under way is joined. It is never needed for safety: what is pending survives anything.
   *
   * # Errors
   * `SYNC_OFF`, `NETWORK`, `TIMEOUT`, `HTTP_STATUS`, `UNAUTHORIZED`, `INVALID_ANSWER`. Nothing is lost: it is tried again by itself.
   *
   * ```ts
   * const { applied, conflicts, rejected } = await db.sync();
   * ```
   */
  sync(): Promise<SyncReport> {
    return this.#call((driver) => driver.sync() as Promise<SyncReport>);
  }

  /** How the database is, at this moment; `on('status', ...)` tells when that changes. */
  get status(): Status {
    return this.#lastStatus ?? (JSON.parse(this.#handle.driver.status()) as Status);
  }

  /**
   * Calls `handler` on every event of a kind; returns what ends that. Handlers are called after the step that caused the
   * event, before the write's promise resolves; one that throws is reported as an uncaught error and disturbs nothing.
   *
   * ```ts
   * const stop = db.on('status', ({ state, pending }) => show(state, pending));
   * ```
   */
  on<Kind extends keyof DatabaseEvents>(kind: Kind, handler: (event: DatabaseEvents[Kind]) => void): () => void {
    return this.#handle.events.on(kind, handler);
  }

  /**
   * Reads the mutations that are not yet settled with the server, in the order of their sequence. `settled` of each is kept
   * when it has an outcome.
   *
   * ```ts
   * await db.update('story', id, { status: 'done' });
   * const [mutation] = await db.pendingMutations();
   * if ((await mutation.settled) === 'rejected') console.log(await db.rejected());
   * ```
   */
  async pendingMutations(): Promise<PendingMutation[]> {
    const mutations = await this.#read<MutationEntry[]>((driver) => driver.pendingMutations());
    return mutations.map((mutation) => {
      // Asked for only by those who look, and no part of what is copied or turned into JSON.
      const get = () => this.#call((driver) => driver.settled(mutation.id) as Promise<MutationOutcome>);
      return Object.defineProperty(mutation, 'settled', { get, enumerable: false }) as PendingMutation;
    });
  }

  /** Reads the mutations that wait for a decision. They survive reloads, and hold up only their own record. */
  conflicts(): Promise<Conflict[]> {
    return this.#read((driver) => driver.conflicts());
  }

  /**
   * Settles a conflict: with this client's values, with the server's, or with the record to keep. What is not the
   * server's goes to it as a new mutation.
   *
   * # Errors
   * `UNKNOWN_MUTATION` when it is not, or no longer, a conflict; `INVALID_VALUE`, `VALUE_TOO_DEEP`, `VALUE_TOO_LARGE`.
   *
   * ```ts
   * const [conflict] = await db.conflicts();
   * await db.resolveConflict(conflict.id, { ...conflict.serverRecord, title: conflict.clientMutation.data?.title });
   * ```
   */
  resolveConflict(mutationId: string, resolution: Resolution): Promise<void> {
    return this.#call((driver) => driver.resolveConflict(idOfMutation(mutationId), encodeResolution(resolution)));
  }

  /** Reads the mutations that the server will never take, each with its reason. They are kept until retried or discarded. */
  rejected(): Promise<RejectedMutation[]> {
    return this.#read((driver) => driver.rejected());
  }

  /**
   * Makes a rejected mutation again, with `patch` over its fields if given, as a new one. What a rejected create took along
   * (`dependants`) is made again with it.
   *
   * # Errors
   * `UNKNOWN_MUTATION`; those of the write.
   *
   * ```ts
   * await db.retry(rejected.id, { title: 'A title that is long enough' });
   * ```
   */
  retry(mutationId: string, patch?: object): Promise<void> {
    return this.#call((driver) => {
      return driver.retry(idOfMutation(mutationId), patch === undefined ? undefined : encodeRecord(patch, 'patch'));
    });
  }

  /**
   * Forgets a rejected mutation; its record is as the server has it.
   *
   * # Errors
   * `UNKNOWN_MUTATION`.
   */
  discard(mutationId: string): Promise<void> {
    return this.#call((driver) => driver.discard(idOfMutation(mutationId)));
  }

  /**
   * Closes this handle: its listeners and live queries end at once. The last handle of the page closes the database,
   * after the commit that is under way. What is pending stays and is pushed the next time. Calling it again changes nothing.
   */
  close(): Promise<void> {
    this.#handle.events.end();
    this.#closing ??= this.#handle.close();
    return this.#closing;
  }

  /**
   * Closes the database for all handles of this page and deletes it from this browser, with what was not yet pushed.
   * The server's records stay. Also works after `close()`.
   *
   * # Errors
   * `STORAGE_BLOCKED` when another tab keeps it open.
   */
  destroy(): Promise<void> {
    this.#handle.events.end();
    return this.#handle.destroy();
  }

  /** Runs `task` and reads the JSON text it gives. */
  #read<R>(task: (driver: Driver) => string | Promise<string>): Promise<R> {
    return this.#call(async (driver) => JSON.parse(await task(driver)) as R);
  }

  /** Runs `task` at once: what a write takes is encoded before the call returns. */
  async #call<R>(task: (driver: Driver) => R | Promise<R>): Promise<R> {
    this.#throwIfClosed();
    try {
      return await task(this.#handle.driver);
    } catch (thrown) {
      throw toObjectqlError(thrown);
    }
  }

  #throwIfClosed(): void {
    if (this.#lastStatus !== undefined) throw errorWithCode('CLOSED', `the database ${this.name} was closed`);
  }
}

function objectName(name: unknown): string {
  if (typeof name === 'string') return name;
  throw errorWithCode('INVALID_NAME', `an object's name must be a string, not a ${typeof name}`);
}

function fieldName(name: unknown): string {
  if (typeof name === 'string') return name;
  throw errorWithCode('INVALID_QUERY', `a field's name must be a string, not a ${typeof name}`);
}

function idOfMutation(id: unknown): string {
  if (typeof id === 'string') return id;
  throw errorWithCode('INVALID_ID', `a mutation's id must be a string, not a ${typeof id}`);
}
