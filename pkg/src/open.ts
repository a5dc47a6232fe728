import { Database } from './database.js';
import { defaultsOf } from './drafts.js';
import { loadDriver } from './driver.js';
import { EarlyLog } from './early-log.js';
import { EarlyWrites } from './early-writes.js';
import { errorWithCode, type ObjectqlError, toObjectqlError } from './errors.js';
import { Events } from './events.js';
import { forgetNote } from './eviction.js';
import { readVersions } from './migrations.js';
import { Reading } from './reading.js';
import { absoluteUrl, socketUrl } from './realtime.js';
import { type Settings, SharedDatabase, type User } from './shared.js';
import { type Place, startDriver } from './start.js';
import type { AnySchema, OpenOptions, SchemaOf } from './types.js';
import { encodePlain } from './values.js';

/** The databases that are open in this page. */
export class Databases {
  readonly #load: typeof loadDriver;
  readonly #open = new Map<string, SharedDatabase>();
  /** The end of what is under way for a name: opening, closing and deleting take turns. */
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor(load: typeof loadDriver) {
    this.#load = load;
  }

  async open<Schema extends SchemaOf<Schema>>(options: OpenOptions): Promise<Database<Schema>> {
    const database = this.start<Schema>(options, false);
    await database.opened;
    return database;
  }

  /** Begins to open a database, and gives it at once. */
  start<Schema extends SchemaOf<Schema>>(options: OpenOptions, isEarly = true): Database<Schema> {
    const { name, settings } = readSettings(options);
    const { durability, storage, encryption } = options;
    // What is open needs nothing to be early; what is sealed is sealed by the driver.
    const canBeEarly = isEarly && storage !== 'memory' && encryption === undefined && typeof indexedDB !== 'undefined' && !this.#open.has(name);
    const log = canBeEarly ? new EarlyLog(name, durability) : undefined;
    const { driver } = JSON.parse(settings) as Settings;
    const early = new EarlyWrites(log, versionsOf(driver));
    const user: User = { events: new Events(), options: { ...options, name }, asker: log?.by };
    const beginning = this.#inTurn(name, async () => {
      const shared = await this.#join(name, settings, user);
      return { shared, ends: await shared.ends() };
    });
    const opened = beginning.then(({ ends, shared }) => early.handOver(ends, shared.isInMemory), async (error: ObjectqlError) => {
      await early.fail(error);
      user.events.emit('error', error);
      throw error;
    });
    // Whether it is open or could not be opened; nothing that was written before is on its way any more.
    const over = opened.then(() => beginning, () => undefined);
    return new Database<Schema>({
      name: options.name,
      early,
      opened,
      isDurable: storage !== 'memory',
      objects: defaultsOf(driver.objects),
      events: user.events,
      storage: async () => await (await beginning).shared.storage(),
      close: () => this.#inTurn(name, async () => {
        const begun = await over;
        if (begun !== undefined) await this.#leave(name, begun.shared, user);
      }),
      destroy: () => this.#inTurn(name, async () => {
        await over;
        await this.#destroy(name, user.options);
      }),
    });
  }

  async #join(name: string, settings: string, user: User): Promise<SharedDatabase> {
    const shared = this.#open.get(name);
    if (shared === undefined || shared.isLost) {
      const opened = await this.#begin(settings, user).catch((thrown: unknown) => {
        if (user.options.fallback !== 'memory' || toObjectqlError(thrown).code !== 'STORAGE_FAILED') throw thrown;
        user.options.storage = 'memory';
        return this.#begin(settings, user);
      });
      this.#open.set(name, opened);
      return opened;
    }
    if (shared.settings !== settings) {
      throw errorWithCode('INVALID_OPTIONS', `this page has the database ${name} open with other options: close it first`);
    }
    // What `destroy` deletes is what is open.
    if (shared.isInMemory) user.options.storage = 'memory';
    shared.users.add(user);
    return shared;
  }

  async #begin(settings: string, user: User): Promise<SharedDatabase> {
    return await SharedDatabase.open(await this.#place(user.options), settings, user);
  }

  async #leave(name: string, shared: SharedDatabase, user: User): Promise<void> {
    shared.users.delete(user);
    if (shared.users.size > 0) return;
    if (this.#open.get(name) === shared) this.#open.delete(name);
    // Destroyed before; unless it was lost, and the name opened anew.
    else if (!shared.isLost) return;
    await shared.close();
  }

  /** Where the driver runs. */
  async #place({ worker, workerUrl }: OpenOptions): Promise<Place> {
    // Who does without it does not load it.
    if (worker) return await (await import('./worker-place.js')).connectWorker(worker, workerUrl);
    return {
      open: async (opening, hooks) => {
        const driver = await startDriver(this.#load, opening, hooks);
        return { driver, reader: new Reading(driver, opening.driver.objects) };
      },
      destroy: async (name, isInMemory, wasm) => (await this.#load(wasm, isInMemory ? 'memory' : 'indexeddb')).destroy(name, isInMemory),
    };
  }

  async #destroy(name: string, options: OpenOptions): Promise<void> {
    const shared = this.#open.get(name);
    this.#open.delete(name);
    for (const { events } of shared?.users ?? []) events.end();
    await shared?.close();
    const isInMemory = options.storage === 'memory';
    await (await this.#place(options)).destroy(name, isInMemory, options.wasm);
    if (!isInMemory) forgetNote(name);
  }

  #inTurn<R>(name: string, task: () => Promise<R>): Promise<R> {
    const turn = (this.#turns.get(name) ?? Promise.resolve()).then(task).catch((thrown: unknown) => {
      throw toObjectqlError(thrown);
    });
    this.#turns.set(name, turn.catch(() => undefined));
    return turn;
  }
}

