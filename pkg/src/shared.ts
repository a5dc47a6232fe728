import { Creates } from './creates.js';
import type { Driver } from './driver.js';
import type { Ends } from './early-writes.js';
import { errorWithCode, toObjectqlError } from './errors.js';
import { type Events, report } from './events.js';
import { EvictionNote } from './eviction.js';
import { migrate } from './migrations.js';
import type { Opened, Opening, PageHooks, Place, Reader } from './start.js';
import { askForPersistence, estimateStorage, StorageWatch } from './storage.js';
import type { Conflict, DatabaseEvents, OpenOptions, Status, StorageReport } from './types.js';
import { encodeResolution } from './values.js';

/** One handle's part in a shared database: its listeners, and the functions among its options. */
export interface User {
  readonly events: Events;
  readonly options: OpenOptions;
  /** As whom it asked for something before the driver was there. */
  readonly asker?: number | undefined;
}

/** What the handles on one database must agree on. */
export interface Settings {
  /** What the driver is opened with. */
  driver: Opening['driver'] & { storage?: OpenOptions['storage'] };
  /** Which functions there are: a driver without one of them cannot be given it later. */
  hooks: object;
  /** Where the server rings, if it is to. */
  realtimeUrl: string | undefined;
  /** What was to be done where IndexedDB could not be opened. */
  fallback: OpenOptions['fallback'];
  /** Where the driver runs, if not on this thread. */
  worker: OpenOptions['worker'];
}

/** A database that is open in this page, and the handles on it. */
export class SharedDatabase {
  /** What every handle was opened with, but for functions, as JSON text. */
  readonly settings: string;
  /** In the order in which they came: where only one function can be called, it is the newest handle's. */
  readonly users = new Set<User>();
  readonly #opening: Promise<Opened>;
  #reader: Reader | undefined;
  #creates: Creates | undefined;
  /** The conflicts that the app was asked about. */
  readonly #asked = new Set<string>();
  /** Where and how the log is kept. */
  readonly #kept: Pick<StorageReport, 'kind' | 'durability'>;
  #hasAsked = false;
  #watch: StorageWatch | undefined;
  readonly #note: EvictionNote | undefined;
  #isLost = false;

  private constructor(place: Place, settings: string, first: User) {
    this.settings = settings;
    this.users.add(first);
    // What the driver tells while it opens has its listeners already.
    const { driver: agreed, realtimeUrl } = JSON.parse(settings) as Settings;
    const driver = { ...agreed, asker: first.asker };
    // Where IndexedDB could not be opened, other than the settings say.
    const isInMemory = first.options.storage === 'memory';
    if (isInMemory) driver.storage = 'memory';
    const { name, encryption, wasm } = first.options;
    this.#note = isInMemory ? undefined : new EvictionNote(name);
    this.#opening = place.open({ name, isInMemory, driver, realtimeUrl, encryption, wasm }, this.#hooks(first.options));
    this.#kept = isInMemory
      ? { kind: 'memory', durability: 'none' }
      : { kind: 'indexeddb', durability: first.options.durability ?? 'strict' };
  }

