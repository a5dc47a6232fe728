// What a browser's storage does to an app that is syncing: full, dead, silent, cleared, wanted by a newer version. Every failure has a
// code, and the account of writes is right afterwards.
import assert from 'node:assert/strict';
import { test, until, world } from './harness.mjs';

/** A world with a tab; with options, the database is open in it. */
async function start(t, options) {
  const all = await world(t);
  const tab = await all.openTab();
  if (options) await open(tab, options);
  return { ...all, tab };
}

const open = (tab, options = {}) => tab.evaluate(async (options) => { window.db = await openDb(options); }, options);
const AUTO = { sync: { auto: true } };

test('a full disk refuses writes with a code, reads go on, and once there is room everything drains by itself', async (t) => {
  const { tab, origin, proxy, server, ledger } = await start(t);
  proxy.isDown = true;
  // Before the database is opened: for half a minute Chromium does not ask again how much room an open one has.
  const session = await tab.context().newCDPSession(tab);
  await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 400_000 });
  await open(tab, AUTO);
  await tab.evaluate(() => write('create', 'before'));
  const full = await tab.evaluate(async () => {
    // Chromium counts what is left of a value after it compressed it.
    const below = randomFrom(1);
    window.big = Array.from({ length: 900_000 }, () => String.fromCharCode(33 + below(90))).join('');
    return {
      codes: [await codeOf(write('create', 'refused', { title: big })), ...(await Promise.all([codeOf(write('update', 'before', { title: big })), codeOf(db.create('story', { title: big }))]))],
      found: (await db.find('story')).map(({ id, title }) => [id, title]),
      state: db.status.state,
    };
  });
  assert.deepEqual(full, { codes: ['QUOTA_EXCEEDED', 'QUOTA_EXCEEDED', 'QUOTA_EXCEEDED'], found: [['before', 'A story']], state: 'storage-failed' });
  await session.send('Storage.overrideQuotaForOrigin', { origin });
  proxy.isDown = false;
  await until(() => tab.evaluate(() => db.status.pending === 0), 'it drains by itself');
  await tab.evaluate(() => write('create', 'after'));
  await ledger.settle(tab);
  assert.deepEqual([...(await server.records()).keys()].sort(), ['after', 'before']);
});

for (const times of [1, 3, 10]) {
  test(`a connection that is dead ${times} times in a row while it syncs costs no write that resolved`, async (t) => {
    const { tab, ledger } = await start(t, AUTO);
    const codes = await tab.evaluate(async (times) => {
      await write('create', 'before');
      const { transaction } = IDBDatabase.prototype;
      let left = times;
      IDBDatabase.prototype.transaction = function (...args) {
        if (left-- > 0) throw new DOMException('The database connection is closing.', 'InvalidStateError');
        return transaction.apply(this, args);
      };
      const codes = [];
      for (let at = 0; left > 0 || at < 2; at++) codes.push(await codeOf(write('create', `s${at}`)));
      // After many failures in a row IndexedDB is left alone for a while.
      await until(async () => { codes.push(await codeOf(write('create', 'last'))); return codes.at(-1) === 'none'; }, 'writes work again');
      return codes;
    }, times);
    assert.deepEqual(codes.filter((code) => code !== 'none' && code !== 'STORAGE_FAILED'), []);
    assert.equal(codes.at(-1), 'none');
    if (times === 1) assert.deepEqual([...new Set(codes)], ['none'], 'one dead connection goes unnoticed');
    await ledger.settle(tab);
    const sequences = (await ledger.report(tab)).resolved;
    assert.equal(sequences, 1 + codes.filter((code) => code === 'none').length);
  });
}

test('an open that is never answered fails with a code, and the next one works', async (t) => {
  const { tab, ledger } = await start(t);
  const codes = await tab.evaluate(async () => {
    const { open } = IDBFactory.prototype;
    // The driver waits ten seconds for an answer: here they are over at once.
    const { setTimeout } = window;
    window.setTimeout = (task, ms, ...args) => setTimeout(task, ms === 10_000 ? 0 : ms, ...args);
    IDBFactory.prototype.open = () => new EventTarget();
    const silent = await codeOf(openDb());
    IDBFactory.prototype.open = open;
    window.setTimeout = setTimeout;
    window.db = await openDb();
    return [silent, await codeOf(write('create', 'a'))];
  });
  assert.deepEqual(codes, ['STORAGE_FAILED', 'none']);
  await ledger.settle(tab);
});

test('an open that is never answered after the connection died fails the write with a code, and no sequence is used twice', async (t) => {
  const { tab, proxy, ledger } = await start(t, {});
  const codes = await tab.evaluate(async () => {
    let connection;
    const stop = watchTransactions((transaction) => { connection = transaction.db; });
    await write('create', 'before');
    stop();
    const { open } = IDBFactory.prototype;
    const { setTimeout } = window;
    window.setTimeout = (task, ms, ...args) => setTimeout(task, ms === 10_000 ? 0 : ms, ...args);
    IDBFactory.prototype.open = () => new EventTarget();
    connection.close();
    const silent = await codeOf(write('create', 'refused'));
    IDBFactory.prototype.open = open;
    window.setTimeout = setTimeout;
    return [silent, await codeOf(write('create', 'after'))];
  });
  assert.deepEqual(codes, ['STORAGE_FAILED', 'none']);
  await ledger.settle(tab);
  assert.deepEqual(proxy.batches.flat().map(({ recordId, sequence }) => [recordId, sequence]), [['before', 1], ['after', 2]]);
});

