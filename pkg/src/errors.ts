/**
 * Every code an error of this package can have. Codes are stable: match on `error.code`, show `error.message`.
 *
 * What was passed in ({@link ValueError}): `INVALID_VALUE` `VALUE_TOO_DEEP` `VALUE_TOO_LARGE` `INVALID_JSON` `INVALID_ID`
 * `INVALID_NAME` `INVALID_MUTATION` `INVALID_DEFINITION` `INVALID_OPTIONS` `UNKNOWN_OBJECT` `INVALID_FILE`
 * `MIGRATION_FAILED`.
 * A query ({@link QueryError}): `INVALID_QUERY`.
 * What the call found ({@link StateError}): `NOT_FOUND` `ALREADY_EXISTS` `UNIQUE_VIOLATION` `READ_ONLY_OBJECT` `UNKNOWN_MUTATION`
 * `TRANSACTION_CONFLICT` `TRANSACTION_ENDED` `CLOSED`.
 * The server or the way to it ({@link SyncError}): `NETWORK` `TIMEOUT` `HTTP_STATUS` `UNAUTHORIZED` `INVALID_ANSWER`
 * `INVALID_MESSAGE` `SYNC_OFF` `CLIENT_ID_CLONED`.
 * IndexedDB ({@link StorageError}): `QUOTA_EXCEEDED` `STORAGE_FAILED` `STORAGE_UNKNOWN` `STORAGE_BLOCKED`
 * `STORAGE_OUTDATED` `DATABASE_LOST` `LOG_CORRUPT` `WRONG_KEY`.
 * The driver itself ({@link WasmError}): `WASM_FAILED` `INTERNAL`.
 */
export type ErrorCode =
  /** A value that JSON cannot hold, such as `NaN`, a function, or text with U+0000 or half a surrogate pair. */
  | 'INVALID_VALUE'
  /** A value is nested deeper than 32 levels, the record being the first, or refers to itself. */
  | 'VALUE_TOO_DEEP'
  /** A record's JSON text is longer than 1 MiB. */
  | 'VALUE_TOO_LARGE'
  /** Text that should be JSON is not. */
  | 'INVALID_JSON'
  /** A record id is not a string of 1 to 256 bytes, nor a safe integer; or a mutation id is not a UUID of version 7. */
  | 'INVALID_ID'
  /** An object's name is not a letter or `_` followed by letters, digits or `_`, at most 128 bytes. */
  | 'INVALID_NAME'
  /** The parts of a mutation do not fit together. */
  | 'INVALID_MUTATION'
  /** An object definition breaks the rules of `*.object.yml`. */
  | 'INVALID_DEFINITION'
  /** An option of `openDatabase` is wrong, or differs from those with which this page has the database open. */
  | 'INVALID_OPTIONS'
  /** The object is not among those the database was opened with. */
  | 'UNKNOWN_OBJECT'
  /** What is imported is no export of a database, or is cut. */
  | 'INVALID_FILE'
  /** A function in `migrations` threw, or returned what no record can be: `cause` says what. Everything is as it was. */
  | 'MIGRATION_FAILED'
  /** The query is not one the driver knows. */
  | 'INVALID_QUERY'
  /** There is no such record. */
  | 'NOT_FOUND'
  /** There is a record with this id. */
  | 'ALREADY_EXISTS'
  | 'UNIQUE_VIOLATION'
  /** The object's `sync.direction` is `pull-only`: only the server writes it. */
  | 'READ_ONLY_OBJECT'
  /** There is no such mutation among the conflicts or the rejected ones; it may have been settled in another tab. */
  | 'UNKNOWN_MUTATION'
  /** What the transaction read was changed before it was committed: run it again. */
  | 'TRANSACTION_CONFLICT'
  /** The transaction was committed or rolled back before. */
  | 'TRANSACTION_ENDED'
  /** The database was closed or destroyed. */
  | 'CLOSED'
  /** The server was not reached. */
  | 'NETWORK'
  /** The server did not answer within `sync.timeoutMs`. */
  | 'TIMEOUT'
  /** The server answered with a status that is not a success. */
  | 'HTTP_STATUS'
  /** The server refused the credentials, also after `sync.headers` was asked again. */
  | 'UNAUTHORIZED'
  /** The server answered with something that is no answer to the request; nothing of it was taken. */
  | 'INVALID_ANSWER'
  /** A request or an answer does not have the shape of the wire format. */
  | 'INVALID_MESSAGE'
  /** The database was opened without `sync`, or no object is synced. */
  | 'SYNC_OFF'
  /** Another device writes under this client's id, as after restoring a copied profile. */
  | 'CLIENT_ID_CLONED'
  /** The browser has no room left for this site; nothing of the write was kept. */
  | 'QUOTA_EXCEEDED'
  /** IndexedDB is not there or failed; nothing of the write was kept. */
  | 'STORAGE_FAILED'
  /** IndexedDB failed and did not say whether the write was kept, or the worker with the driver ended; it shows when storage works again. */
  | 'STORAGE_UNKNOWN'
  /** Another tab holds the database in a way that keeps this one from opening it. */
  | 'STORAGE_BLOCKED'
  /** The stored data were written, or migrated, by a newer version of this package or of the app: reload the page to get it. */
  | 'STORAGE_OUTDATED'
  /** The site's data were cleared while the database was open. */
  | 'DATABASE_LOST'
  /** A stored row cannot be read. */
  | 'LOG_CORRUPT'
  /** The database is encrypted, and not with the key that it was opened with. */
  | 'WRONG_KEY'
  /** The wasm file could not be loaded or compiled, or the worker with the driver could not be started or ended. */
  | 'WASM_FAILED'
  /** A bug of this package. */
  | 'INTERNAL';

