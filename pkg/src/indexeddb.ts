// The database in IndexedDB: its stores, opening and deleting it. What is in the stores only the driver knows, but for what has a key here.
//
// | version | stores |
// | --- | --- |
// | 1 | `log`: rows under keys of a generator. Keys are never used twice, not even after rows are deleted |
// | 2 | `segments`: segments likewise, the root under the key 0, the identity of the database under -1 (early builds wrote none), and under -2 by which key all is sealed (`encryption.ts`) |
//
// It is opened here and not in the wasm, because the browser takes longer to open it than anything else, and can do that while the wasm is loaded.
import { errorWithCode } from './errors.js';

/** The version of a database that needs no upgrade. */
export const SCHEMA_VERSION = 2;
/** Its stores. A transaction that writes has both: see `EVERY_STORE` in `src/browser/log.rs`. */
export const LOG = 'log';
export const SEGMENTS = 'segments';
export const EVERY_STORE = [LOG, SEGMENTS] as const;
/** Where something else than a segment is among these: the root; which database it is; by which key all is sealed. */
export const ROOT_KEY = 0;
export const IDENTITY_KEY = -1;
export const SEALED_KEY = -2;

/** Some browsers never answered an `open` (WebKit bug 226547): 10 seconds. Deleting waits as long for tabs that do not let go. */
export const PATIENCE_MS = 10_000;

/** Errors: `STORAGE_FAILED` where there is no IndexedDB to keep the log in, as on a server. */
export function checkIndexedDb(): void {
  if (typeof indexedDB === 'undefined') {
    throw errorWithCode('STORAGE_FAILED', `there is no IndexedDB here: open the database in a browser, or with storage: 'memory'`);
  }
}

/**
 * Opens the database. Without `mayCreate`, which is for one that was open before, none is made: one that is gone by then was deleted, and a new
 * empty one in its place would start the sequence again under the same name.
 *
 * Errors: those of IndexedDB, and others that have a name for the driver to know them by (`src/browser/schema.rs`): `BlockedError`, `ClearedError`.
 */
export function openLog(name: string, mayCreate: boolean): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, SCHEMA_VERSION);
    let isOver = false;
    const fail = (reason: unknown) => {
      isOver = true;
      clearTimeout(timer);
      reject(reason as Error);
    };
    const timer = setTimeout(() => fail(new DOMException(`open did not answer within ${PATIENCE_MS} ms`, 'TimeoutError')), PATIENCE_MS);
    request.onblocked = () => fail(new DOMException('', 'BlockedError'));
    request.onupgradeneeded = ({ oldVersion }) => {
      if (oldVersion < 1 && !mayCreate) {
        fail(new DOMException('', 'ClearedError'));
        // Without its upgrade the database is not made.
        return request.transaction?.abort();
      }
      const make = (store: string) => request.result.createObjectStore(store, { autoIncrement: true });
      if (oldVersion < 1) make(LOG);
      if (oldVersion < 2) make(SEGMENTS).add(crypto.getRandomValues(new Uint8Array(16)), IDENTITY_KEY);
    };
    request.onerror = () => fail(request.error);
    request.onsuccess = () => {
      const { result } = request;
      // A connection that nobody waits for any more would block the next upgrade.
      if (isOver) return result.close();
      clearTimeout(timer);
      resolve(result);
    };
  });
}

/** What a driver begins with. */
export type Beginning = [identity: unknown, seal: unknown, root: unknown, keys: IDBValidKey[], rows: unknown[]];

/** Reads which database it is, by which key all is sealed, the root, and so many of the first rows with their keys, as they are at one moment. */
export function readBeginning(database: IDBDatabase, most: number): Promise<Beginning> {
  const transaction = database.transaction(EVERY_STORE);
  const segments = transaction.objectStore(SEGMENTS);
  const log = transaction.objectStore(LOG);
  const [identity, seal, root] = [IDENTITY_KEY, SEALED_KEY, ROOT_KEY].map((key) => done<unknown>(segments.get(key)));
  return Promise.all([identity, seal, root, done(log.getAllKeys(null, most)), done<unknown[]>(log.getAll(null, most))]);
}

/** Deletes the database. Other tabs close theirs when they are told. Errors: `STORAGE_FAILED`, `STORAGE_BLOCKED`. */
export function deleteLog(name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (code: string, message: string, cause?: unknown) => reject(errorWithCode(code, message, { cause }));
    const timer = setTimeout(() => fail('STORAGE_BLOCKED', 'another tab holds the database open: close or reload it'), PATIENCE_MS);
    const deletion = Promise.resolve().then(() => done(indexedDB.deleteDatabase(name))).finally(() => clearTimeout(timer));
    deletion.then(() => resolve(), (error: unknown) => fail('STORAGE_FAILED', 'the database could not be deleted', error));
  });
}

/** Resolves with what a request gave. */
export function done<R>(request: IDBRequest<R>): Promise<R> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Resolves when a transaction is durable; rejects where nothing of it was done. */
export function ended(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
}