const databases = new Databases(loadDriver);

/**
 * Opens a database of this browser, making it if there is none.
 *
 * The first call in a page loads the wasm. When the promise resolves, everything can be read and written without a network; a first
 * sync may be under way. Records are read from the disk when they are asked for: one with its neighbours, those of an object when it
 * is first queried. Opening a name that this page has open gives another handle on the same
 * database, with listeners of its own; the last handle to close closes it. `sync.headers`, `sync.fetch` and `onConflict` are
 * taken from the newest handle that has them, `migrations` from the first. Several tabs may have a database open: all see all writes, one of them syncs.
 *
 * # Errors
 * `INVALID_OPTIONS`, also when this page has the database open with other options; `INVALID_DEFINITION`; `WASM_FAILED`;
 * `STORAGE_FAILED`, `STORAGE_BLOCKED`, `STORAGE_OUTDATED`, `WRONG_KEY`; `MIGRATION_FAILED`.
 *
 * ```ts
 * const db = await openDatabase<Schema>({ name: 'crm', objects, sync: { url: '/api/sync' } });
 * const story = await db.create('story', { title: 'Ship it' });
 * ```
 */
export function openDatabase<Schema extends SchemaOf<Schema> = AnySchema>(options: OpenOptions): Promise<Database<Schema>> {
  return databases.open<Schema>(options);
}

/**
 * Begins to open a database of this browser, and gives it at once: what is written is in the log on the disk before the wasm is loaded, and takes
 * effect in the order of the calls, also when the page ends before that. Promises of writes are kept when they took effect; all else waits until
 * the database is open, which `opened` tells, and rejects with what `opened` rejects with.
 *
 * A write waits for the driver as well where it is `bulkUpdate`, `import`, a transaction or a decision, has more than 256 KiB, or comes after one that waits; and where
 * the database is in memory or encrypted. One that is on the disk and cannot be made for now, because the database cannot be opened, rejects with
 * `STORAGE_UNKNOWN`: it is made when somebody opens the database. What is refused when nobody waits for it any more comes as an `error` event.
 *
 * # Errors
 * Throws `INVALID_OPTIONS`; `opened` rejects with those of `openDatabase`.
 *
 * ```ts
 * const db = startDatabase<Schema>({ name: 'crm', objects, sync: { url: '/api/sync' } });
 * const story = await db.create('story', { title: 'Ship it' });
 * ```
 */
