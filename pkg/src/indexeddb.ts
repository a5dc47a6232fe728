// What the facade itself does in a database beside the driver: as that has it in `src/browser/schema.rs`.

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
