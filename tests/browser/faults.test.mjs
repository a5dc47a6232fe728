// Storage that breaks underneath: damaged rows and segments, cleared site data, dead connections, an IndexedDB that does not answer or is
// not there, a tab that is frozen in the middle of a write. Nothing else is lost, whoever waits is answered, the app is told, and all goes
// on by itself when the storage does.
import assert from 'node:assert/strict';
import { reload, test, until, world } from './harness.mjs';

async function start(t) {
  const all = await world(t);
  const tab = await all.openTab();
  await prepare(tab);
  return { ...all, tab };
}

/** What a page needs to break things. */
async function prepare(tab) {
  await tab.evaluate(() => {
    window.losses = [];
    window.open = async (options) => {
      window.db = await openDb(options);
      db.on('dataLost', (loss) => losses.push(loss));
    };
    window.wait = (request) => new Promise((resolve, reject) => { request.onsuccess = () => resolve(request.result); request.onerror = () => reject(request.error); });
    /** Changes what is in a store, around the driver. */
    window.inStore = async (name, change) => {
      const database = await wait(indexedDB.open('test'));
      const transaction = database.transaction(name, 'readwrite');
      const store = transaction.objectStore(name);
      const keys = await wait(store.getAllKeys());
      const values = await wait(store.getAll());
      const changed = change(new Map(keys.map((key, at) => [key, values[at]])));
      for (const [key, value] of changed) {
        if (value === undefined) store.delete(key);
        else store.put(value, key);
      }
      await new Promise((resolve, reject) => Object.assign(transaction, { oncomplete: resolve, onabort: reject }));
      database.close();
      return [...changed].map(([key]) => key);
    };
    window.flipped = (bytes) => Object.assign(bytes.slice(), { [bytes.length - 1]: bytes.at(-1) ^ 1 });
    window.titles = async () => (await db.find('story')).map(({ title }) => title).sort();
    window.later = (ms) => {
      const { now } = performance;
      performance.now = () => now.call(performance) + ms;
      // Has the driver look at the clock.
      window.dispatchEvent(new Event('focus'));
      return () => { performance.now = now; };
    };
  });
}

/** Leaves two stories that the server has and three rows with one that it has not; gives the client id. */
function fill(tab) {
  return tab.evaluate(async () => {
    await open();
    await db.bulkCreate('story', [{ title: 'A' }, { title: 'B' }]);
    await db.sync();
    for (const title of ['C', 'D', 'E']) await db.create('story', { title });
    const { clientId } = db.status;
    await db.close();
    return clientId;
  });
}

async function again(tab) {
  await reload(tab);
  await prepare(tab);
}

test('a damaged row costs what is in it; what is pending beside it and what the server has come back', async (t) => {
  const { tab, ledger } = await start(t);
  const before = await fill(tab);
  const [row] = await tab.evaluate(() => inStore('log', (rows) => {
    const key = [...rows.keys()].at(-2);
    return new Map([[key, flipped(rows.get(key))]]);
  }));
  await again(tab);
  const seen = await tab.evaluate(async () => {
    await open();
    // A handler that comes after the database is open hears of it, too.
    await until(() => losses.length > 0, 'the loss');
    return { losses, titles: await titles(), clientId: db.status.clientId, pending: db.status.pending };
  });
  assert.deepEqual(seen.losses, [{ reason: 'damaged', mutations: [], details: [`rows ${row} to ${row}: the checksum does not fit`] }]);
  assert.deepEqual([seen.titles, seen.pending], [['A', 'B', 'C', 'E'], 2]);
  assert.notEqual(seen.clientId, before);
  const after = await tab.evaluate(async () => {
    await db.sync();
    await db.create('story', { title: 'F' });
    await db.sync();
    return { titles: await titles(), pending: db.status.pending, rejected: await db.rejected(), conflicts: await db.conflicts() };
  });
  assert.deepEqual(after, { titles: ['A', 'B', 'C', 'E', 'F'], pending: 0, rejected: [], conflicts: [] });
  // It is told once.
  await again(tab);
  await tab.evaluate(async () => { await open(); await db.sync(); });
  assert.deepEqual(await tab.evaluate(async () => [losses, await titles()]), [[], after.titles]);
  await ledger.settle(tab);
});

