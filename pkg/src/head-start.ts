import { type Beginning, openLog, readBeginning } from './indexeddb.js';
import { lookAtJournal } from './journal.js';

/** How many rows are read of a log that was opened before anybody asked for it: what the driver begins with (`ROWS_AT_FIRST` in `src/browser/log.rs`). */
const FIRST_ROWS = 4;

/**
 * Opens a database while the wasm is loaded that will ask for it, and reads what that begins with. One that is not there, or is to be upgraded, is
 * opened when the driver wants it: then it has found what it is opened with right.
 */
export class HeadStart {
  readonly #name: string;
  #connection: Promise<IDBDatabase | undefined>;
  /** What was read over that connection. */
  #beginning: Promise<Beginning> | undefined;
  /** Whether somebody deleted or upgraded the database before the driver had the connection: from then on it hears of that itself. */
  #isOver = false;

  /** With `reads` nothing that this page wrote may be missing from what it reads. */
  constructor(name: string, reads: boolean) {
    this.#name = name;
    this.#connection = this.#open(reads);
    // Whoever takes it hears of it.
    this.#connection.catch(() => undefined);
  }

  async #open(reads: boolean): Promise<IDBDatabase | undefined> {
    if (!(await lookAtJournal(this.#name))) return undefined;
    // It may be gone since.
    const connection = await openLog(this.#name, false).catch((error: unknown) => {
      if ((error as Error).name !== 'ClearedError') throw error;
    });
    if (connection === undefined) return undefined;
    connection.onversionchange = () => {
      connection.close();
      // What was read may not be there any more.
      this.#isOver = true;
    };
    if (reads) {
      this.#beginning = readBeginning(connection, FIRST_ROWS);
      this.#beginning.catch(() => undefined);
    }
    return connection;
  }

  /** As {@link openLog}: gives the connection that there is to whoever comes first. */
  async open(mayCreate: boolean): Promise<IDBDatabase> {
    const connection = await this.#take();
    if (connection !== undefined && !this.#isOver) return connection;
    this.#beginning = undefined;
    return await openLog(this.#name, mayCreate);
  }

  /** As {@link readBeginning}, of what {@link open} gave. */
  begin(database: IDBDatabase, most: number): Promise<Beginning> {
    const beginning = most === FIRST_ROWS ? this.#beginning : undefined;
    this.#beginning = undefined;
    return beginning ?? readBeginning(database, most);
  }

  /** Closes what nobody took. */
  end(): void {
    this.#take().then((connection) => connection?.close(), () => undefined);
  }

  #take(): Promise<IDBDatabase | undefined> {
    const connection = this.#connection;
    this.#connection = Promise.resolve(undefined);
    return connection;
  }
}
