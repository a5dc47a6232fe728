import type { Answer, Driver, DriverHooks, loadDriver, LocalDriver } from './driver.js';
import { Cipher } from './encryption.js';
import { HeadStart } from './head-start.js';
import { renewJournal } from './journal.js';
import type { Watch } from './live-query.js';
import { connect } from './realtime.js';
import type { ReadRecord } from './rows.js';
import type { ObjectDefinition, OpenOptions, RecordId } from './types.js';
import type { EncodedQuery } from './queries.js';

/** How long after a database is opened Chromium's journal is renewed, unless something is written before: 500 ms. */
const JOURNAL_DELAY_MS = 500;

/** What a database is opened with: all of it can be sent to a worker. */
export interface Opening {
  readonly name: string;
  readonly isInMemory: boolean;
  /** What the driver itself is opened with. */
  readonly driver: {
    readonly objects: readonly ObjectDefinition[];
    readonly versions?: { readonly [object: string]: number } | undefined;
    readonly sync?: { readonly url?: unknown } | undefined;
    /** As whom the page asks for something before the driver is there, if it may. */
    readonly asker?: number | undefined;
  };
  /** Where the server rings, if it is to. */
  readonly realtimeUrl: string | undefined;
  readonly encryption: OpenOptions['encryption'];
  readonly wasm: OpenOptions['wasm'];
}

/** What the page is asked and told, wherever the driver is. */
export interface PageHooks {
  readonly headers?: () => Promise<Record<string, string>>;
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
  /** Is told which database in IndexedDB it is. */
  readonly began: (identity: Uint8Array<ArrayBuffer> | undefined) => void;
  /** Is told before the first write. */
  readonly beforeWriting: () => void;
  readonly event: (kind: string, json: string) => void;
  /** Whether anybody wants to know which records changed. Without it: yes. */
  readonly wantsChanges?: () => boolean;
  /** The driver is gone, and with it whatever waits. */
  readonly lost: () => void;
}

/** How records are read by whoever has the database open. */
export interface Reader {
  /** Whether it has to know which records change. */
  readonly wantsChanges: boolean;
  get(object: string, id: RecordId): Answer<ReadRecord | undefined>;
  find(object: string, query: EncodedQuery): Answer<readonly ReadRecord[]>;
  /** The rows of a query in a transaction, with what that wrote. */
  findIn(transaction: number, object: string, query: Partial<EncodedQuery> & Pick<EncodedQuery, 'json'>): Answer<readonly ReadRecord[]>;
  /** Prepares to follow the result of a query. */
  watch(object: string, query: EncodedQuery): Watch<ReadRecord>;
  /** Records changed, as the event says: those who follow a result that did are told. */
  tell(eventJson: string): void;
}

/** A database that was opened. */
export interface Opened {
  readonly driver: Driver;
  readonly reader: Reader;
}

/** Where drivers run: on this thread, or in a worker. */
export interface Place {
  open(opening: Opening, hooks: PageHooks): Promise<Opened>;
  destroy(name: string, isInMemory: boolean, wasm: OpenOptions['wasm']): Promise<void>;
}

/** Opens a driver on this thread, with what works beside it: what seals, the socket, the care for Chromium's journal. */
export async function startDriver(load: typeof loadDriver, opening: Opening, hooks: PageHooks): Promise<LocalDriver> {
  const { name, isInMemory, wasm, encryption, realtimeUrl } = opening;
  const cipher = encryption !== undefined && !isInMemory ? new Cipher(encryption) : undefined;
  const log = isInMemory ? undefined : new HeadStart(name, opening.driver.asker === undefined);
  const headers = hooks.headers ?? (() => Promise.resolve({}));
  const driverHooks: DriverHooks = {
    event: hooks.event,
    ...(hooks.wantsChanges && { wantsChanges: hooks.wantsChanges }),
    began: (identity) => {
      cipher?.begin(identity);
      hooks.began(identity);
    },
    ...(log && {
      openLog: (mayCreate) => log.open(mayCreate),
      beginLog: (database, most) => log.begin(database, most),
      beforeWriting: () => {
        hooks.beforeWriting();
        return renewJournal(name);
      },
    }),
    ...(hooks.headers && { headers }),
    ...(hooks.fetch && { fetch: hooks.fetch }),
    ...(realtimeUrl && { connect: (clientId, tell) => connect(realtimeUrl, clientId, headers, tell) }),
    ...(cipher && { cipher }),
  };
  const opened = load(wasm, isInMemory ? 'memory' : 'indexeddb').then((driverClass) => driverClass.open(JSON.stringify(opening.driver), driverHooks));
  const driver = await opened.finally(() => log?.end());
  // Beside all else; what fails is done at the next opening.
  cipher?.sealAll(name).catch(() => undefined);
  // Before the first write wants it, as a rule, and after the first records are read, which it would slow down.
  if (!isInMemory) setTimeout(() => renewJournal(name), JOURNAL_DELAY_MS);
  return driver;
}