test('rows that are missing at the end cost what was in them: the next write finds it out, and goes through', async (t) => {
  const { tab, ledger } = await start(t);
  const before = await fill(tab);
  const rows = await tab.evaluate(() => inStore('log', (rows) => new Map([...rows.keys()].slice(-2).map((key) => [key, undefined]))));
  await again(tab);
  const seen = await tab.evaluate(async () => {
    await open();
    const code = await codeOf(db.create('story', { title: 'F' }));
    await until(() => losses.length > 0, 'the loss');
    await db.sync();
    return { code, losses, titles: await titles(), clientId: db.status.clientId, status: [db.status.pending, db.status.error] };
  });
  assert.deepEqual(seen.losses, [{ reason: 'damaged', mutations: [], details: [`rows ${rows[0]} to ${rows[1]}: it is missing`] }]);
  assert.deepEqual([seen.code, seen.titles, seen.status], ['none', ['A', 'B', 'C', 'F'], [0, null]]);
  assert.notEqual(seen.clientId, before);
  await again(tab);
  await tab.evaluate(async () => { await open(); await db.sync(); });
  assert.deepEqual(await tab.evaluate(async () => [losses, await titles()]), [[], seen.titles]);
  await ledger.settle(tab);
});

for (const part of ['segment', 'root']) {
  test(`a damaged ${part} is left out, and its records come back from the server`, async (t) => {
    const { tab, server } = await start(t);
    await tab.evaluate(async () => {
      await open();
      await db.bulkCreate('story', stories(3_000));
      await db.sync();
      await db.create('task', { title: 'Not pushed' });
    });
    await until(() => tab.evaluate(() => inStore('segments', (all) => { window.isThere = all.has(0); return []; }).then(() => window.isThere)), 'a compaction');
    await tab.evaluate(() => db.close());
    await tab.evaluate((part) => inStore('segments', (all) => {
      // Of the stories, as their first byte says.
      const largest = [...all].filter(([key, bytes]) => key > 0 && bytes[7] === 0 && new TextDecoder().decode(bytes).includes('Story 1')).sort(([, one], [, other]) => other.length - one.length)[0][0];
      const key = part === 'root' ? 0 : largest;
      return new Map([[key, flipped(all.get(key))]]);
    }), part);
    await again(tab);
    const found = await tab.evaluate(async () => {
      await open();
      const count = await db.count('story');
      await until(() => losses.length > 0, 'the loss');
      return { count, losses };
    });
    assert.ok(found.count < 3_000, `${found.count} records`);
    assert.match(found.losses[0].details[0], part === 'root' ? /^the root: the checksum/ : /^segment \d+, with records of story: the checksum/);
    const after = await tab.evaluate(async () => {
      await db.sync();
      await db.update('story', (await db.find('story', { where: { points: 2_999 } }))[0].id, { title: 'Found again' });
      await db.sync();
      return { count: await db.count('story'), tasks: await db.count('task'), pending: db.status.pending, rejected: (await db.rejected()).length };
    });
    // What was pushed later than the root was written is in rows.
    assert.equal(after.count, 3_000);
    assert.deepEqual([after.pending, after.rejected], [0, 0]);
    if (part === 'segment') assert.equal(after.tasks, 1);
    const { changes } = await server.changesSince();
    assert.equal(new Set(changes.filter(({ objectName }) => objectName === 'story').map(({ recordId }) => recordId)).size, 3_000);
  });
}

