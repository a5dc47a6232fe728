// A server that does not know our checkpoint any more, or lost its data: the client takes a fresh copy, and what is pending stays.
import assert from 'node:assert/strict';
import { elsewhere, reload, test, world } from './harness.mjs';

/** A world with two synced stories and three pending writes. */
async function start(t) {
  const all = await world(t);
  const tab = await all.openTab();
  await tab.evaluate(async () => {
    window.db = await openDb();
    await write('create', 'kept');
    await write('create', 'gone');
    await db.sync();
    await write('update', 'kept', { points: 1 });
    await write('delete', 'gone');
    await write('create', 'new');
  });
  return { ...all, tab };
}

const unknown = () => ({
  status: 410,
  headers: { 'content-type': 'application/problem+json' },
  body: JSON.stringify({ type: 'about:blank', title: 'Gone', status: 410, code: 'CHECKPOINT_UNKNOWN' }),
});

test('a checkpoint that is refused leads to a fresh copy with what is pending on top, and all of it is pushed', async (t) => {
  const { tab, proxy, server, ledger } = await start(t);
  await server.post({ ...elsewhere('theirs'), lastCheckpoint: null });
  proxy.rule = ({ lastCheckpoint }, forward) => (lastCheckpoint === null ? ((proxy.rule = (_, forward) => forward()), forward()) : unknown());
  await tab.evaluate(() => db.sync());
  const { pending, rejected, conflicts } = await ledger.settle(tab);
  assert.deepEqual([pending, rejected, conflicts], [[], [], []]);
  assert.deepEqual([...(await server.records()).keys()].sort(), ['kept', 'new', 'theirs']);
});

test('a fresh copy that is interrupted by a reload is taken all the same, and nothing pending is lost', async (t) => {
  const { tab, proxy, ledger } = await start(t);
  const before = await tab.evaluate(() => db.find('story'));
  let resets = 0;
  proxy.rule = ({ lastCheckpoint }) => (lastCheckpoint === null ? void resets++ : unknown());
  assert.notEqual(await tab.evaluate(() => codeOf(db.sync())), 'none');
  assert.ok(resets > 0, 'a copy was asked for');
  await reload(tab);
  const after = await tab.evaluate(async () => (window.db = await openDb(), db.find('story')));
  assert.deepEqual(after, before, 'until then the old data are shown');
  proxy.rule = (_, forward) => forward();
  await ledger.settle(tab);
});

test('a server that lost its data gets what is pending, and its state is taken for what is left', async (t) => {
  const { tab, server } = await start(t);
  await server.loseData();
  await tab.evaluate(() => codeOf(db.sync()));
  await tab.evaluate(async () => {
    await until(async () => (await codeOf(db.sync())) === 'none' && db.status.pending === db.status.conflicts, 'drained');
  });
  const records = await server.records();
  assert.ok(records.has('new'), 'the create arrives');
  const open = await tab.evaluate(async () => [...(await db.conflicts()), ...(await db.rejected())].map(({ recordId }) => recordId));
  assert.ok(records.has('kept') || open.includes('kept'), 'the update of what is not there is shown or made again');
  assert.deepEqual((await tab.evaluate(() => db.find('story'))).filter(({ id }) => !open.includes(id)), [...records.values()]);
});
