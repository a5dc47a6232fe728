import { ended, EVERY_STORE, LOG, openLog, SEALED_KEY, SEGMENTS } from './indexeddb.js';
import { lookAtJournal, renewJournal } from './journal.js';
import { type Asked, encodeRow } from './row-bytes.js';
import type { OpenOptions } from './types.js';

/** A row that is to be in the log. */
export interface EarlyRow {
  readonly number: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Whether it is there, and durable; `unknown` while the disk is asked for it. */
  isInLog: boolean | 'unknown';
}

/**
 * Appends rows to the log of a database without its driver, which may not be there yet. They say what an app asks for; a driver that meets them
 * decides it. Where that is not possible, for whatever reason, nothing is appended any more: then the driver will know why.
 */
export class EarlyLog {
  /** As whom it appends. */
  readonly by = Number(crypto.getRandomValues(new BigUint64Array(1))[0]! >> 11n);
  readonly #name: string;
  readonly #durability: NonNullable<OpenOptions['durability']>;
  #count = 0;
  #waiting: EarlyRow[] = [];
  #isRunning = false;
  #isStopped = false;
  /** The transaction that is under way. */
  #appending: Promise<void> | undefined;

  constructor(name: string, durability: OpenOptions['durability'] = 'strict') {
    this.#name = name;
    this.#durability = durability;
  }

  /** Begins to append a row, behind those before; undefined where none can be. What comes in one task, or while an append is under way, shares a transaction. */
  add(asked: Asked): EarlyRow | undefined {
    if (this.#isStopped) return undefined;
    const number = ++this.#count;
    const row: EarlyRow = { number, bytes: encodeRow(this.by, number, asked), isInLog: false };
    this.#waiting.push(row);
    if (!this.#isRunning) void this.#run();
    this.#isRunning = true;
    return row;
  }

  /** Appends no more; resolves when it is known of each row whether it is in the log. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#appending;
  }

  async #run(): Promise<void> {
    let database: IDBDatabase | undefined;
    try {
      await lookAtJournal(this.#name);
      // Whoever stops it may be about to delete the database.
      if (this.#isStopped) return;
      database = await openLog(this.#name, true);
      await renewJournal(this.#name);
      while (!this.#isStopped && this.#waiting.length > 0) {
        const rows = this.#waiting.splice(0);
        const note = (isInLog: EarlyRow['isInLog']) => rows.forEach((row) => { row.isInLog = isInLog; });
        note('unknown');
        this.#appending = append(database, rows, this.#durability).then(() => note(true), (error: unknown) => {
          note(false);
          throw error;
        });
        await this.#appending;
      }
      this.#isRunning = false;
    } catch {
      this.#isStopped = true;
    } finally {
      database?.close();
    }
  }
}

/** Appends rows; errors where nothing of it was done. What is sealed gets nothing that is not. */
function append(database: IDBDatabase, rows: readonly EarlyRow[], durability: IDBTransactionDurability): Promise<void> {
  const transaction = database.transaction(EVERY_STORE, 'readwrite', { durability });
  const sealed = transaction.objectStore(SEGMENTS).get(SEALED_KEY);
  sealed.onsuccess = () => {
    if (sealed.result !== undefined) return transaction.abort();
    for (const { bytes } of rows) transaction.objectStore(LOG).add(bytes);
    transaction.commit();
  };
  return ended(transaction);
}