test('storage that is cleared while it is open and syncing fails what was under way with a code, and no sequence begins anew', async (t) => {
  const { tab, origin, proxy } = await start(t, AUTO);
  await tab.evaluate(async () => {
    await write('create', 'pushed');
    await until(() => db.status.pending === 0, 'it is pushed');
  });
  proxy.isDown = true;
  await tab.evaluate(() => write('create', 'unpushed'));
  const session = await tab.context().newCDPSession(tab);
  await session.send('Storage.clearDataForOrigin', { origin, storageTypes: 'all' });
  proxy.isDown = false;
  const codes = await tab.evaluate(async () => {
    const losses = [];
    db.on('dataLost', ({ reason, mutations }) => losses.push([reason, mutations.map(({ recordId }) => recordId)]));
    // The sync may find it out before a write does.
    const code = await codeOf(db.create('story', { id: 'b', title: 'Refused, or the first' }));
    await until(() => losses.length > 0, 'the loss');
    await write('create', 'new');
    await db.sync();
    return { code, losses, found: (await db.find('story')).map(({ id }) => id).filter((id) => id !== 'b').sort() };
  });
  assert.ok(['DATABASE_LOST', 'none'].includes(codes.code), codes.code);
  assert.deepEqual(codes.losses, [['cleared', ['unpushed']]]);
  assert.deepEqual(codes.found, ['new', 'pushed']);
  const sent = proxy.batches.flat();
  const places = new Set(sent.map(({ clientId, sequence }) => `${clientId} ${sequence}`));
  assert.equal(places.size, new Set(sent.map(({ id }) => id)).size, 'no sequence of a client is given twice');
  assert.equal(sent.find(({ recordId }) => recordId === 'new').sequence, codes.code === 'none' ? 2 : 1);
  assert.equal(new Set(sent.map(({ clientId }) => clientId)).size, 2, 'a new client');
});

test('an upgrade by a newer version in another tab is not held up, and this one says so with a code', async (t) => {
  const { tab, openTab } = await start(t, {});
  await tab.evaluate(() => write('create', 'a'));
  const newer = await openTab();
  const upgraded = await newer.evaluate(async () => {
    const [{ version }] = await indexedDB.databases();
    const request = indexedDB.open('test', version + 1);
    request.onupgradeneeded = () => {};
    await new Promise((resolve, reject) => Object.assign(request, { onsuccess: resolve, onerror: reject, onblocked: () => reject(new Error('blocked')) }));
    const { result } = request;
    result.close();
    return { version: result.version, stores: [...result.objectStoreNames] };
  });
  assert.ok(upgraded.version > 1 && upgraded.stores.includes('log'));
  assert.equal(await tab.evaluate(() => codeOf(write('create', 'b'))), 'STORAGE_OUTDATED');
  assert.deepEqual(await tab.evaluate(async () => (await db.find('story')).map(({ id }) => id)), ['a'], 'reads go on');
  assert.equal(await tab.evaluate(async () => (await indexedDB.databases())[0].version), upgraded.version, 'nothing is put back');
});

test('an open that another tab blocks has a code or ends well once it lets go', async (t) => {
  const { tab, openTab } = await start(t);
  const holder = await openTab();
  // A page that does not close when it is told to, and a deletion that waits for it: every later open waits as well.
  await holder.evaluate(async () => {
    const request = indexedDB.open('test', 1);
    await new Promise((resolve) => { request.onsuccess = resolve; });
    window.held = request.result;
    const deletion = indexedDB.deleteDatabase('test');
    await new Promise((resolve) => { deletion.onblocked = resolve; });
  });
  await tab.evaluate(() => { window.opening = openDb(); });
  await holder.evaluate(() => held.close());
  await tab.evaluate(async () => {
    window.db = await opening;
    await write('create', 'a');
  });
  assert.equal(await tab.evaluate(() => db.count('story')), 1);
});

test('a destroy that a foreign connection blocks says so with a code, and works once it lets go', async (t) => {
  const { tab } = await start(t, {});
  const codes = await tab.evaluate(async () => {
    const [{ version }] = await indexedDB.databases();
    const request = indexedDB.open('test', version);
    await new Promise((resolve) => { request.onsuccess = resolve; });
    const { setTimeout } = window;
    window.setTimeout = (task, ms, ...args) => setTimeout(task, ms === 10_000 ? 0 : ms, ...args);
    const blocked = await codeOf(db.destroy());
    window.setTimeout = setTimeout;
    request.result.close();
    window.db = await openDb();
    return [blocked, await codeOf(db.destroy()), (await indexedDB.databases()).length];
  });
  assert.deepEqual(codes, ['STORAGE_BLOCKED', 'none', 0]);
});

test('two copies of one profile lose nothing of either, and what both had before is there once', async (t) => {
  const { proxy, server, ledger, openBrowser, copyProfile } = await world(t);
  const openIn = async (name) => {
    const browser = await openBrowser(name);
    const tab = await browser.openTab();
    await ledger.watch(tab);
    await open(tab);
    return { browser, tab };
  };
  proxy.isDown = true;
  const { browser, tab } = await openIn('one');
  await tab.evaluate(async () => {
    await write('create', 'before');
    await write('update', 'before', { points: 1 });
    await db.close();
  });
  await browser.close();
  copyProfile('one', 'two');
  proxy.isDown = false;
  const tabs = [(await openIn('one')).tab, (await openIn('two')).tab];
  for (const [at, copy] of tabs.entries()) {
    await copy.evaluate(async (at) => {
      await write('create', `own-${at}`);
      await db.sync();
      await write('create', `later-${at}`);
    }, at);
  }
  for (const copy of [...tabs, ...tabs]) await copy.evaluate(() => db.sync());
  for (const copy of tabs) await ledger.settle(copy);
  assert.deepEqual([...(await server.records()).keys()].sort(), ['before', 'later-0', 'later-1', 'own-0', 'own-1']);
});
