// Objects that go one way only, or no way at all.
import assert from 'node:assert/strict';
import { elsewhere, test, world } from './harness.mjs';

/** A world with a database whose stories have these sync settings, and a story of somebody else on the server. */
async function start(t, sync) {
  const all = await world(t);
  const tab = await all.openTab();
  await tab.evaluate(async (sync) => {
    const [story, task] = objectsWith();
    window.db = await openDb({ objects: [{ ...story, sync: { ...story.sync, ...sync } }, task] });
  }, sync);
  await all.server.post({ ...elsewhere('theirs'), lastCheckpoint: null });
  return { ...all, tab };
}

const idsIn = (tab) => tab.evaluate(async () => (await db.find('story')).map(({ id }) => id).sort());

test('an object that is only pushed goes to the server, and nothing of it comes back', async (t) => {
  const { tab, server, ledger } = await start(t, { direction: 'push-only' });
  await tab.evaluate(async () => {
    await write('create', 'mine');
    await write('create', 'other');
    await db.sync();
    await write('update', 'mine', { points: 1 });
    await write('delete', 'other');
    await db.create('task', { id: 'task', title: 'Both ways' });
    await db.sync();
  });
  assert.deepEqual(await idsIn(tab), ['mine']);
  assert.deepEqual([...(await server.records()).keys()].sort(), ['mine', 'theirs']);
  assert.ok((await server.records('task')).has('task'));
  const { pending, rejected, conflicts } = await ledger.check(tab);
  assert.deepEqual([pending, rejected, conflicts], [[], [], []]);
});

test('an object that is only pulled comes from the server, and takes no writes', async (t) => {
  const { tab, proxy } = await start(t, { direction: 'pull-only' });
  await tab.evaluate(() => db.sync());
  assert.deepEqual(await idsIn(tab), ['theirs']);
  assert.equal(await tab.evaluate(() => codeOf(db.update('story', 'theirs', { points: 1 }))), 'READ_ONLY_OBJECT');
  assert.deepEqual(proxy.batches, []);
});

test('an object that is not enabled stays here, and nothing of it comes in', async (t) => {
  const { tab, proxy } = await start(t, { enabled: false });
  await tab.evaluate(async () => {
    await db.create('story', { id: 'mine', title: 'Private' });
    await db.create('task', { title: 'Shared' });
    await db.sync();
  });
  assert.deepEqual(await idsIn(tab), ['mine']);
  assert.deepEqual(proxy.batches.flat().map(({ objectName }) => objectName), ['task']);
});
