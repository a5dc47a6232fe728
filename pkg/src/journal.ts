import { done, ended, PATIENCE_MS, SCHEMA_VERSION } from './indexeddb.js';

/**
 * How much is written: more than the 4 MiB after which Chromium's LevelDB begins a new file, in values that it neither compresses
 * (they are random) nor keeps apart (from 64 KiB on).
 */
const VALUES = 90;
const VALUE_BYTES = 50_000;

let due: Promise<boolean> | undefined;
/** The databases that there were then. */
let known: readonly IDBDatabaseInfo[] = [];
let renewed: Promise<void> | undefined;

/**
 * Looks whether Chromium's journal is to be renewed: before the first database of the page is opened, and beside the loading of the
 * wasm, because it makes the browser open its storage, which is most of what opening a database takes. Gives whether the database was there, and
 * opening it writes nothing.
 */
export async function lookAtJournal(name: string): Promise<boolean> {
  await (due ??= isDue().catch(() => false));
  // What opening a database that is not there, or is of an older version, does first is a write.
  const isThere = known.some((database) => database.name === name && database.version === SCHEMA_VERSION);
  if (!isThere) await renewJournal(name);
  return isThere;
}

/**
 * Has Chromium begin a new file for IndexedDB's own journal, once per page and before anything is written; reading need not wait.
 *
 * Chromium writes the head and the body of an entry in two steps. A browser that is killed between them leaves half an entry at the end
 * of the journal; the next start passes over it, and goes on writing behind it; the start after that takes the half entry in the
 * middle for damage, and deletes all databases of the origin. A new file in between leaves the half entry behind. The writes
 * go to a database of their own, because the journal is the origin's. Where it fails, things are as they were without it.
 */
export function renewJournal(name: string): Promise<void> {
  renewed ??= renew(`${name}:journal`).catch(() => undefined);
  return renewed;
}

async function isDue(): Promise<boolean> {
  if (typeof indexedDB === 'undefined') return false;
  // What never answers is found out by opening.
  const patience = new Promise<never>((_, reject) => setTimeout(reject, PATIENCE_MS / 2));
  const [databases, isOpen] = await Promise.race([Promise.all([indexedDB.databases(), isOpenElsewhere()]), patience]);
  known = databases;
  return databases.length > 0 && !isOpen && /Chrom(e|ium)\//.test(navigator.userAgent);
}

async function renew(scratch: string): Promise<void> {
  if (!(await due)) return;
  const database = await open(scratch);
  try {
    const transaction = database.transaction('fill', 'readwrite', { durability: 'relaxed' });
    const store = transaction.objectStore('fill');
    for (let key = 0; key < VALUES; key++) store.put(crypto.getRandomValues(new Uint8Array(VALUE_BYTES)), key);
    await ended(transaction);
    // What is written next finds the old file full, and goes into the new one.
    const next = database.transaction('fill', 'readwrite', { durability: 'strict' });
    next.objectStore('fill').clear();
    await ended(next);
  } finally {
    database.close();
  }
  const deletion = indexedDB.deleteDatabase(scratch);
  await new Promise((resolve, reject) => Object.assign(deletion, { onsuccess: resolve, onerror: reject, onblocked: reject }));
}

/** Whether another page has a database open: then the journal was renewed since the browser started. */
async function isOpenElsewhere(): Promise<boolean> {
  const held = (await navigator.locks?.query())?.held ?? [];
  return held.some(({ name }) => name?.startsWith('objectql-offline:'));
}

function open(name: string): Promise<IDBDatabase> {
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => request.result.createObjectStore('fill');
  return Promise.race([done(request), new Promise<never>((_, reject) => { request.onblocked = () => reject(new Error('blocked')); })]);
}
