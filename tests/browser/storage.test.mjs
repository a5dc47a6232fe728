// What IndexedDB does to writes: how many transactions they cost, when they are durable, and what is left when it fails.
import assert from 'node:assert/strict';
import { reload, test, until, world } from './harness.mjs';

/**
 * A world with a tab; the database is opened by the test. One that watches what is written syncs first: a tab that begins to lead
 * writes a row of its own, at any time after the database is open.
 */
async function start(t) {
  const all = await world(t);
  return { ...all, tab: await all.openTab() };
}

const upTo = (last) => Array.from({ length: last }, (_, at) => at + 1);
const titles = (tab) => tab.evaluate(async () => (await db.find('story')).map(({ title }) => title));
const sequences = (tab) => tab.evaluate(async () => (await db.pendingMutations()).map(({ sequence }) => sequence));

test('1,000 writes made at once cost at most 3 transactions', async (t) => {
  const { tab } = await start(t);
  const transactions = await tab.evaluate(async () => {
    window.db = await openDb();
    await db.sync();
    let count = 0;
    const stop = watchTransactions((_, mode) => { count += mode === 'readwrite' ? 1 : 0; });
    await Promise.all(stories(1_000).map((story) => db.create('story', story)));
    stop();
    return count;
  });
  assert.ok(transactions >= 1 && transactions <= 3, `${transactions} transactions`);
  await reload(tab);
  await tab.evaluate(async () => { window.db = await openDb(); });
  assert.deepEqual(await sequences(tab), upTo(1_000));
});

test('reads cost no transaction', async (t) => {
  const { tab } = await start(t);
  const count = await tab.evaluate(async () => {
    window.db = await openDb();
    const { id } = await db.create('story', { title: 'A' });
    let count = 0;
    watchTransactions(() => { count++; });
    await Promise.all([db.get('story', id), db.find('story', { where: { title: 'A' } }), db.count('story'), db.pendingMutations(), db.conflicts(), db.rejected()]);
    return count;
  });
  assert.equal(count, 0);
});

test('a write resolves after its transaction is complete, and the transaction is strict', async (t) => {
  const { tab } = await start(t);
  const seen = await tab.evaluate(async () => {
    window.db = await openDb();
    await db.sync();
    const seen = [];
    watchTransactions((transaction, mode) => {
      if (mode === 'readwrite') transaction.addEventListener('complete', () => seen.push(`complete, ${transaction.durability}`));
    });
    const { add } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.add = function (...args) {
      const request = add.apply(this, args);
      request.addEventListener('success', () => seen.push('request succeeded'));
      return request;
    };
    const write = async (name, promise) => (await promise, seen.push(name));
    await write('created', db.create('story', { id: 'a', title: 'A' }));
    await write('updated', db.update('story', 'a', { points: 1 }));
    await write('deleted', db.delete('story', 'a'));
    return seen;
  });
  assert.deepEqual(seen, ['created', 'updated', 'deleted'].flatMap((name) => ['request succeeded', 'complete, strict', name]));
});

test('what is not durable yet is not seen yet', async (t) => {
  const { tab } = await start(t);
  const { atSuccess, after } = await tab.evaluate(async () => {
    window.db = await openDb();
    await db.sync();
    let atSuccess;
    const { add } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.add = function (...args) {
      const request = add.apply(this, args);
      request.addEventListener('success', () => { atSuccess = db.count('story'); });
      return request;
    };
    await db.create('story', { title: 'A' });
    return { atSuccess: await atSuccess, after: await db.count('story') };
  });
  assert.deepEqual([atSuccess, after], [0, 1]);
});

test('a commit that is aborted after its request succeeded is made again', async (t) => {
  const { tab } = await start(t);
  await tab.evaluate(async () => {
    window.db = await openDb();
    await db.sync();
    const { add } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.add = function (...args) {
      IDBObjectStore.prototype.add = add;
      const request = add.apply(this, args);
      request.addEventListener('success', () => this.transaction.abort());
      return request;
    };
    await db.create('story', { title: 'Again' });
    if (IDBObjectStore.prototype.add !== add) throw new Error('no add was seen');
  });
  await reload(tab);
  await tab.evaluate(async () => { window.db = await openDb(); });
  assert.deepEqual([await titles(tab), await sequences(tab)], [['Again'], [1]]);
});

test('a write over quota is refused with its code and leaves nothing, and writes work again once there is room', async (t) => {
  const { tab, proxy } = await start(t);
  const session = await tab.context().newCDPSession(tab);
  await session.send('Storage.overrideQuotaForOrigin', { origin: proxy.origin, quotaSize: 400_000 });
  const full = await tab.evaluate(async () => {
    window.db = await openDb();
    await db.create('story', { title: 'Before' });
    // Chromium compresses values before it counts them.
    const below = randomFrom(1);
    const big = { title: 'Big', notes: Array.from({ length: 900_000 }, () => String.fromCharCode(33 + below(90))).join('') };
    const codes = [await codeOf(db.create('story', big)), ...(await Promise.all([codeOf(db.create('story', big)), codeOf(db.bulkCreate('story', [big, big]))]))];
    return { codes, titles: (await db.find('story')).map(({ title }) => title), state: db.status.state };
  });
  assert.deepEqual(full, { codes: ['QUOTA_EXCEEDED', 'QUOTA_EXCEEDED', 'QUOTA_EXCEEDED'], titles: ['Before'], state: 'storage-failed' });
  await session.send('Storage.overrideQuotaForOrigin', { origin: proxy.origin });
  await tab.evaluate(() => db.create('story', { title: 'After' }));
  assert.notEqual(await tab.evaluate(() => db.status.state), 'storage-failed');
  await reload(tab);
  await tab.evaluate(async () => { window.db = await openDb(); });
  assert.deepEqual([await titles(tab), await sequences(tab)], [['Before', 'After'], [1, 2]]);
});

