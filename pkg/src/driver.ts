import init, { Driver as WasmDriver } from '../wasm/objectql_offline.js';
import type { Cipher } from './encryption.js';
import { errorWithCode } from './errors.js';
import { type Beginning, checkIndexedDb, deleteLog } from './indexeddb.js';
import type { OpenOptions } from './types.js';

/** What can be written: its object, and its first and second argument as JSON text, but for the ids of mutations and transactions. */
export type Write =
  | 'create' | 'createEach' | 'update' | 'bulkUpdate' | 'updateMany' | 'upsert' | 'delete' | 'bulkDelete' | 'deleteMany' | 'import'
  | 'resolve' | 'retry' | 'discard' | 'commit' | 'undo' | 'redo' | 'migrate' | 'early';

/** What can be asked, likewise. */
export type Question = 'status' | 'pendingMutations' | 'conflicts' | 'rejected' | 'count' | 'explain' | 'aggregate' | 'distinct' | 'find'
  | 'beginExport' | 'nextExport' | 'endExport' | 'objectsToMigrate' | 'portionToMigrate';

/** What is there at once, or comes from a worker. */
export type Answer<T> = T | Promise<T>;

/** Goes on with an answer: at once, where it is there. */
export function withAnswer<T, R>(answer: Answer<T>, next: (value: T) => R): Answer<Awaited<R>> {
  return (answer instanceof Promise ? answer.then(next) : next(answer)) as Answer<Awaited<R>>;
}

/** The value of JSON text. */
export function parse<R>(json: string): R {
  return JSON.parse(json) as R;
}

/**
 * What is asked of a driver, but for records: of the one on this thread, or one in a worker, which answers later. What is thrown is an `Error` with
 * a `code`.
 */
export interface Driver {
  /**
   * In a transaction, if one is named. Resolves with the JSON of records, a number or a boolean, as the kind has it. `create` makes an array of
   * records, all or none, and `createEach` makes each by itself: they resolve with the JSON of arrays of a time and the ids of those that were made
   * then, in their order; with `createEach`, what was not made has an object with `code` and `message` in its place. `early` is told what became of
   * a row of `row-bytes.ts`, by its page and number: the JSON of that after `=`, or of an error after `!`.
   */
  write(kind: Write, object: string, first: string | Uint8Array, second: string, within?: number): Promise<unknown>;
  /** Answers with JSON, likewise; for the status at once, wherever the driver is. */
  ask(kind: 'status', object: string, first: string, second: string): string;
  ask(kind: Question, object: string, first: string, second: string, within?: number): Answer<string>;
  /** Begins a transaction. */
  begin(): Answer<number>;
  rollback(transaction: number): Answer<void>;
  /** Has the records of an object taken into memory, or one of them before the others; see {@link whenLoaded}. */
  load(object: string, idJson?: string): Promise<void>;
  /** Does a part of what queries of an object wait for when that is loaded; whether there is more. A worker does so by itself. */
  prepare?(object: string): boolean;
  sync(): Promise<object>;
  settled(mutationId: string): Promise<string>;
  close(): Promise<void>;
}

/** What the wasm side offers, on this thread. Queries and lists cross as JSON text, records as `Found`. */
export interface LocalDriver extends Driver {
  ask(kind: Question, object: string, first: string, second: string, within?: number): string;
  begin(): number;
  rollback(transaction: number): void;
  /**
   * A stamp and, after a colon, the JSON of the record if it is not known; after `!` where stale stamps are to be taken first. Only the JSON
   * after `?`, where not all of the object's records are in memory.
   */
  get(object: string, idJson: string): string | undefined;
  find(object: string, queryJson: string): Found;
  /** Rows of a portion of what is ahead, see {@link Found}; of the empty portion, which comes last, what the query finds. */
  find(object: string, queryJson: string, portion: Uint32Array): Found;
  /** Changes whenever a record does. */
  revision(): number;
  takeStale(): Uint32Array;
  watch(object: string, queryJson: string): number;
  unwatch(live: number): void;
  /** Of all live queries, or of one; nothing is put off where the page was introduced to what was ahead. */
  liveChanges(only?: number, isIntroduced?: boolean): LiveChange[];
}

/**
 * Records that the driver found: the stamps of their states in order; those that this page does not know yet, as the JSON text of an
 * array in the order of their first places, or empty; and stamps that are to be forgotten first. Where the page knows so few of them that
 * making objects of the others would take it long, there are no stamps: it is to find what is ahead, portion by portion, and then all.
 */
export type Found = [stamps: Uint32Array, unknown: string, stale: Uint32Array, ahead?: Uint32Array[] | undefined];

/**
 * How the result of a live query changed: from `start`, so many rows are gone, and those found stand there. Nothing changed yet where something is
 * ahead.
 */
export type LiveChange = [live: number, start: number, removed: number, found: Found];