/**
 * The base of every error this package throws, rejects with or hands to an `error` handler.
 *
 * ```ts
 * try {
 *   await db.create('story', { title: 'Ship it' });
 * } catch (error) {
 *   if (error instanceof ObjectqlError && error.code === 'QUOTA_EXCEEDED') askToFreeSpace();
 *   else throw error;
 * }
 * ```
 */
export class ObjectqlError extends Error {
  /** What went wrong, for programs. */
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.className;
    this.code = code;
  }

  // Not `constructor.name`: a minifier renames classes, and an error log with "e: not found" helps nobody.
  protected static readonly className: string = 'ObjectqlError';
}

/** A value, a name or an option that was passed in is not acceptable; nothing was written. */
export class ValueError extends ObjectqlError {
  protected static override readonly className = 'ValueError';
}

/** A query is not acceptable. */
export class QueryError extends ObjectqlError {
  protected static override readonly className = 'QueryError';
}

/** The call was right in itself, but not for the state of the record, the object, the mutation or the database. */
export class StateError extends ObjectqlError {
  protected static override readonly className = 'StateError';
}

/** The server was not reached, or did not answer as it should. What was to be pushed is kept. */
export class SyncError extends ObjectqlError {
  protected static override readonly className = 'SyncError';
}

/** IndexedDB did not do what was asked of it. But for `STORAGE_UNKNOWN`, a write that rejects with this was not kept. */
export class StorageError extends ObjectqlError {
  protected static override readonly className = 'StorageError';
}

/** The driver could not be started, or has a bug. What had resolved before is in the log. */
export class WasmError extends ObjectqlError {
  protected static override readonly className = 'WasmError';
}

type ErrorClass = new (code: ErrorCode, message: string, options?: ErrorOptions) => ObjectqlError;

/** The class that goes with each code: the one place that says so. */
export const errorClasses: { readonly [Code in ErrorCode]: ErrorClass } = {
  INVALID_VALUE: ValueError,
  VALUE_TOO_DEEP: ValueError,
  VALUE_TOO_LARGE: ValueError,
  INVALID_JSON: ValueError,
  INVALID_ID: ValueError,
  INVALID_NAME: ValueError,
  INVALID_MUTATION: ValueError,
  INVALID_DEFINITION: ValueError,
  INVALID_OPTIONS: ValueError,
  UNKNOWN_OBJECT: ValueError,
  INVALID_FILE: ValueError,
  MIGRATION_FAILED: ValueError,
  INVALID_QUERY: QueryError,
  NOT_FOUND: StateError,
  ALREADY_EXISTS: StateError,
  UNIQUE_VIOLATION: StateError,
  READ_ONLY_OBJECT: StateError,
  UNKNOWN_MUTATION: StateError,
  TRANSACTION_CONFLICT: StateError,
  TRANSACTION_ENDED: StateError,
  CLOSED: StateError,
  NETWORK: SyncError,
  TIMEOUT: SyncError,
  HTTP_STATUS: SyncError,
  UNAUTHORIZED: SyncError,
  INVALID_ANSWER: SyncError,
  INVALID_MESSAGE: SyncError,
  SYNC_OFF: SyncError,
  CLIENT_ID_CLONED: SyncError,
  QUOTA_EXCEEDED: StorageError,
  STORAGE_FAILED: StorageError,
  STORAGE_UNKNOWN: StorageError,
  STORAGE_BLOCKED: StorageError,
  STORAGE_OUTDATED: StorageError,
  DATABASE_LOST: StorageError,
  LOG_CORRUPT: StorageError,
  WRONG_KEY: StorageError,
  WASM_FAILED: WasmError,
  INTERNAL: WasmError,
};

/** Makes the error that goes with a code; one that nobody knows becomes `INTERNAL`. */
export function errorWithCode(code: string, message: string, options?: ErrorOptions): ObjectqlError {
  if (Object.hasOwn(errorClasses, code)) {
    const known = code as ErrorCode;
    return new errorClasses[known](known, message, options);
  }
  return new WasmError('INTERNAL', `unknown code ${code}: ${message}`, options);
}

/** Makes an error of this package of whatever was thrown: by the driver with a code, by the app, by a trap. */
export function toObjectqlError(thrown: unknown): ObjectqlError {
  if (thrown instanceof ObjectqlError) return thrown;
  if (!(thrown instanceof Error)) return new WasmError('INTERNAL', String(thrown), { cause: thrown });
  const { code } = thrown as { code?: unknown };
  if (typeof code === 'string') return errorWithCode(code, thrown.message, { cause: thrown });
  return new WasmError('INTERNAL', thrown.message, { cause: thrown });
}
