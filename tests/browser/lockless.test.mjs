// Where a browser has no Web Locks, as in a page that is not served securely, the tabs elect the one that syncs.
import assert from 'node:assert/strict';
import { reload, test, until, world } from './harness.mjs';

/** How soon another tab leads after the leader was closed, and after it crashed or froze. */
const AFTER_CLOSE_MS = 5_000;
const AFTER_CRASH_MS = 30_000;

/** A tab without them from before its page's first script, with the database open. */
async function open(tab, { withoutChannel = false } = {}) {
  await tab.addInitScript((withoutChannel) => {
    delete Navigator.prototype.locks;
    if (withoutChannel) delete window.BroadcastChannel;
  }, withoutChannel);
  await reload(tab);
  await tab.evaluate(async () => { window.db = await openDb({ sync: { auto: true } }); });
  assert.deepEqual(await tab.evaluate(() => [navigator.locks, typeof BroadcastChannel]), [undefined, withoutChannel ? 'undefined' : 'function']);
  return tab;
}

const leadersOf = async (tabs) => {
  const leads = await Promise.all(tabs.map((tab) => tab.evaluate(() => db.status.leader)));
  return tabs.filter((_, at) => leads[at]);
};

/** The one tab of these that leads. */
const leaderOf = (tabs, timeoutMs) => until(async () => {
  const leaders = await leadersOf(tabs);
  return leaders.length === 1 && leaders[0];
}, 'one leader', timeoutMs);

/** Three tabs, opened at once. */
async function start(t) {
  const all = await world(t);
  const tabs = await Promise.all([1, 2, 3].map(async () => open(await all.openTab())));
  return { ...all, tabs, leader: await leaderOf(tabs, AFTER_CLOSE_MS) };
}

/** Whether each mutation was in one request only. */
function assertSentOnce({ batches }) {
  const ids = batches.flat().map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length, 'a mutation was sent twice');
}

test('of three tabs one syncs, what all of them write, and nothing is sent twice', async (t) => {
  const { tabs, ledger, proxy } = await start(t);
  const write = (tab, at) => tab.evaluate(async (name) => {
    for (let number = 0; number < 20; number++) await write('create', `${name}-${number}`);
  }, `tab${at}`);
  await Promise.all(tabs.map(write));
  for (const tab of tabs) await ledger.settle(tab);
  assertSentOnce(proxy);
  assert.equal((await leadersOf(tabs)).length, 1);
});

test('sync() in a tab that does not lead pushes what it wrote', async (t) => {
  const { tabs, leader, proxy } = await start(t);
  const follower = tabs.find((tab) => tab !== leader);
  assert.equal(await follower.evaluate(async () => (await db.create('story', { title: 'A' }), (await db.sync(), db.status.pending))), 0);
  assertSentOnce(proxy);
});

test('when the tab that leads is closed, another one leads at once, and one again after that', async (t) => {
  const { tabs, leader, ledger } = await start(t);
  // It may be on its way when the tab is closed: then it is sent again as it was, and is in effect once all the same.
  await leader.evaluate(() => write('create', 'left'));
  await leader.close();
  const rest = tabs.filter((tab) => tab !== leader);
  const second = await leaderOf(rest, AFTER_CLOSE_MS);
  await second.evaluate(() => db.close());
  const [last] = rest.filter((tab) => tab !== second);
  await leaderOf([last], AFTER_CLOSE_MS);
  await last.evaluate(() => write('create', 'own'));
  await ledger.settle(last);
});

test('when the tab that leads is loaded anew, one of them leads', async (t) => {
  const { tabs, leader } = await start(t);
  await reload(leader);
  await leader.evaluate(async () => { window.db = await openDb({ sync: { auto: true } }); });
  await leaderOf(tabs, AFTER_CLOSE_MS);
});

/** Two tabs of a browser that only this test has, each with a process of its own. */
async function startProcesses(t) {
  const all = await world(t);
  const browser = await all.openBrowser();
  const tabs = [];
  for (const _ of [1, 2]) {
    const tab = await browser.openTab();
    await all.ledger.watch(tab);
    tabs.push(await open(tab));
  }
  const leader = await leaderOf(tabs, AFTER_CLOSE_MS);
  const [follower] = tabs.filter((tab) => tab !== leader);
  return { ...all, leader, follower, tabs, leaderPid: await browser.processOf(leader) };
}

test('when the process of the tab that leads is killed, another one pushes what it left', async (t) => {
  const { ledger, proxy, leader, follower, leaderPid } = await startProcesses(t);
  proxy.isDown = true;
  await leader.evaluate(() => write('create', 'left'));
  process.kill(leaderPid, 'SIGKILL');
  proxy.isDown = false;
  await follower.evaluate(() => write('create', 'own'));
  await leaderOf([follower], AFTER_CRASH_MS);
  await ledger.settle(follower);
});

test('when the tab that leads is frozen, another one leads, and the frozen one gives way when it wakes', async (t) => {
  const { ledger, leader, follower, tabs, leaderPid } = await startProcesses(t);
  process.kill(leaderPid, 'SIGSTOP');
  try {
    await follower.evaluate(() => write('create', 'own'));
    await leaderOf([follower], AFTER_CRASH_MS);
  } finally {
    process.kill(leaderPid, 'SIGCONT');
  }
  await leader.evaluate(() => until(() => !db.status.leader, 'it gives way'));
  await leader.evaluate(() => write('create', 'awake'));
  await ledger.settle(follower);
  assert.deepEqual(await leadersOf(tabs), [follower]);
});

test('without BroadcastChannel as well every tab syncs, and what they write is applied once', async (t) => {
  const { openTab, ledger } = await world(t);
  const tabs = [];
  for (const _ of [1, 2]) tabs.push(await open(await openTab(), { withoutChannel: true }));
  assert.deepEqual(await leadersOf(tabs), tabs);
  await Promise.all(tabs.map((tab, at) => tab.evaluate((name) => burst(name, 3), `tab${at}`)));
  for (const tab of tabs) await ledger.settle(tab);
});
