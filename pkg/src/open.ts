import { Database } from './database.js';
import { loadDriver } from './driver.js';
import { errorWithCode, toObjectqlError } from './errors.js';
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
    const { name, settings } = readSettings(options);
    const user: User = { events: new Events(), options: { ...options, name } };
    return await this.#inTurn(name, async () => {
      const shared = await this.#join(name, settings, user);
      const ends = await shared.ends();
      return new Database<Schema>({
        name: options.name,
        ...ends,
        events: user.events,
        storage: () => shared.storage(),
        close: () => this.#leave(name, shared, user),
        destroy: () => this.#destroy(name, user.options),
      });
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
    await this.#inTurn(name, async () => {
      shared.users.delete(user);
      if (shared.users.size > 0) return;
      if (this.#open.get(name) === shared) this.#open.delete(name);
      // Destroyed before; unless it was lost, and the name opened anew.
      else if (!shared.isLost) return;
      await shared.close();
    });
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
    await this.#inTurn(name, async () => {
      const shared = this.#open.get(name);
      this.#open.delete(name);
      for (const { events } of shared?.users ?? []) events.end();
      await shared?.close();
      const isInMemory = options.storage === 'memory';
      await (await this.#place(options)).destroy(name, isInMemory, options.wasm);
      if (!isInMemory) forgetNote(name);
    });
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
