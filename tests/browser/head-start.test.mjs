// A database that is there is opened, and its beginning read, while the wasm is loaded.
import assert from 'node:assert/strict';
import { test, until, world } from './harness.mjs';

const WASM = '/pkg/wasm/objectql_offline_bg.wasm';

/** A tab that has the database, another one that begins to open it and has no wasm yet, and what gives it that. */
async function start(t) {
  const { openTab, proxy } = await world(t);
  const [one, other] = [await openTab(), await openTab()];
  await one.evaluate(async () => {
    window.db = await openDb();
    // So few rows that all of them are read at once.
    await db.create('story', { id: 'a', title: 'First' });
  });
  let release;
  proxy.beforeWasm = new Promise((resolve) => { release = resolve; });
  t.after(release);
  await other.evaluate(() => {
    const { transaction } = IDBDatabase.prototype;
    window.reads = 0;
    IDBDatabase.prototype.transaction = function (...args) {
      const made = transaction.apply(this, args);
      made.addEventListener('complete', () => { window.reads++; });
      return made;
    };
    const { close } = IDBDatabase.prototype;
    window.closes = 0;
    IDBDatabase.prototype.close = function () { window.closes++; close.call(this); };
    window.opening = openDb();
    opening.catch(() => undefined);
  });
  await until(() => other.evaluate(() => window.reads === 1), 'the beginning is read');
  return { one, other, proxy, release };
}

test('what other tabs write between the reading of the beginning and the start of the driver is seen without a further word', async (t) => {
  const { one, other, release } = await start(t);
  await one.evaluate(async () => {
    await db.create('story', { id: 'b', title: 'Second' });
    await db.update('story', 'a', { title: 'Changed' });
    // It stays and leads, and says nothing any more, not even that it folds what it wrote.
    BroadcastChannel.prototype.postMessage = () => undefined;
  });
  release();
  const found = () => other.evaluate(async () => {
    window.db ??= await opening;
    return (await db.find('story', { orderBy: [{ field: 'id' }] })).map(({ id, title }) => `${id} ${title}`);
  });
  await until(async () => String(await found()) === 'a Changed,b Second', 'it is there');
  assert.deepEqual(await other.evaluate(async () => (await db.create('story', { id: 'c' })).id), 'c');
});

test('a beginning of before a compaction is no beginning any more', async (t) => {
  const { one, other, release } = await start(t);
  const ids = await one.evaluate(async () => {
    const rows = await countRows();
    for (let at = 0; at < 40; at++) await db.bulkCreate('story', Array.from({ length: 50 }, (_, n) => ({ id: `${at}-${n}`, title: 'x'.repeat(1_000) })));
    // Folded, with all its rows gone but for the last.
    while ((await countRows()) > rows) await new Promise((resolve) => { setTimeout(resolve, 50); });
    return (await db.find('story')).map(({ id }) => id).sort();
  });
  assert.equal(ids.length, 2_001);
  release();
  await other.evaluate(async () => { window.db = await opening; });
  await until(async () => String(await other.evaluate(async () => (await db.find('story')).map(({ id }) => id).sort())) === String(ids), 'all is there');
});

test('another tab can delete the database meanwhile, and it is opened as a new one', async (t) => {
  const { one, other, release } = await start(t);
  await one.evaluate(() => db.destroy());
  release();
  assert.deepEqual(await other.evaluate(async () => (await opening).find('story')), []);
});

test('where the wasm cannot be loaded, no connection stays', async (t) => {
  const { other, proxy, release } = await start(t);
  proxy.files.set(WASM, { body: 'no wasm' });
  release();
  assert.equal(await other.evaluate(() => codeOf(opening)), 'WASM_FAILED');
  await until(() => other.evaluate(() => window.closes === 1), 'it is closed');
});

test('with a wrong definition no database is made, also where there was one', async (t) => {
  const { openTab } = await world(t);
  const [one, other] = [await openTab(), await openTab()];
  await one.evaluate(async () => { await (await openDb()).close(); });
  const [code, databases] = await other.evaluate(async () => {
    await (await openDb()).destroy();
    return [await codeOf(openDb({ objects: [{ name: '1' }] })), (await indexedDB.databases()).map(({ name }) => name)];
  });
  assert.equal(code, 'INVALID_NAME');
  assert.deepEqual(databases, []);
});
