import type { Database } from '../database.js';
import { openDatabase } from '../open.js';
import type { Transaction } from '../transaction.js';
import type { ObjectDefinition, OpenOptions } from '../types.js';
import { merged } from './definitions.js';

/** A database that is open, and who works with it. */
interface Opened {
  readonly database: Database;
  calls: number;
  /** Tells that no call is left. */
  whenIdle: (() => void) | undefined;
}

/**
 * A database that is opened when it is first used, with the definitions that are known by then; and once more when it is used after others
 * came. The calls under way end first. Open transactions are not ended for that: until they are over, the database stays as it is.
 */
export class Opening {
  readonly #options: OpenOptions;
  readonly #byApp: ReadonlyMap<string, ObjectDefinition>;
  readonly #byEngine = new Map<string, ObjectDefinition>();
  readonly #transactions = new Set<Transaction>();
  #opened: Promise<Opened> | undefined;
  /** The end of the closing that began last: what has a database open cannot open it with other definitions. */
  #left: Promise<void> = Promise.resolve();
  /** Whether definitions came that the open database does not have. */
  #isOutdated = false;

  constructor(options: OpenOptions) {
    this.#options = options;
    this.#byApp = new Map(options.objects.map((object) => [object.name, object]));
  }

  get isOpen(): boolean {
    return this.#opened !== undefined;
  }

  /** Adds the definition of an object, or puts it in the place of another. */
  define(definition: ObjectDefinition): void {
    const before = this.#byEngine.get(definition.name);
    this.#byEngine.set(definition.name, definition);
    if (JSON.stringify(before) !== JSON.stringify(definition)) this.#isOutdated = true;
  }

  /** The definition of an object: what the app says goes before what the engine does. */
  definition(object: string): ObjectDefinition | undefined {
    const [engine, app] = [this.#byEngine.get(object), this.#byApp.get(object)];
    return engine || app ? merged(engine, app) : undefined;
  }

  /** Does something with the open database, which stays open until it is done. */
  async use<R>(task: (database: Database) => R | Promise<R>): Promise<R> {
    for (;;) {
      const current = this.#current();
      const opened = await current;
      // It may have been closed between the two.
      if (current !== this.#opened) continue;
      opened.calls++;
      try {
        return await task(opened.database);
      } finally {
        if (--opened.calls === 0) opened.whenIdle?.();
      }
    }
  }

  async begin(): Promise<Transaction> {
    return await this.use(async (database) => {
      const transaction = await database.beginTransaction();
      this.#transactions.add(transaction);
      return transaction;
    });
  }

  async end(transaction: Transaction, end: 'commit' | 'rollback'): Promise<void> {
    try {
      await transaction[end]();
    } finally {
      this.#transactions.delete(transaction);
    }
  }

  /** Closes it; the next use opens it again. */
  async close(): Promise<void> {
    const before = this.#opened;
    this.#opened = undefined;
    await this.#leave(before, (database) => database.close());
  }

  /** Deletes it; the next use makes it anew. */
  async destroy(): Promise<void> {
    const before = this.#opened ?? this.#open(undefined);
    this.#opened = undefined;
    await this.#leave(before, (database) => database.destroy());
  }

  #current(): Promise<Opened> {
    if (this.#opened === undefined || (this.#isOutdated && this.#transactions.size === 0)) {
      const opening = this.#open(this.#opened);
      this.#opened = opening;
      // The next use tries again.
      opening.catch(() => {
        if (this.#opened === opening) this.#opened = undefined;
      });
    }
    return this.#opened as Promise<Opened>;
  }

  async #open(before: Promise<Opened> | undefined): Promise<Opened> {
    const names = new Set([...this.#byEngine.keys(), ...this.#byApp.keys()]);
    const objects = [...names].map((name) => this.definition(name) as ObjectDefinition);
    this.#isOutdated = false;
    await this.#leave(before, (database) => database.close()).catch(() => undefined);
    // An object that the engine has not defined yet is migrated when it has.
    const migrations = Object.entries(this.#options.migrations ?? {}).filter(([name]) => names.has(name));
    const options = { ...this.#options, objects, migrations: Object.fromEntries(migrations) };
    return { database: await openDatabase(options), calls: 0, whenIdle: undefined };
  }

  #leave(before: Promise<Opened> | undefined, leave: (database: Database) => Promise<void>): Promise<void> {
    const left = this.#left.catch(() => undefined).then(() => this.#leaveNow(before, leave));
    this.#left = left;
    return left;
  }

  async #leaveNow(before: Promise<Opened> | undefined, leave: (database: Database) => Promise<void>): Promise<void> {
    const opened = await before?.catch(() => undefined);
    if (opened === undefined) return;
    if (opened.calls > 0) await new Promise<void>((resolve) => { opened.whenIdle = resolve; });
    await leave(opened.database);
    this.#transactions.clear();
  }
}
