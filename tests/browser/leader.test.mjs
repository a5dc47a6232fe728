// The tab that syncs crashes, or is frozen and wakes again: another one takes over in time, and nothing is applied twice.
import assert from 'node:assert/strict';
import { crash, held, test, until, world } from './harness.mjs';

/** How soon another tab has to push after the leader crashed, and after it froze. */
const AFTER_CRASH_MS = 5_000;
const AFTER_FREEZE_MS = 30_000;

/** A browser with the database open in two tabs, each with a process of its own; the one that syncs comes first, and has synced. */
async function start(t) {
  const all = await world(t);
  const browser = await all.openBrowser();
  const tabs = [];
  for (const _ of [1, 2]) {
    const tab = await browser.openTab();
    await all.ledger.watch(tab);
    await tab.evaluate(async () => { window.db = await openDb({ sync: { auto: true } }); });
    // A fault that a test sets is for its own request, not for the first pull.
    if (tabs.length === 0) await tab.evaluate(() => until(() => db.status.leader && db.status.lastSyncedAt, 'the first sync'));
    tabs.push(tab);
  }
  const [leader, follower] = tabs;
  assert.deepEqual(await Promise.all(tabs.map((tab) => tab.evaluate(() => db.status.leader))), [true, false]);
  const pids = [await browser.processOf(leader), await browser.processOf(follower)];
  assert.notEqual(pids[0], pids[1], 'each tab has a process of its own');
  return { ...all, browser, leader, follower, leaderPid: pids[0] };
}

const hasArrived = (server, id) => async () => (await server.records()).has(id);

test('when the tab that syncs crashes, another one pushes within 5 seconds, what the crashed one left too', async (t) => {
  const { proxy, server, ledger, leader, follower } = await start(t);
  proxy.isDown = true;
  await leader.evaluate(() => write('create', 'left'));
  await until(() => follower.evaluate(() => db.get('story', 'left')), 'the other tab sees it');
  proxy.isDown = false;
  await crash(leader);
  await follower.evaluate(() => write('create', 'own'));
  await until(async () => (await hasArrived(server, 'left')()) && hasArrived(server, 'own')(), 'both are pushed', AFTER_CRASH_MS);
  await ledger.settle(follower);
});

test('when the tab that syncs crashes with a request under way, another one ends the job, once', async (t) => {
  const { proxy, server, ledger, leader, follower } = await start(t);
  const { fault, answered, release } = held();
  proxy.faults.push(fault);
  await leader.evaluate(() => write('create', 'sent'));
  await answered;
  await crash(leader);
  await follower.evaluate(() => write('create', 'own'));
  await until(hasArrived(server, 'own'), 'the other tab pushes', AFTER_CRASH_MS);
  release();
  await ledger.settle(follower);
});

test('when the tab that syncs is frozen, another one pushes within 30 seconds, and the frozen one does no harm when it wakes', async (t) => {
  const { proxy, server, ledger, leader, follower, leaderPid } = await start(t);
  const { fault, answered, release } = held();
  proxy.faults.push(fault);
  await leader.evaluate(() => write('create', 'sent'));
  await answered;
  process.kill(leaderPid, 'SIGSTOP');
  try {
    await follower.evaluate(() => write('create', 'own'));
    await follower.evaluate(() => write('update', 'sent', { points: 1 }));
    await until(hasArrived(server, 'own'), 'the other tab pushes', AFTER_FREEZE_MS);
    assert.ok(await follower.evaluate(() => db.status.leader));
  } finally {
    process.kill(leaderPid, 'SIGCONT');
  }
  release();
  await leader.evaluate(() => until(() => !db.status.leader, 'it knows that it does not lead any more'));
  await leader.evaluate(() => write('create', 'awake'));
  await ledger.settle(follower);
  await ledger.settle(leader);
});
