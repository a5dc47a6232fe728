import { forEachMade, RecordDraft } from './drafts.js';
import { crossing, type Driver } from './driver.js';
import { errorWithCode, toObjectqlError } from './errors.js';

/** How many records cross at once. */
const MOST = 1_024;

/** A record that somebody waits for. */
interface Entry {
  readonly record: RecordDraft;
  readonly resolve: (made: object) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Creates that are made without waiting for each other. They cross into the wasm together, and their outcomes come back together: one by one,
 * the crossing takes longer than all else that is done for a record.
 */
export class Creates {
  readonly #driver: Pick<Driver, 'write'>;
  #object = '';
  #waiting: Entry[] = [];

  constructor(driver: Pick<Driver, 'write'>) {
    this.#driver = driver;
  }

  /** Makes a record, in this task. */
  make(object: string, record: RecordDraft): Promise<object> {
    return new Promise((resolve, reject) => {
      if (object !== this.#object) this.flush();
      this.#object = object;
      if (this.#waiting.length === 0) queueMicrotask(() => this.flush());
      this.#waiting.push({ record, resolve, reject });
      if (this.#waiting.length === MOST) this.flush();
    });
  }

  /** Hands over what waits: whoever calls the driver next comes after it. */
  flush(): void {
    if (this.#waiting.length === 0) return;
    const entries = this.#waiting;
    this.#waiting = [];
    this.#send(entries);
  }

  #send(entries: readonly Entry[]): void {
    const text = RecordDraft.texts(entries.map(({ record }) => record));
    if (text !== undefined) return void this.#write(entries, text);
    // One has to be looked at by itself, or all of them are too long together.
    if (entries.length === 1) return this.#writeAlone(entries[0]!);
    const half = entries.length >> 1;
    this.#send(entries.slice(0, half));
    this.#send(entries.slice(half));
  }

  #writeAlone(entry: Entry): void {
    let text: string;
    try {
      text = entry.record.text();
    } catch (error) {
      return entry.reject(error);
    }
    void this.#write([entry], `[${text}]`);
  }

  async #write(entries: readonly Entry[], text: string): Promise<void> {
    try {
      const answer = (await this.#driver.write('createEach', this.#object, crossing(text), '')) as string;
      let at = 0;
      forEachMade(answer, (outcome, time) => {
        const { record, resolve, reject } = entries[at++] as Entry;
        if (typeof outcome === 'object') reject(errorWithCode(outcome.code, outcome.message));
        else resolve(record.complete(outcome, time));
      });
    } catch (thrown) {
      const error = toObjectqlError(thrown);
      for (const { reject } of entries) reject(error);
    }
  }
}
