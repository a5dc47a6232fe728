import { Creates } from './creates.js';
import { type Driver, parse, type Write } from './driver.js';
import type { EarlyLog, EarlyRow } from './early-log.js';
import { errorWithCode, type ObjectqlError } from './errors.js';
import type { Reader } from './start.js';

/** What a database works with once it is open. */
export interface Ends {
  readonly driver: Driver;
  readonly reader: Reader;
  readonly creates: Creates;
}

/** What can be asked for early, and whether it resolves with text. The answer to anything else may be of any size, or rests on what was read. */
const EARLY = { create: true, createEach: true, update: true, upsert: true, delete: false, bulkDelete: false, updateMany: false, deleteMany: false };
/** How long a database that could not be opened waits for an append that is under way: 1 second. It may be held up for ever by a frozen tab. */
const PATIENCE_MS = 1000;
/** What is longer waits for the driver: 256 KiB. */
const MOST_TEXT = 256 << 10;

/**
 * Takes what is written while a database is being opened. As long as it can be, it is put into the log on the disk, and a driver decides it, this
 * page's or another's; the rest waits for the driver. It all takes effect in the order of the calls.
 */
export class EarlyWrites {
  readonly creates: Creates;
  /** What the database works with; undefined as long as it is not open. */
  ends: Ends | undefined;
  /** Why it could not be opened. */
  failure: ObjectqlError | undefined;
  readonly #log: EarlyLog | undefined;
  /** The objects, each with the version of its definition. */
  readonly #versions: ReadonlyMap<string, number>;
  /** Whether all that follows waits for the driver, as something before does. */
  #isOver = false;
  #waiting: (() => void)[] = [];

  constructor(log: EarlyLog | undefined, versions: ReadonlyMap<string, number>) {
    this.#log = log;
    this.#versions = versions;
    this.creates = new Creates(this);
  }

  /** As {@link Driver.write}. */
  write(kind: Write, object: string, first: string | Uint8Array, second: string): Promise<unknown> {
    if (this.ends !== undefined) return this.ends.driver.write(kind, object, first, second);
    if (this.failure !== undefined) return Promise.reject(this.failure);
    const row = this.#ask(kind, object, first, second);
    return new Promise((resolve) => {
      this.#waiting.push(() => resolve(this.#outcome(row, kind, object, first, second)));
    });
  }

  /** The database is open: what waits is handed over, and what follows goes there at once. In memory, it is not the one that has the early rows. */
  async handOver(ends: Ends, isInMemory: boolean): Promise<void> {
    await (isInMemory ? this.#stopSoon() : this.#stop());
    this.creates.flush();
    this.ends = ends;
    if (isInMemory) this.failure = errorWithCode('STORAGE_FAILED', 'IndexedDB could not be opened');
    this.#end();
  }

  /** It could not be opened. */
  async fail(error: ObjectqlError): Promise<void> {
    await this.#stopSoon();
    this.failure = error;
    this.#end();
  }

  async #stopSoon(): Promise<void> {
    await Promise.race([this.#stop(), new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))]);
  }

  async #stop(): Promise<void> {
    this.#isOver = true;
    await this.#log?.stop().catch(() => undefined);
  }

  #end(): void {
    for (const tell of this.#waiting.splice(0)) tell();
  }

  #ask(kind: Write, object: string, first: string | Uint8Array, second: string): EarlyRow | undefined {
    const version = this.#versions.get(object);
    const isEarly = !this.#isOver && version !== undefined && Object.hasOwn(EARLY, kind) && first.length + second.length <= MOST_TEXT;
    const row = isEarly ? this.#log?.add({ kind, object, version, first, second }) : undefined;
    this.#isOver ||= row === undefined;
    return row;
  }

  async #outcome(row: EarlyRow | undefined, kind: Write, object: string, first: string | Uint8Array, second: string): Promise<unknown> {
    if (this.failure !== undefined && row !== undefined && row.isInLog !== false) throw kept(this.failure);
    if (this.ends === undefined) throw this.failure;
    const { driver } = this.ends;
    if (!row?.isInLog) return await driver.write(kind, object, first, second);
    const answer = (await driver.write('early', '', String(this.#log!.by), String(row.number))) as string;
    const json = answer.slice(1);
    if (answer.startsWith('!')) {
      const { code, message } = parse<{ code: string; message: string }>(json);
      throw errorWithCode(code, message);
    }
    return EARLY[kind as keyof typeof EARLY] ? json : parse(json);
  }
}

/** What is told of a write that is in the log of a database that could not be opened. */
function kept(failure: ObjectqlError): ObjectqlError {
  const message = `the write is or may be kept, and is made when the database is opened, which was not possible now (${failure.code}: ${failure.message})`;
  return errorWithCode('STORAGE_UNKNOWN', message, { cause: failure });
}