  /** Opens the database for its first user. Errors: those of the driver, and `MIGRATION_FAILED`. */
  static async open(place: Place, settings: string, first: User): Promise<SharedDatabase> {
    const shared = new SharedDatabase(place, settings, first);
    try {
      const { driver, reader } = await shared.#opening;
      await migrate(driver, first.options).catch(async (thrown: unknown) => {
        await driver.close();
        throw thrown;
      });
      // What pages wrote that had no driver is there from the first query on. Where the disk is full it comes when there is room.
      await driver.write('early', '', '', '').catch(() => undefined);
      shared.#reader = reader;
      if (shared.#kept.kind === 'indexeddb') {
        shared.#watch = new StorageWatch(() => shared.storage(), (warning) => {
          for (const { events } of shared.users) events.emit('storage', warning);
        });
      }
      const { pending } = readStatus(driver);
      const lost = shared.#note?.lost();
      shared.#note?.note(pending);
      if (lost !== undefined) {
        const details = [`the database was evicted, with ${lost} mutations that were not pushed`];
        for (const { events } of shared.users) events.emit('dataLost', { reason: 'evicted', mutations: [], details });
      }
      // What an earlier session left; those that came meanwhile have their events.
      if (first.options.onConflict !== undefined) {
        for (const conflict of JSON.parse(await driver.ask('conflicts', '', '', '')) as Conflict[]) void shared.#decide(conflict);
      }
    } catch (thrown) {
      throw toObjectqlError(thrown);
    }
    return shared;
  }

  /** Whether the worker ended in which the driver was. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /** Whether it is in memory, by its options or because IndexedDB could not be opened. */
  get isInMemory(): boolean {
    return this.#kept.kind === 'memory';
  }

  /** How this browser keeps the database. */
  async storage(): Promise<StorageReport> {
    const { driver } = await this.#opening;
    const said = this.#kept.kind === 'memory' ? { persisted: null, usage: null, quota: null } : await estimateStorage();
    const { pending, pendingSince } = readStatus(driver);
    return { ...this.#kept, ...said, pending, pendingSince };
  }

  /** Closes the database. */
  async close(): Promise<void> {
    this.#watch?.end();
    const { driver } = await this.#opening;
    this.#note?.note(readStatus(driver).pending, true);
    await driver.close();
  }

  /** What all handles read and create by, once the database is open. */
  async ends(): Promise<Ends> {
    const { driver, reader } = await this.#opening;
    this.#creates ??= new Creates(driver);
    return { driver, reader, creates: this.#creates };
  }

  #hooks(options: OpenOptions): PageHooks {
    return {
      wantsChanges: () => this.#reader?.wantsChanges === true || [...this.users].some(({ events }) => events.has('change')),
      event: (kind, json) => {
        // Not at once: the driver may be in the middle of a step, and a handler that reads would meet it there.
        queueMicrotask(() => {
          if (kind === 'change') this.#reader?.tell(json);
          if (kind === 'status') this.#note?.note((JSON.parse(json) as Status).pending);
          this.#dispatch(kind as keyof DatabaseEvents, json);
        });
      },
      began: (identity) => this.#note?.began(identity),
      beforeWriting: () => {
        if (options.persist !== false && !this.#hasAsked) void askForPersistence();
        this.#hasAsked = true;
      },
      lost: () => {
        this.#isLost = true;
      },
      ...(options.sync?.headers && { headers: () => this.#headers() }),
      ...(options.sync?.fetch && { fetch: (url, init) => this.#fetch(url, init) }),
    };
  }

  async #headers(): Promise<Record<string, string>> {
    const headers = await this.#newest((options) => options.sync?.headers)?.();
    return Object.fromEntries(new Headers(headers).entries());
  }

  async #fetch(url: string, init: RequestInit): Promise<Response> {
    const send = this.#newest((options) => options.sync?.fetch) ?? fetch;
    return await send(url, init);
  }

  #newest<F>(pick: (options: OpenOptions) => F | undefined): F | undefined {
    return [...this.users].reverse().map(({ options }) => pick(options)).find((found) => found !== undefined);
  }

  #dispatch(kind: keyof DatabaseEvents, json: string): void {
    // Who listens since it happened missed it.
    if (json === '') return;
    const listening = [...this.users].filter(({ events }) => events.has(kind) || kind === 'dataLost');
    if (listening.length === 0 && kind !== 'conflict') return;
    const payload = readPayload(kind, json);
    for (const { events } of listening) events.emit(kind, payload);
    if (kind === 'conflict') void this.#decide(payload as Conflict);
  }

  /** Asks the app about a conflict. Without an answer it stays parked. */
  async #decide(conflict: Conflict): Promise<void> {
    if (this.#asked.has(conflict.id)) return;
    this.#asked.add(conflict.id);
    try {
      const resolution = await this.#newest((options) => options.onConflict)?.(conflict);
      if (resolution === undefined || resolution === null) return;
      const json = encodeResolution(resolution, conflict.objectName);
      await (await this.#opening).driver.write('resolve', '', conflict.id, json);
    } catch (error) {
      // Settled meanwhile: by another tab, or by the handler itself.
      if ((error as { code?: unknown } | null)?.code !== 'UNKNOWN_MUTATION') report(error);
    }
  }
}

/** How the database is. */
export function readStatus(driver: Driver): Status {
  return JSON.parse(driver.ask('status', '', '', '')) as Status;
}

function readPayload<K extends keyof DatabaseEvents>(kind: K, json: string): DatabaseEvents[K] {
  const payload = JSON.parse(json) as { code: string; message: string };
  const event: unknown = kind === 'error' ? errorWithCode(payload.code, payload.message) : payload;
  return event as DatabaseEvents[K];
}