test('a connection that was closed underneath is opened again', async (t) => {
  const { tab } = await start(t);
  await tab.evaluate(async () => {
    let connection;
    const stop = watchTransactions((transaction) => { connection = transaction.db; });
    window.db = await openDb();
    await db.create('story', { title: 'A' });
    connection.close();
    await db.create('story', { title: 'B' });
    connection.close();
    await Promise.all(['C', 'D'].map((title) => db.create('story', { title })));
    stop();
  });
  assert.deepEqual([await titles(tab), await sequences(tab)], [['A', 'B', 'C', 'D'], [1, 2, 3, 4]]);
});

test('a browser that gives no transaction at first is asked again', async (t) => {
  const { tab } = await start(t);
  await tab.evaluate(async () => {
    window.db = await openDb();
    const { transaction } = IDBDatabase.prototype;
    let failures = 2;
    IDBDatabase.prototype.transaction = function (...args) {
      if (failures-- > 0) throw new DOMException('The database connection is closing.', 'InvalidStateError');
      return transaction.apply(this, args);
    };
    await db.create('story', { title: 'A' });
    if (failures >= 0) throw new Error('no failure was met');
  });
  assert.deepEqual(await titles(tab), ['A']);
});

test('a browser that gives no transaction at all fails the write with its code, and the next one works when it does again', async (t) => {
  const { tab } = await start(t);
  const codes = await tab.evaluate(async () => {
    window.db = await openDb();
    const { transaction } = IDBDatabase.prototype;
    IDBDatabase.prototype.transaction = () => { throw new DOMException('An internal error was encountered.', 'UnknownError'); };
    const codes = [await codeOf(db.create('story', { title: 'A' })), await codeOf(db.create('story', { title: 'B' }))];
    IDBDatabase.prototype.transaction = transaction;
    await db.create('story', { title: 'C' });
    return codes;
  });
  assert.deepEqual(codes, ['STORAGE_FAILED', 'STORAGE_FAILED']);
  assert.deepEqual([await titles(tab), await sequences(tab)], [['C'], [1]]);
});

test('a database that is deleted while it is open is lost with a code, and no empty one takes its place', async (t) => {
  const { tab } = await start(t);
  const { codes, names } = await tab.evaluate(async () => {
    window.db = await openDb();
    await db.create('story', { title: 'A' });
    const request = indexedDB.deleteDatabase('test');
    await new Promise((resolve, reject) => Object.assign(request, { onsuccess: resolve, onerror: reject, onblocked: () => reject(new Error('blocked')) }));
    const codes = [await codeOf(db.create('story', { title: 'B' })), await codeOf(db.create('story', { title: 'C' }))];
    return { codes, names: (await indexedDB.databases()).map(({ name }) => name) };
  });
  assert.deepEqual([codes, names], [['DATABASE_LOST', 'DATABASE_LOST'], []]);
});

test('a database that is not the driver\'s is refused and left alone', async (t) => {
  const { tab } = await start(t);
  const { code, version } = await tab.evaluate(async () => {
    const request = indexedDB.open('test', 7);
    request.onupgradeneeded = () => request.result.createObjectStore('things');
    await new Promise((resolve, reject) => Object.assign(request, { onsuccess: resolve, onerror: reject }));
    request.result.close();
    const code = await codeOf(openDb());
    return { code, version: (await indexedDB.databases())[0].version };
  });
  assert.deepEqual([code, version], ['STORAGE_OUTDATED', 7]);
});

test('a browser that is killed right after a write resolved has it when it comes back, five times over', async (t) => {
  const { openBrowser } = await world(t);
  const browser = await openBrowser();
  for (const round of upTo(5)) {
    const tab = await browser.openTab();
    const known = await tab.evaluate(async () => {
      window.db = await openDb();
      return (await db.find('story')).map(({ points }) => points);
    });
    assert.deepEqual(known, upTo(round - 1));
    await tab.evaluate((points) => db.create('story', { title: 'Durable', points }), round);
    await browser.kill();
    await browser.start();
  }
  const tab = await browser.openTab();
  await tab.evaluate(async () => { window.db = await openDb(); });
  assert.deepEqual(await sequences(tab), upTo(5));
});

test('a browser that is killed in the middle of many writes has all that resolved, and no part of one', async (t) => {
  const { openBrowser } = await world(t);
  const browser = await openBrowser();
  const tab = await browser.openTab();
  const resolved = new Set();
  await tab.exposeFunction('resolved', (id) => resolved.add(id));
  await tab.evaluate(async () => {
    window.db = await openDb();
    for (let writer = 0; writer < 8; writer++) {
      (async () => {
        for (let at = 0; ; at++) {
          const [{ id }, other] = await db.bulkCreate('story', [{ title: 'One' }, { title: 'Two' }]);
          resolved(id);
          resolved(other.id);
        }
      })();
    }
  });
  await until(() => resolved.size > 200, 'writes that resolved');
  await browser.kill();
  await browser.start();
  const after = await browser.openTab();
  const { ids, sequences } = await after.evaluate(async () => {
    window.db = await openDb();
    return { ids: (await db.find('story')).map(({ id }) => id), sequences: (await db.pendingMutations()).map(({ sequence }) => sequence) };
  });
  const there = new Set(ids);
  assert.deepEqual([...resolved].filter((id) => !there.has(id)), []);
  assert.deepEqual(sequences, upTo(ids.length));
  assert.equal(ids.length % 2, 0);
});