test('site data that are cleared while two tabs have them open: both begin anew, as another client, and tell what is lost', async (t) => {
  const { tab, openTab, proxy } = await start(t);
  const other = await openTab();
  await prepare(other);
  await tab.evaluate(async () => {
    await open();
    await db.create('story', { id: 'synced', title: 'Synced' });
    await db.sync();
    await db.create('story', { id: 'mine', title: 'Not pushed' });
  });
  await other.evaluate(async () => { await open(); await until(async () => (await titles()).length === 2, 'the records of the other tab'); });
  const before = await tab.evaluate(() => db.status.clientId);
  const session = await tab.context().newCDPSession(tab);
  await session.send('Storage.clearDataForOrigin', { origin: proxy.origin, storageTypes: 'indexeddb' });
  assert.equal(await tab.evaluate(() => codeOf(db.create('story', { title: 'Refused' }))), 'DATABASE_LOST');
  // As many rows as the old database had, and more: the other tab must not take them for the continuation of what it knows.
  await tab.evaluate(async () => {
    for (let n = 0; n < 12; n++) await db.create('task', { id: `t${n}`, title: `Task ${n}` });
    await db.sync();
  });
  await other.evaluate(() => until(() => losses.length > 0, 'the other tab hears of it'));
  await other.evaluate(async () => { await db.create('story', { id: 'new', title: 'New' }); await db.sync(); });
  await tab.evaluate(() => until(async () => (await titles()).length === 2, 'the record of the other tab'));
  const [one, two] = await Promise.all([tab, other].map((page) => page.evaluate(async () => ({
    losses: losses.map(({ reason, mutations, details }) => [reason, mutations.map(({ recordId }) => recordId), details]),
    titles: await titles(), tasks: await db.count('task'), clientId: db.status.clientId, pending: db.status.pending,
  }))));
  assert.deepEqual(one, two);
  assert.notEqual(one.clientId, before);
  assert.deepEqual({ ...one, clientId: '' }, { losses: [['cleared', ['mine'], []]], titles: ['New', 'Synced'], tasks: 12, clientId: '', pending: 0 });
});

test('a database that was evicted while nobody had it open is told about, with how much was lost; one that was destroyed is not', async (t) => {
  const { tab, proxy } = await start(t);
  await tab.evaluate(async () => {
    await open();
    await db.create('story', { title: 'Pushed' });
    await db.sync();
    await db.bulkCreate('story', [{ title: 'A' }, { title: 'B' }]);
    await db.close();
    await open();
    await db.close();
  });
  assert.deepEqual(await tab.evaluate(() => losses), []);
  const session = await tab.context().newCDPSession(tab);
  await session.send('Storage.clearDataForOrigin', { origin: proxy.origin, storageTypes: 'indexeddb' });
  await again(tab);
  const seen = await tab.evaluate(async () => {
    await open();
    await until(() => losses.length > 0, 'the loss');
    await db.sync();
    const seen = { losses, titles: await titles() };
    await db.destroy();
    window.losses = [];
    await open();
    await db.sync();
    return { ...seen, later: window.losses };
  });
  assert.deepEqual(seen, {
    losses: [{ reason: 'evicted', mutations: [], details: ['the database was evicted, with 2 mutations that were not pushed'] }],
    titles: ['Pushed'],
    later: [],
  });
});

test('of two pages that are opened at once after an eviction one tells of it', async (t) => {
  const { tab, proxy, openTab } = await start(t);
  await tab.evaluate(async () => {
    await open();
    await db.create('story', { title: 'A' });
    await db.close();
  });
  const session = await tab.context().newCDPSession(tab);
  await session.send('Storage.clearDataForOrigin', { origin: proxy.origin, storageTypes: 'indexeddb' });
  await again(tab);
  const other = await openTab();
  await prepare(other);
  // It has seen what was noted, and waits for the wasm.
  await other.evaluate(() => {
    const { readable, writable } = new TransformStream();
    window.goOn = async () => (await fetch('/pkg/wasm/objectql_offline_bg.wasm')).body.pipeTo(writable);
    window.opening = open({ wasm: new Response(readable, { headers: { 'content-type': 'application/wasm' } }) });
  });
  await tab.evaluate(async () => { await open(); await until(() => losses.length > 0, 'the loss'); });
  await other.evaluate(async () => { void goOn(); await opening; await db.sync(); });
  const told = await Promise.all([tab, other].map((page) => page.evaluate(() => losses.map(({ reason }) => reason))));
  assert.deepEqual(told, [['evicted'], []]);
});

