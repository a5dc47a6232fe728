// The back/forward cache: a page that somebody left is frozen with its open database, and shown again as it was.
import assert from 'node:assert/strict';
import { elsewhere, held, test, until, world } from './harness.mjs';

/** A browser that keeps pages, with the database open in one tab that follows the stories. */
async function start(t, { serverArgs, isLockless = false, sync, ...options } = {}) {
  const all = await world(t, { serverArgs });
  all.proxy.files.set('/away', { body: '<!doctype html><title>away</title>' });
  const browser = await all.openBrowser('profile', { keepsPages: true });
  const openTab = async () => {
    const tab = await browser.openTab();
    await all.ledger.watch(tab);
    if (isLockless) await tab.evaluate(() => { delete Navigator.prototype.locks; });
    await tab.evaluate(async (options) => {
      window.db = await openDb(options);
      window.live = [];
      db.liveQuery('story').subscribe(({ rows }) => { live = rows.map(({ id }) => id).sort(); });
    }, { ...options, sync: { auto: true, pollIntervalMs: 0, ...sync } });
    return tab;
  };
  const tab = await openTab();
  await tab.evaluate(() => until(() => db.status.leader && db.status.lastSyncedAt, 'the first sync'));
  return { ...all, openTab, tab, leave: (tab) => tab.goto(`${all.origin}/away`) };
}

/** Goes back to a page; gives whether the browser had kept it, and if not, why. */
async function goBack(tab) {
  // Nothing is loaded where it is shown as it was.
  await tab.goBack({ waitUntil: 'commit' });
  await tab.waitForFunction(() => document.title === 'ready');
  const reasons = () => performance.getEntriesByType('navigation')[0].notRestoredReasons?.reasons.map(({ reason }) => reason);
  return (await tab.evaluate(() => 'db' in window)) ? 'kept' : tab.evaluate(reasons);
}

const follows = (tab, ids) => tab.evaluate((ids) => until(() => live.join() === ids, `${ids}, instead of ${live}`), ids.join());

/** Another tab and another client write while a page is away that wrote 'mine'; it is kept, has all of it, and the two go on. */
async function comesBack(tab, other, { server, ledger }) {
  await other.evaluate(() => write('create', 'others'));
  await ledger.settle(other);
  await server.post({ ...elsewhere('theirs'), lastCheckpoint: null });
  assert.equal(await goBack(tab), 'kept');
  // Whoever leads pulls by itself when it is looked at; the other one has to be asked.
  await tab.evaluate(() => db.sync());
  await follows(tab, ['mine', 'others', 'theirs']);
  await tab.evaluate(() => write('create', 'again'));
  await follows(other, ['again', 'mine', 'others', 'theirs']);
  await ledger.settle(tab);
}

test('a page that is shown again has what it had, what other tabs wrote and what the server had meanwhile', async (t) => {
  const { tab, openTab, leave, proxy, ...rest } = await start(t);
  proxy.isDown = true;
  await tab.evaluate(() => write('create', 'mine'));
  await leave(tab);
  proxy.isDown = false;
  const other = await openTab();
  await other.evaluate(() => until(() => db.status.leader && db.status.pending === 0, 'another one pushes it'));
  await comesBack(tab, other, rest);
  assert.deepEqual(await tab.evaluate(() => [db.status.leader, db.status.pending]), [false, 0]);
});

test('a page with a driver in a shared worker is kept, and that goes on meanwhile', async (t) => {
  const { tab, openTab, leave, ...rest } = await start(t, { worker: 'shared' });
  await tab.evaluate(() => write('create', 'mine'));
  await leave(tab);
  const other = await openTab();
  await comesBack(tab, other, rest);
});

/** Goal: a dedicated worker is frozen with its page before it can let go of anything, so that nothing but being alone keeps the page. */
test('a page with a driver in a dedicated worker is kept as long as no other one opens the database, and loses nothing otherwise', async (t) => {
  const { tab, openTab, leave, server, proxy, ledger } = await start(t, { worker: 'dedicated' });
  await leave(tab);
  await server.post({ ...elsewhere('theirs'), lastCheckpoint: null });
  assert.equal(await goBack(tab), 'kept');
  // It had synced less than two seconds ago, and need not by itself.
  await tab.evaluate(() => db.sync());
  await follows(tab, ['theirs']);
  proxy.isDown = true;
  await tab.evaluate(() => write('create', 'mine'));
  await leave(tab);
  proxy.isDown = false;
  const other = await openTab();
  await other.evaluate(() => until(() => db.status.leader && db.status.lastSyncedAt && db.status.pending === 0, 'another one pushes it'));
  assert.deepEqual(await goBack(tab), ['weblocks-contention']);
  await ledger.settle(other);
});