export function startDatabase<Schema extends SchemaOf<Schema> = AnySchema>(options: OpenOptions): Database<Schema> {
  return databases.start<Schema>(options);
}

/** The name of the database, and what two handles on it must agree on, as JSON text. */
function readSettings(options: OpenOptions): { name: string; settings: string } {
  if (typeof options !== 'object' || options === null) throw errorWithCode('INVALID_OPTIONS', 'openDatabase takes an options object');
  const { account, objects, durability, storage, sync } = options;
  const worker = readWorker(options);
  if (!isText(options.name)) throw errorWithCode('INVALID_OPTIONS', 'name must be a non-empty string');
  if (account !== undefined && !isText(account)) throw errorWithCode('INVALID_OPTIONS', 'account must be a non-empty string');
  // An account may have any characters; none of them can make it a part of the name, or the name a part of it.
  const name = account === undefined ? options.name : `${options.name}@${encodeURIComponent(account)}`;
  if (!Array.isArray(objects)) throw errorWithCode('INVALID_OPTIONS', 'objects must be an array of object definitions');
  const { url, auto, pollIntervalMs, timeoutMs, realtime } = sync ?? {};
  isFunction(options.onConflict, 'onConflict');
  if (!['error', 'memory', undefined].includes(options.fallback)) throw errorWithCode('INVALID_OPTIONS', "fallback must be 'error' or 'memory'");
  // A driver without one of these hooks cannot be given it later, so whether they are there is a setting, too.
  const { fallback } = options;
  const hooks = { encryption: options.encryption !== undefined, headers: isFunction(sync?.headers, 'sync.headers'), fetch: isFunction(sync?.fetch, 'sync.fetch') };
  const realtimeUrl = realtime && url !== undefined ? socketUrl(url) : undefined;
  // A worker has another base than the page; the app's own `fetch` gets what the app gave.
  const endpoint = worker && typeof url === 'string' && !hooks.fetch ? absoluteUrl(url, 'sync.url') : url;
  const driver = { name, objects, versions: readVersions(options), durability, storage, sync: sync && { url: endpoint, auto, pollIntervalMs, timeoutMs } };
  return { name, settings: encodePlain({ driver, hooks, realtimeUrl, fallback, worker } satisfies Settings, 'options') };
}

/** The objects, each with the version of its definition. What is no definition the driver refuses. */
function versionsOf({ objects, versions }: Settings['driver']): ReadonlyMap<string, number> {
  return new Map(objects.map((object) => [object?.name, versions?.[object?.name] ?? 1]));
}

/** In which kind of worker the driver is to be, if in one. */
function readWorker({ worker, storage, fallback, wasm }: OpenOptions): Settings['worker'] {
  if (worker === undefined || worker === false) return undefined;
  const kinds = { dedicated: 'Worker', shared: 'SharedWorker' };
  if (typeof worker !== 'string' || !Object.hasOwn(kinds, worker)) throw errorWithCode('INVALID_OPTIONS', "worker must be 'shared', 'dedicated' or false");
  if (!Object.hasOwn(globalThis, kinds[worker])) {
    throw errorWithCode('INVALID_OPTIONS', `there is no ${kinds[worker]} here: leave out the option worker${worker === 'shared' ? ", or let it be 'dedicated'" : ''}`);
  }
  if (worker === 'shared' && (storage === 'memory' || fallback === 'memory')) {
    throw errorWithCode('INVALID_OPTIONS', "what is in memory belongs to one page: with storage or fallback 'memory' let worker be 'dedicated'");
  }
  if (worker === 'shared' && wasm instanceof WebAssembly.Module) {
    throw errorWithCode('INVALID_OPTIONS', 'a compiled module cannot be sent to a shared worker: give the URL of the wasm, or its bytes');
  }
  return worker;
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function isFunction(value: unknown, name: string): boolean {
  if (value === undefined || typeof value === 'function') return value !== undefined;
  throw errorWithCode('INVALID_OPTIONS', `${name} must be a function`);
}
