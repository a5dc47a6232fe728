import type { RecordDraft } from './drafts.js';
import { type Driver, parse, type Question, whenLoaded, withAnswer, type Write } from './driver.js';
import type { EarlyWrites, Ends } from './early-writes.js';
import { errorWithCode, type ObjectqlError, toObjectqlError } from './errors.js';
import type { Events } from './events.js';
import { exportLines, readLines } from './export.js';
import { LiveQuery, type Watch } from './live-query.js';
import { encodeQuery } from './queries.js';
import { type Expanding, objectName, Records, type Written } from './records.js';
import { readStatus } from './shared.js';
import type { Reader } from './start.js';
import { Transaction } from './transaction.js';
import type {
  AnySchema,
  Conflict,
  DatabaseEvents,
  Expand,
  ExpandedRow,
  Explanation,
  FieldName,
  ImportOptions,
  ImportSource,
  MutationEntry,
  MutationOutcome,
  ObjectName,
  PendingMutation,
  Query,
  RejectedMutation,
  Resolution,
  SchemaOf,
  Status,
  StorageReport,
  SyncReport,
  TransactionOptions,
} from './types.js';
import { type Defaults, encodeRecord, encodeResolution } from './values.js';

/** How many records `import` deletes in one commit: a call may write 16 MiB. */
const MOST_DELETED = 10_000;

/** Thrown to those who wait for the database to be open. */
const NOT_OPEN = new Error('the database is not open yet');

/** What a handle works with. */
export interface Handle {
  readonly name: string;
  /** What it writes by until it is open, and what it works with from then on. */
  readonly early: EarlyWrites;
  readonly opened: Promise<void>;
  readonly isDurable: boolean;
  /** The objects that are defined, with the defaults of their fields. */
  readonly objects: ReadonlyMap<string, Defaults>;
  readonly events: Events;
  storage(): Promise<StorageReport>;
  close(): Promise<void>;
  destroy(): Promise<void>;
}

/**
 * A database of this page: made by `openDatabase` when it is open, by `startDatabase` at once.
 *
 * A write is in the log on disk when its promise resolves, and in what is read from then on; it goes to the server later.
 * What a write takes is read before the call returns, so the app may change it afterwards. Writes made without waiting for
 * each other share a commit. Reads see what is in memory and cost no I/O, once an object was queried. The records they return are frozen and shared: as long as a
 * record does not change, every read returns the same object. What a write returns belongs to the caller.
 *
 * Every method but `status`, `on` and `liveQuery` returns a promise, which rejects with an `ObjectqlError` and nothing else.
 * All of them reject with `CLOSED` after `close()`. Those that take an object's name reject with `UNKNOWN_OBJECT` where it is not among
 * the definitions. Writes reject with `QUOTA_EXCEEDED`, `STORAGE_FAILED`, `STORAGE_UNKNOWN` or `DATABASE_LOST`
 * where IndexedDB does not take them.
 */
export class Database<Schema extends SchemaOf<Schema> = AnySchema> extends Records<Schema> {
  readonly #handle: Handle;
  /** @internal */
  protected readonly within = undefined;
  #closing: Promise<void> | undefined;
  /** What `status` is from the end on; undefined before. */
  #lastStatus: Status | undefined;

  /** @internal */
  constructor(handle: Handle) {
    super();
    this.#handle = handle;
    handle.events.onEnd(() => {
      this.#lastStatus = { ...this.status, state: 'closed', leader: false, realtime: false };
    });
  }

  /** @internal */
  protected get source(): Reader {
    return this.#ends.reader;
  }