test('a page that is shown again syncs and rings by itself when no other one does', async (t) => {
  const { tab, leave, server, ledger } = await start(t, { serverArgs: ['--realtime'], sync: { realtime: true } });
  const rings = () => tab.evaluate(() => until(() => db.status.leader && db.status.realtime, 'the socket'));
  await rings();
  await leave(tab);
  await server.post({ ...elsewhere('first'), lastCheckpoint: null });
  assert.equal(await goBack(tab), 'kept');
  await follows(tab, ['first']);
  await rings();
  await server.post({ ...elsewhere('second'), lastCheckpoint: null });
  await follows(tab, ['first', 'second']);
  await tab.evaluate(() => write('create', 'mine'));
  await ledger.settle(tab);
});

test('a page that is left with a request under way lets another one end the job, once', async (t) => {
  const { tab, openTab, leave, proxy, server, ledger } = await start(t);
  const { fault, answered, release } = held();
  proxy.faults.push(fault);
  await tab.evaluate(() => write('create', 'sent'));
  await answered;
  await leave(tab);
  const other = await openTab();
  await other.evaluate(() => until(() => db.status.leader && db.status.pending === 0, 'another one pushes it'));
  release();
  assert.equal(await goBack(tab), 'kept');
  assert.ok((await server.records()).has('sent'));
  await ledger.settle(tab);
});

test('where there are no Web Locks, too, a page that is shown again gives way to the one that leads by then', async (t) => {
  const { tab, openTab, leave, proxy, ledger } = await start(t, { isLockless: true });
  proxy.isDown = true;
  await tab.evaluate(() => write('create', 'mine'));
  const other = await openTab();
  await leave(tab);
  proxy.isDown = false;
  await other.evaluate(() => until(() => db.status.leader && db.status.pending === 0, 'another one pushes it'));
  assert.equal(await goBack(tab), 'kept');
  await tab.evaluate(() => write('create', 'again'));
  await ledger.settle(tab);
  assert.deepEqual(await Promise.all([tab, other].map((tab) => tab.evaluate(() => db.status.leader))), [false, true]);
});

test('a page that is left while it writes loses nothing that was promised', async (t) => {
  const { tab, openTab, leave, ledger } = await start(t);
  for (const round of [1, 2, 3]) {
    await tab.evaluate((round) => { void burst(`round${round}`, 10); }, round);
    await until(() => ledger.size > 0, 'a write resolved');
    await leave(tab);
    if (round === 2) {
      const other = await openTab();
      await other.evaluate(() => write('create', 'between'));
      await other.close();
    }
    // Thrown away, it is as after a reload.
    if ((await goBack(tab)) !== 'kept') await tab.evaluate(async () => { window.db = await openDb({ sync: { auto: true } }); });
  }
  await ledger.settle(tab);
});

test('a page that is left in the middle of a transaction commits it when it is shown again, or is told of the conflict', async (t) => {
  const { tab, openTab, leave, ledger } = await start(t);
  await tab.evaluate(async () => {
    await write('create', 'a', { points: 1 });
    window.later = [];
    const add = (id) => codeOf(db.transaction(async (tx) => {
      const { points } = await tx.get('story', 'a');
      await new Promise((resolve) => later.push(resolve));
      await tx.create('story', { id, title: 'Sum', points: points + 1 });
    }));
    window.first = add('first');
    await until(() => later.length === 1, 'the transaction');
  });
  await leave(tab);
  assert.equal(await goBack(tab), 'kept');
  assert.equal(await tab.evaluate(async () => (later.pop()(), first)), 'none');
  await tab.evaluate(async () => {
    window.second = codeOf(db.transaction(async (tx) => {
      const { points } = await tx.get('story', 'a');
      await new Promise((resolve) => later.push(resolve));
      await tx.update('story', 'a', { points: points + 1 });
    }, { retries: 0 }));
    await until(() => later.length === 1, 'the transaction');
  });
  await leave(tab);
  const other = await openTab();
  await other.evaluate(() => write('update', 'a', { points: 10 }));
  assert.equal(await goBack(tab), 'kept');
  await tab.evaluate(() => until(async () => (await db.get('story', 'a')).points === 10, 'what the other one wrote'));
  assert.equal(await tab.evaluate(async () => (later.pop()(), second)), 'TRANSACTION_CONFLICT');
  assert.equal(await tab.evaluate(async () => (await db.get('story', 'a')).points), 10);
  await ledger.settle(tab);
});

test('a page is not kept when its database was deleted meanwhile: nothing of it is shown again', async (t) => {
  const { tab, openTab, leave } = await start(t);
  await tab.evaluate(() => db.create('story', { title: 'Private' }));
  await leave(tab);
  const other = await openTab();
  await other.evaluate(() => db.destroy());
  assert.notEqual(await goBack(tab), 'kept');
});
