// What every test page has besides the package: short names for what the tests do often.
import * as objectql from '/pkg/dist/index.js';

const field = (type) => ({ type });

window.objectql = objectql;

/** The object definitions, as in `objects/`, with whatever a test wants of their sync. */
window.objectsWith = (sync = {}) => [
  {
    name: 'story',
    fields: { title: field('text'), status: { type: 'select', options: ['open', 'doing', 'done'] }, points: field('number'), notes: field('json') },
    sync: { enabled: true, debounce_ms: 100, ...sync },
  },
  { name: 'task', fields: { title: field('text'), story: { type: 'lookup', reference_to: 'story' } }, sync: { enabled: true, debounce_ms: 100, ...sync } },
];

/** Opens the test's database; it syncs only when asked, unless the test says otherwise. */
window.openDb = (options) => objectql.openDatabase(optionsOf(options));
/** Begins to open it. */
window.startDb = (options) => objectql.startDatabase(optionsOf(options));

const optionsOf = ({ sync, ...options } = {}) => ({ name: 'test', objects: objectsWith(), ...options, sync: { url: '/api/sync', auto: false, ...sync } });

/** The code of the error a promise ends with; `none` if it ends well, and the error's text if it has no code. */
window.codeOf = (promise) => promise.then(() => 'none', (error) => (error instanceof objectql.ObjectqlError ? error.code : `not coded: ${error}`));

/** A write of a story for the test's ledger (`ledger.mjs`), which hears of it when it resolved: each has a text of its own. */
window.write = async (operation, recordId, fields = {}) => {
  const note = crypto.randomUUID();
  const data = { ...fields, notes: note };
  if (operation === 'create') await db.create('story', { id: recordId, title: 'A story', ...data });
  else if (operation === 'update') await db.update('story', recordId, data);
  else await db.delete('story', recordId);
  resolved({ operation, recordId, note });
};

/** Four writers at once that make, change and remove stories, so many each: what is left of the last ones stays. */
window.burst = async (name, count) => {
  const writer = async (number) => {
    const idOf = (at) => `${name}-${number}-${at}`;
    for (let at = 0; at < count; at++) {
      await write('create', idOf(at));
      await write('update', idOf(at), { points: at });
      if (at > 1) await write('delete', idOf(at - 2));
      await write('update', idOf(at), { status: 'done' });
    }
  };
  await Promise.all([1, 2, 3, 4].map(writer));
};

/** Many records. */
window.stories = (count, from = 0) => Array.from({ length: count }, (_, at) => ({ title: `Story ${from + at}`, points: from + at }));

/** Numbers below a limit that are the same each time (mulberry32). */
window.randomFrom = (seed) => (limit) => {
  seed = (seed + 0x6d2b79f5) | 0;
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
};

/** Waits until `check` gives something true. */
window.until = async (check, what, timeoutMs = 15_000) => {
  for (const end = performance.now() + timeoutMs; ; ) {
    const value = await check();
    if (value) return value;
    if (performance.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms; the status is ${JSON.stringify(window.db?.status)}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

/** From now on `elapse()` does what the timer of so many milliseconds that was set last will do, without the wait. */
window.watchTimers = (watchedMs) => {
  const { setTimeout } = window;
  window.setTimeout = (task, ms, ...args) => {
    if (ms === watchedMs) window.elapse = task;
    return setTimeout(task, ms, ...args);
  };
};

/** Calls `look(transaction, mode)` with every transaction that is opened from now on; returns what ends that. */
window.watchTransactions = (look) => {
  const { transaction: open } = IDBDatabase.prototype;
  IDBDatabase.prototype.transaction = function (stores, mode = 'readonly', options = {}) {
    const transaction = open.call(this, stores, mode, options);
    look(transaction, mode);
    return transaction;
  };
  return () => { IDBDatabase.prototype.transaction = open; };
};

/** The rows of the log, read around the driver. */
window.countRows = async () => {
  const request = indexedDB.open('test');
  const database = await new Promise((resolve, reject) => Object.assign(request, { onsuccess: () => resolve(request.result), onerror: () => reject(request.error) }));
  try {
    const count = database.transaction('log').objectStore('log').count();
    return await new Promise((resolve, reject) => Object.assign(count, { onsuccess: () => resolve(count.result), onerror: () => reject(count.error) }));
  } finally {
    database.close();
  }
};