  get #ends(): Ends {
    const { ends } = this.#handle.early;
    if (ends === undefined) throw NOT_OPEN;
    return ends;
  }

  /** @internal */
  protected get objects(): ReadonlyMap<string, Defaults> {
    return this.#handle.objects;
  }

  /** Resolves when the database is open; rejects with why it could not be opened, as everything then does. */
  get opened(): Promise<void> {
    return this.#handle.opened;
  }

  /** The name it was opened with. */
  get name(): string {
    return this.#handle.name;
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
    return this.run((driver) => withAnswer(driver.ask('explain', objectName(object), encodeQuery(query).json, ''), parse<Explanation>));
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
    const { early, opened, events } = this.#handle;
    const [name, encoded] = [objectName(object), encodeQuery(query)];
    const watchBy = ({ reader }: Ends) => reader.watch(name, encoded) as unknown as Watch<ExpandedRow<Schema, Name, Field, E>>;
    let watch = early.ends && watchBy(early.ends);
    return new LiveQuery((onRows, onError) => {
      this.#throwIfClosed();
      watch ??= watchBy(this.#ends);
      return watch(onRows, onError);
    }, events, (thrown) => (thrown === NOT_OPEN ? opened : whenLoaded(this.#ends.driver, thrown)));
  }

  /**
   * Does several things or none: what `work` writes in the transaction that it is given becomes one commit when its promise resolves,
   * and nothing when it rejects. Resolves with what `work` does.
   *
   * The transaction reads what it wrote. Nobody waits for it: where somebody else, also another tab or the server, changed what it
   * read before it was committed, `work` is run again, up to `retries` times. So it should have no other effects. The records
   * go to the server in their order, not as one.
   *
   * # Errors
   * What `work` rejects with; `TRANSACTION_CONFLICT`; those of a write, also `VALUE_TOO_LARGE` for more than 16 MiB.
   *
   * ```ts
   * await db.transaction(async (tx) => {
   *   const story = await tx.get('story', id);
   *   await tx.update('story', id, { points: story.points + 1 });
   *   await tx.create('task', { story: id, title: 'Estimate again' });
   * });
   * ```
   */
  async transaction<R>(work: (transaction: Transaction<Schema>) => R | Promise<R>, options: TransactionOptions = {}): Promise<R> {
    const retries = options?.retries ?? 10;
    for (let run = 0; ; run++) {
      const transaction = await this.beginTransaction();
      let result: R;
      try {
        result = await work(transaction);
      } catch (error) {
        // The app's error says more than that the database was closed meanwhile.
        await transaction.rollback().catch(() => undefined);
        throw error;
      }
      if (transaction.isEnded) return result;
      try {
        await transaction.commit();
        return result;
      } catch (error) {
        if ((error as { code?: unknown }).code !== 'TRANSACTION_CONFLICT' || !(run < retries)) throw error;
      }
    }
  }

  /** Begins a transaction that the app ends itself, with `commit()` or `rollback()`. `transaction()` does so by itself, and tries again. */
  beginTransaction(): Promise<Transaction<Schema>> {
    return this.run((driver) => withAnswer(driver.begin(), (number) => {
      // One that nobody ended is not kept for the other handles' time.
      const abandon = () => void Promise.resolve(driver.rollback(number)).catch(() => undefined);
      if (this.#lastStatus !== undefined) abandon();
      this.#throwIfClosed();
      const forget = this.#handle.events.onEnd(abandon);
      const { reader } = this.#ends;
      return new Transaction<Schema>((task) => this.run(task), number, { reader, objects: this.objects }, forget);
    }));
  }

  /**
   * Takes back the last write of the app in this database, whichever tab made it: a call, or a transaction as a whole. It is new
   * mutations, which go to the server. Only what is still as that write left it is put back: a field that somebody changed since
   * keeps its value. The last 100 writes can be taken back, also after a reload; see `undoable` in `status`.
   * Resolves with whether there was one.
   *
   * # Errors
   * `READ_ONLY_OBJECT`, `UNIQUE_VIOLATION`.
   */
  undo(): Promise<boolean> {
    return this.write('undo', () => ['', '', '']) as Promise<boolean>;
  }

  /** Makes the write again that `undo` took back last, unless the app wrote since. Resolves with whether there was one. Errors as `undo`. */
  redo(): Promise<boolean> {
    return this.write('redo', () => ['', '', '']) as Promise<boolean>;
  }

  /**
   * Writes all records as they are at this moment, as lines of JSON; what is written meanwhile is not in it. What is pending, and who
   * this client is, stays here.
   *
   * ```ts
   * const file = await new Response(db.export()).blob();
   * await db.export().pipeTo(await fileHandle.createWritable());
   * ```
   */
  export(): ReadableStream<Uint8Array<ArrayBuffer>> {
    this.#throwIfClosed();
    const { early, opened } = this.#handle;
    if (early.ends !== undefined) return exportLines(early.ends.driver, this.name);
    const { readable, writable } = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>();
    const lines = opened.then(() => exportLines(this.#ends.driver, this.name).pipeTo(writable), (error: unknown) => writable.abort(error));
    // Who reads hears of it.
    lines.catch(() => undefined);
    return readable;
  }

  /**
   * Reads what `export` wrote, and writes it: records that are not here are made as they were, with their times; of the others the
   * fields that differ are changed. With `mode: 'replace'`, records that are not in the file are deleted. It is read whole before
   * anything is written; then each 256 KiB are one commit. Resolves with how many records were made, changed or deleted.
   *
   * # Errors
   * `INVALID_FILE`, with nothing written; `UNKNOWN_OBJECT`, `READ_ONLY_OBJECT`, `UNIQUE_VIOLATION`, `INVALID_ID`, `INVALID_VALUE`, `INVALID_JSON`,
   * `VALUE_TOO_DEEP`, `VALUE_TOO_LARGE`: what came before is kept, and the same file may be imported again.
   *
   * ```ts
   * await db.import(input.files[0]);
   * ```
   */
  async import(source: ImportSource, options: ImportOptions = {}): Promise<number> {
    const lines = await this.run(() => readLines(source));
    let count = 0;
    for (const { object, text } of lines) {
      count += (await this.write('import', () => [object, new TextEncoder().encode(text), ''])) as number;
    }
    if (options?.mode !== 'replace') return count;
    for (const name of this.objects.keys()) {
      const kept = new Set(lines.filter(({ object }) => object === name).flatMap(({ ids }) => ids));
      const found = await this.run(() => this.source.find(name, encodeQuery(undefined)));
      const gone = found.map(({ id }) => id).filter((id) => !kept.has(id));
      for (let at = 0; at < gone.length; at += MOST_DELETED) {
        count += await this.bulkDelete(name as ObjectName<Schema>, gone.slice(at, at + MOST_DELETED));
      }
    }
    return count;
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
    return this.run((driver) => driver.sync() as Promise<SyncReport>);
  }

  /** How the database is, at this moment; `on('status', ...)` tells when that changes. */
  get status(): Status {
    const { early, isDurable } = this.#handle;
    return this.#lastStatus ?? (early.ends ? readStatus(early.ends.driver) : statusBeforeOpen(early.failure, isDurable));
  }

  /**
   * Tells how this browser keeps the database: what a resolved write survives, whether the browser may evict it, how much room there is,
   * and since when what was not pushed waits. `on('storage', ...)` warns.
   *
   * ```ts
   * const { persisted, usage, quota, pending } = await db.storage();
   * ```
   */
  storage(): Promise<StorageReport> {
    return this.run(() => this.#handle.storage());
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
    const mutations = await this.#ask<MutationEntry[]>('pendingMutations');
    return mutations.map((mutation) => {
      // Asked for only by those who look, and no part of what is copied or turned into JSON.
      const get = () => this.run((driver) => driver.settled(mutation.id) as Promise<MutationOutcome>);
      return Object.defineProperty(mutation, 'settled', { get, enumerable: false }) as PendingMutation;
    });
  }

  /** Reads the mutations that wait for a decision. They survive reloads, and hold up only their own record. */
  conflicts(): Promise<Conflict[]> {
    return this.#ask('conflicts');
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
    return this.#decide('resolve', mutationId, () => encodeResolution(resolution));
  }

  /** Reads the mutations that the server will never take, each with its reason. They are kept until retried or discarded. */
  rejected(): Promise<RejectedMutation[]> {
    return this.#ask('rejected');
  }

  /**
   * Makes a rejected mutation again, with `patch` over its fields if given, as a new one. What a rejected create took along
   * (`dependants`) is made again with it.
   *
   * # Errors
   * `UNKNOWN_MUTATION`; those of the write, `NOT_FOUND` only where the object is not synced any more.
   *
   * ```ts
   * await db.retry(rejected.id, { title: 'A title that is long enough' });
   * ```
   */
  retry(mutationId: string, patch?: object): Promise<void> {
    return this.#decide('retry', mutationId, () => (patch === undefined ? '' : encodeRecord(patch, 'patch')));
  }

  /**
   * Forgets a rejected mutation; its record is as the server has it.
   *
   * # Errors
   * `UNKNOWN_MUTATION`.
   */
  discard(mutationId: string): Promise<void> {
    return this.#decide('discard', mutationId, () => '');
  }

  /**
   * Closes this handle: its listeners and live queries end at once. The last handle of the page closes the database,
   * after the commit that is under way. What is pending stays and is pushed the next time. Calling it again changes nothing.
   */
  close(): Promise<void> {
    this.#flush();
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
    this.#flush();
    this.#handle.events.end();
    return this.#handle.destroy();
  }

  /** Asks the driver for JSON. */
  #ask<R>(kind: Question, object = '', first = ''): Promise<R> {
    return this.run((driver) => withAnswer(driver.ask(kind, object, first, ''), parse<R>));
  }

  /** Decides on a mutation. */
  #decide(kind: 'resolve' | 'retry' | 'discard', mutationId: string, decision: () => string): Promise<void> {
    return this.write(kind, () => ['', idOfMutation(mutationId), decision()]) as Promise<void>;
  }

  /** @internal */
  protected make(encoded: () => readonly [object: string, record: RecordDraft]): Promise<object> {
    try {
      this.#throwIfClosed();
      const { early } = this.#handle;
      return (early.ends ?? early).creates.make(...encoded());
    } catch (thrown) {
      return Promise.reject(toObjectqlError(thrown));
    }
  }

  /** @internal */
  protected write(kind: Write, encoded: () => Written): Promise<unknown> {
    const isOpen = this.#handle.early.ends !== undefined;
    return isOpen ? this.run((driver) => driver.write(kind, ...encoded())) : this.#writeEarly(kind, encoded);
  }

  async #writeEarly(kind: Write, encoded: () => Written): Promise<unknown> {
    this.#throwIfClosed();
    this.#flush();
    try {
      return await this.#handle.early.write(kind, ...encoded());
    } catch (thrown) {
      throw toObjectqlError(thrown);
    }
  }

  /** @internal */
  protected async run<R>(task: (driver: Driver) => R | Promise<R>): Promise<R> {
    for (;;) {
      this.#throwIfClosed();
      const { ends } = this.#handle.early;
      if (ends === undefined) {
        await this.opened;
        continue;
      }
      ends.creates.flush();
      try {
        return await task(ends.driver);
      } catch (thrown) {
        const loading = whenLoaded(ends.driver, thrown);
        if (loading === undefined) throw toObjectqlError(thrown);
        await loading.catch((failure: unknown) => {
          throw toObjectqlError(failure);
        });
      }
    }
  }

  #flush(): void {
    const { early } = this.#handle;
    (early.ends ?? early).creates.flush();
  }

  #throwIfClosed(): void {
    if (this.#lastStatus !== undefined) throw errorWithCode('CLOSED', `the database ${this.name} was closed`);
  }
}

/** How a database is that is not open. */
function statusBeforeOpen(failure: ObjectqlError | undefined, isDurable: boolean): Status {
  return {
    state: failure ? 'closed' : 'opening', pending: 0, pendingSince: null, conflicts: 0, rejected: 0, undoable: 0, redoable: 0, leader: false,
    realtime: false, durable: isDurable, clientId: '', lastSyncedAt: null, retryAt: null, error: failure ? { code: failure.code, message: failure.message } : null,
  };
}

function idOfMutation(id: unknown): string {
  if (typeof id === 'string') return id;
  throw errorWithCode('INVALID_ID', `a mutation's id must be a string, not a ${typeof id}`);
}