test('a connection that stays dead is replaced, and the whole transaction made again on the new one', async (t) => {
  const { tab } = await start(t);
  const seen = await tab.evaluate(async () => {
    await open();
    await db.create('story', { title: 'Before' });
    // As WebKit's do when its storage process is gone: every request of the old connection fails, whatever is done.
    const { transaction } = IDBDatabase.prototype;
    const { add, getAll, get } = IDBObjectStore.prototype;
    const alive = new WeakSet();
    let isDead = true;
    let refused = 0;
    const { open: openDatabase } = IDBFactory.prototype;
    IDBFactory.prototype.open = function (...args) {
      const request = openDatabase.apply(this, args);
      request.addEventListener('success', () => alive.add(request.result));
      return request;
    };
    const guard = (method) => function (...args) {
      if (isDead && !alive.has(this.transaction.db)) {
        refused++;
        throw new DOMException('Connection to Indexed Database server lost. Refresh the page to try again', 'UnknownError');
      }
      return method.apply(this, args);
    };
    Object.assign(IDBObjectStore.prototype, { add: guard(add), getAll: guard(getAll), get: guard(get) });
    await Promise.all(['A', 'B'].map((title) => db.create('story', { title })));
    isDead = false;
    Object.assign(IDBObjectStore.prototype, { add, getAll, get });
    IDBDatabase.prototype.transaction = transaction;
    IDBFactory.prototype.open = openDatabase;
    return { refused, titles: await titles(), sequences: (await db.pendingMutations()).map(({ sequence }) => sequence) };
  });
  assert.deepEqual(seen, { refused: 1, titles: ['A', 'B', 'Before'], sequences: [1, 2, 3] });
});

test('an IndexedDB that fails all the time is not asked all the time, and all goes on by itself when it works again', async (t) => {
  const { tab } = await start(t);
  const seen = await tab.evaluate(async () => {
    await open();
    const errors = [];
    db.on('error', ({ code }) => errors.push(code));
    const { transaction } = IDBDatabase.prototype;
    let asked = 0;
    IDBDatabase.prototype.transaction = () => {
      asked++;
      throw new DOMException('An internal error was encountered.', 'UnknownError');
    };
    const codes = new Set();
    for (let n = 0; n < 200; n++) codes.add(await codeOf(db.create('story', { title: 'Lost' })));
    const state = db.status.state;
    IDBDatabase.prototype.transaction = transaction;
    await until(() => db.status.state !== 'storage-failed', 'storage works');
    await db.create('story', { title: 'Kept' });
    return { codes: [...codes], asked, state, titles: await titles(), errors };
  });
  assert.deepEqual({ ...seen, asked: 0 }, { codes: ['STORAGE_FAILED'], asked: 0, state: 'storage-failed', titles: ['Kept'], errors: ['STORAGE_FAILED'] });
  assert.ok(seen.asked < 30, `asked ${seen.asked} times`);
});

test('an open that never answers is made again', async (t) => {
  const { tab } = await start(t);
  const opens = await tab.evaluate(async () => {
    watchTimers(10_000);
    const { open: openDatabase } = IDBFactory.prototype;
    let opens = 0;
    IDBFactory.prototype.open = function (...args) {
      opens++;
      if (opens > 1) return openDatabase.apply(this, args);
      // No event of it arrives.
      queueMicrotask(() => elapse());
      return Object.create(IDBOpenDBRequest.prototype, { addEventListener: { value() {} }, removeEventListener: { value() {} }, onsuccess: { writable: true }, onerror: { writable: true }, onblocked: { writable: true }, onupgradeneeded: { writable: true } });
    };
    await open();
    await db.create('story', { title: 'A' });
    return opens;
  });
  assert.ok(opens >= 2, `${opens} opens`);
});

test('where IndexedDB cannot be opened, the app is told so, or goes on in memory and sees that it does', async (t) => {
  const { tab, server } = await start(t);
  const seen = await tab.evaluate(async () => {
    IDBFactory.prototype.open = () => { throw new DOMException('A mutation operation was attempted on a database that did not allow mutations.', 'InvalidStateError'); };
    const refused = await codeOf(openDb());
    await open({ fallback: 'memory' });
    await db.create('story', { id: 'a', title: 'In memory' });
    const { durable } = db.status;
    const report = await db.storage();
    await db.sync();
    await db.close();
    return { refused, durable, report, closed: db.status.state };
  });
  assert.deepEqual({ ...seen, report: undefined }, { refused: 'STORAGE_FAILED', durable: false, report: undefined, closed: 'closed' });
  assert.deepEqual({ ...seen.report, pendingSince: '' }, { kind: 'memory', durability: 'none', persisted: null, usage: null, quota: null, pending: 1, pendingSince: '' });
  assert.deepEqual((await server.changesSince()).changes.map(({ recordId }) => recordId), ['a']);
});

