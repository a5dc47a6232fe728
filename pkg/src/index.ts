export { openDatabase, startDatabase } from './open.js';
export type { Database } from './database.js';
export type { Transaction } from './transaction.js';
export type { LiveQuery } from './live-query.js';
export { type ErrorCode, ObjectqlError, QueryError, StateError, StorageError, SyncError, ValueError, WasmError } from './errors.js';
export type * from './types.js';
