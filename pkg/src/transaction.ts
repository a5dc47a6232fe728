import { forEachMade, type RecordDraft } from './drafts.js';
import { type Driver, withAnswer, type Write } from './driver.js';
import { Records, type Source, type Written } from './records.js';
import type { Reader } from './start.js';
import type { AnySchema, RecordId, SchemaOf } from './types.js';
import { type Defaults, encodeId } from './values.js';

/** What it reads by, of its database. */
interface Ends {
  readonly reader: Reader;
  readonly objects: ReadonlyMap<string, Defaults>;
}

/**
 * Reads and writes that become one commit, or nothing. It reads what it wrote; others see it when it is committed. Made by
 * `db.transaction` and `db.beginTransaction`.
 *
 * `created_at` and `updated_at` of what it returns are provisional: those that stay are of the commit. A write that fails leaves
 * the transaction as it was before it. After its end everything rejects with `TRANSACTION_ENDED`.
 */
export class Transaction<Schema extends SchemaOf<Schema> = AnySchema> extends Records<Schema> {
  /** @internal */
  protected readonly source: Source;
  /** @internal */
  protected readonly objects: ReadonlyMap<string, Defaults>;
  /** @internal */
  protected readonly within: number;
  readonly #run: <R>(task: (driver: Driver) => R | Promise<R>) => Promise<R>;
  readonly #forget: () => void;
  #isEnded = false;
  /** The end of the call that was made last, until it is over. */
  #last: Promise<void> | undefined;

  /** @internal */
  constructor(run: <R>(task: (driver: Driver) => R | Promise<R>) => Promise<R>, number: number, { reader, objects }: Ends, forget: () => void) {
    super();
    this.objects = objects;
    this.#run = run;
    this.#forget = forget;
    this.within = number;
    this.source = {
      get: (object, id) => withAnswer(reader.findIn(number, object, { json: `{"where":{"id":${encodeId(id)}}}` }), ([record]) => record),
      find: (object, query) => reader.findIn(number, object, query),
    };
  }

  /** Whether it was committed or rolled back. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /**
   * Commits what was written, if what was read is as it was.
   *
   * # Errors
   * `TRANSACTION_CONFLICT`: nothing was written, and a new transaction may go better. Those of a write.
   */
  commit(): Promise<void> {
    return this.run((driver) => {
      this.#end();
      return driver.write('commit', '', String(this.within), '') as Promise<void>;
    });
  }

  /** Forgets what was written; does nothing after the end. */
  async rollback(): Promise<void> {
    if (this.#isEnded) return;
    await this.run((driver) => {
      this.#end();
      return driver.rollback(this.within);
    });
  }

  #end(): void {
    this.#isEnded = true;
    this.#forget();
  }

  /** @internal */
  protected write(kind: Write, encoded: () => Written): Promise<unknown> {
    return this.run((driver) => driver.write(kind, ...encoded(), this.within));
  }

  /** @internal */
  protected make(encoded: () => readonly [object: string, record: RecordDraft]): Promise<object> {
    return this.run(async (driver) => {
      const [object, record] = encoded();
      const answer = (await driver.write('create', object, `[${record.text()}]`, '', this.within)) as string;
      let made: object = {};
      forEachMade(answer, (id, time) => (made = record.complete(id as RecordId, time)));
      return made;
    });
  }

  /** One after the other: a call may have to wait for records to be read, and those after it build on it. @internal */
  protected run<R>(task: (driver: Driver) => R | Promise<R>): Promise<R> {
    const result = this.#last === undefined ? this.#run(task) : this.#last.then(() => this.#run(task));
    const last = result.then(() => undefined, () => undefined).then(() => {
      if (this.#last === last) this.#last = undefined;
    });
    this.#last = last;
    return result;
  }
}