test('a tab that is frozen in the middle of a write is reported by the others, whose writes go through when it wakes', async (t) => {
  const { openBrowser } = await start(t);
  const browser = await openBrowser();
  const [holder, tab] = [await browser.openTab(), await browser.openTab()];
  await prepare(holder);
  await prepare(tab);
  await tab.evaluate(async () => { await open(); await db.create('story', { title: 'Before' }); });
  const pid = await browser.processOf(holder);
  await holder.evaluate(() => {
    window.spin = true;
    indexedDB.open('test').onsuccess = ({ target: { result: database } }) => {
      const store = database.transaction('log', 'readwrite').objectStore('log');
      const ask = () => { store.count().onsuccess = () => { window.holds = true; if (window.spin) ask(); else database.close(); }; };
      ask();
    };
  });
  await holder.evaluate(() => until(() => window.holds, 'it holds the store'));
  process.kill(pid, 'SIGSTOP');
  try {
    const seen = await tab.evaluate(async () => {
      const errors = [];
      db.on('error', ({ code }) => errors.push(code));
      let isDone = false;
      window.written = db.create('story', { title: 'After' }).then(() => { isDone = true; });
      await codeOf(Promise.resolve());
      const back = later(21_000);
      await until(() => errors.length > 0, 'it is told');
      back();
      return { errors, state: db.status.state, isDone };
    });
    assert.deepEqual(seen, { errors: ['STORAGE_BLOCKED'], state: 'storage-failed', isDone: false });
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await holder.evaluate(() => { window.spin = false; });
  await tab.evaluate(() => written);
  assert.deepEqual(await tab.evaluate(async () => [await titles(), db.status.error]), [['After', 'Before'], null]);
});

test('storage() says how the database is kept, and warns when it gets full or what was not pushed may be evicted', async (t) => {
  const { tab } = await start(t);
  const report = await tab.evaluate(async () => {
    watchTimers(10_000);
    window.asked = 0;
    const { persist } = StorageManager.prototype;
    StorageManager.prototype.persist = function () { asked++; return persist.call(this); };
    await open({ durability: 'relaxed' });
    window.warnings = [];
    db.on('storage', (warning) => warnings.push(warning));
    await db.bulkCreate('story', stories(500));
    return { asked, ...(await db.storage()) };
  });
  assert.deepEqual({ ...report, usage: 0, quota: 0, pendingSince: '', persisted: false }, {
    asked: 1, kind: 'indexeddb', durability: 'relaxed', persisted: false, usage: 0, quota: 0, pending: 500, pendingSince: '',
  });
  assert.equal(typeof report.persisted, 'boolean');
  assert.ok(report.usage > 0 && report.quota > report.usage, JSON.stringify(report));
  assert.ok(Math.abs(Date.parse(report.pendingSince) - Date.now()) < 60_000, report.pendingSince);
  await tab.evaluate(() => { StorageManager.prototype.estimate = async () => ({ usage: 81, quota: 100 }); });
  const look = async (count) => {
    await tab.evaluate(() => { watchTimers(600_000); elapse(); });
    await tab.evaluate((count) => until(() => warnings.length === count, `${count} warnings`), count);
  };
  await look(1);
  await tab.evaluate(() => {
    StorageManager.prototype.persisted = async () => false;
    const { now } = Date;
    Date.now = () => now() + 4 * 24 * 3_600_000;
  });
  await look(2);
  assert.deepEqual(await tab.evaluate(() => warnings.map(({ reason, storage }) => [reason, storage.pending])), [['full', 500], ['unpushed', 500]]);
});

test('a warning that nobody listened to is told to who listens later, each reason once', async (t) => {
  const { tab } = await start(t);
  const reasons = await tab.evaluate(async () => {
    let looks = 0;
    StorageManager.prototype.estimate = async () => (looks++, { usage: looks > 1 ? 96 : 81, quota: 100 });
    watchTimers(10_000);
    await open();
    watchTimers(600_000);
    // The first look, and one that finds it fuller.
    const first = elapse;
    window.elapse = undefined;
    first();
    await until(() => window.elapse, 'the next look');
    elapse();
    await until(() => looks === 2, 'that one');
    const warnings = [];
    await until(() => {
      const stop = db.on('storage', ({ reason, storage }) => warnings.push([reason, storage.usage]));
      return new Promise((resolve) => setTimeout(() => (stop(), resolve(warnings.length > 0)), 0));
    }, 'the warning');
    return warnings;
  });
  assert.deepEqual(reasons, [['full', 96]]);
});