/** What the driver calls back. */
export interface DriverHooks {
  headers?: () => Promise<Record<string, string>>;
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
  /** Begins to open a socket for realtime, see `connect` in `realtime.ts`. */
  connect?: (clientId: string, tell: (said?: string | null) => void) => () => void;
  /** Opens the database in IndexedDB, see `openLog` in `indexeddb.ts`; not called where it is in memory. */
  openLog?: (mayCreate: boolean) => Promise<IDBDatabase>;
  /** Reads what is first wanted of it, see `readBeginning`. */
  beginLog?: (database: IDBDatabase, most: number) => Promise<Beginning>;
  /** Seals what goes on the disk. */
  cipher?: Cipher;
  /** Is told which database in IndexedDB it is, before anything of it is opened; nothing where it was made by an early release. */
  began?: (identity: Uint8Array<ArrayBuffer> | undefined) => void;
  /** Is awaited before the first write. */
  beforeWriting?: () => Promise<void>;
  /** Is told what happened; `change` with the empty text where nobody wants to know which records it was. */
  event: (kind: string, json: string) => void;
  /** Whether somebody does. Without it: yes. */
  wantsChanges?: () => boolean;
}

/** How a driver is opened and a database deleted. */
export interface DriverClass {
  /** Options are plain data as JSON. */
  open(optionsJson: string, hooks: DriverHooks): Promise<LocalDriver>;
  destroy(name: string, isInMemory: boolean): Promise<void>;
}

/** Comes after the portions of what is ahead. */
export const NO_ROWS = new Uint32Array();

/** From this length on, in UTF-16 units, a text crosses faster as bytes: what is ASCII is else looked at unit by unit. */
const LONG = 1_000;
const encoder = new TextEncoder();

/** A text as it crosses fastest. */
export function crossing(text: string): string | Uint8Array {
  return text.length > LONG ? encoder.encode(text) : text;
}

/** What is thrown by a read that can be made when something else is done. */
export class NotReady extends Error {
  constructor(readonly prepare: () => Promise<void>) {
    super('not ready');
  }
}

/**
 * Waits for what a call of the driver found missing in memory, where that is why it threw: then it can be made again. Records are read
 * from the disk when an app first asks for some of their object. With an id, that record comes before the others.
 */
export function whenLoaded(driver: Driver, thrown: unknown, idJson?: string): Promise<void> | undefined {
  if (thrown instanceof NotReady) return thrown.prepare();
  if (!(thrown instanceof Error) || (thrown as { code?: unknown }).code !== 'NOT_LOADED') return undefined;
  return idJson === undefined ? prepare(driver, thrown.message) : driver.load(thrown.message, idJson);
}

/** For so many milliseconds parts are done in one task: a page that is animated has 16 for all that it does. */
const TASK_MS = 8;

/** Has all records of an object loaded, or done what queries of it wait for. */
async function prepare(driver: Driver, object: string): Promise<void> {
  // Only where all records are in memory is there a part to do, and it is never the only one.
  if (driver.prepare?.(object) !== true) await driver.load(object);
  // The last records were only just put with the others. A page may want to paint in between.
  do await nextTask();
  while (prepareNext(driver, object));
}

/** Does parts of it in this task; whether there are more. */
function prepareNext(driver: Driver, object: string): boolean {
  const end = performance.now() + TASK_MS;
  while (driver.prepare?.(object) === true) if (performance.now() > end) return true;
  return false;
}

/** A task of its own, which no other wait of the browser holds up. */
export function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}

let loading: Promise<DriverClass> | undefined;

/**
 * Loads the wasm, once per page; after a failure the next call tries again.
 *
 * # Errors
 * `WASM_FAILED`; `STORAGE_FAILED` where there is no IndexedDB to keep the log in, as on a server.
 */
export async function loadDriver(source: OpenOptions['wasm'], storage: OpenOptions['storage']): Promise<DriverClass> {
  if (storage !== 'memory') checkIndexedDb();
  loading ??= load(source).catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  return await loading;
}

async function load(source: OpenOptions['wasm']): Promise<DriverClass> {
  // Bundlers find the file by this very expression and copy it; it must stay as it is.
  const beside = new URL('../wasm/objectql_offline_bg.wasm', import.meta.url);
  try {
    await init({ module_or_path: source ?? readInNode(beside) ?? beside });
  } catch (cause) {
    throw errorWithCode('WASM_FAILED', failureMessage(source ?? beside, cause), { cause });
  }
  return {
    open: WasmDriver.open,
    destroy: async (name, isInMemory) => isInMemory ? WasmDriver.destroy(name) : await deleteLog(name),
  };
}

interface NodeProcess {
  /** In Node.js 20.16 and newer. Unlike an import, no bundler looks for what it names. */
  getBuiltinModule?: (name: string) => { readFileSync(path: URL): BufferSource };
}

/** The bytes of a file, in Node.js, whose `fetch` reads no files; nothing elsewhere. */
function readInNode(url: URL): BufferSource | undefined {
  const { process } = globalThis as { process?: NodeProcess };
  return url.protocol === 'file:' ? process?.getBuiltinModule?.('node:fs').readFileSync(url) : undefined;
}

function failureMessage(source: NonNullable<OpenOptions['wasm']>, cause: unknown): string {
  const from = typeof source === 'string' || source instanceof URL ? ` from ${String(source)}` : '';
  const reason = (cause instanceof Error ? cause.message : String(cause)).replace(/\.+$/, '');
  return (
    `the wasm driver could not be loaded${from}: ${reason}. Check that the file is deployed there and served with the ` +
    `MIME type application/wasm, and that the Content-Security-Policy, if there is one, has script-src 'wasm-unsafe-eval'`
  );
}
