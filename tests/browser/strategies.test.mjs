// What two devices that changed a record at the same time end with, by strategy and in whatever order they sync: the same on both,
// whether the server decides or only detects.
import assert from 'node:assert/strict';
import { test, world } from './harness.mjs';

/** Two devices that know the same story, offline. */
async function start(t, strategy) {
  const all = await world(t, { strategy });
  const devices = [await all.openTab(), await (await all.openDevice()).openTab()];
  for (const tab of devices) await tab.evaluate(async (strategy) => { window.db = await openDb({ objects: objectsWith({ strategy }).slice(0, 1) }); }, strategy);
  await devices[0].evaluate(async () => {
    await db.create('story', { id: 'a', title: 'Both', status: 'open', points: 0 });
    await db.sync();
  });
  await devices[1].evaluate(() => db.sync());
  return { ...all, devices };
}

/** Lets both sync, the given one first, until each has heard of the other; what both then have has to be what the server has. */
async function meet({ devices, server }, first) {
  const order = [devices[first], devices[1 - first]];
  for (const tab of [...order, ...order]) await tab.evaluate(() => db.sync());
  const seen = await Promise.all(devices.map((tab) => tab.evaluate(() => db.get('story', 'a'))));
  const expected = (await server.records()).get('a');
  assert.deepEqual(seen, [expected, expected]);
  for (const tab of devices) assert.equal(await tab.evaluate(() => db.status.pending), 0);
  return expected;
}

const update = (tab, patch) => tab.evaluate((patch) => db.update('story', 'a', patch), patch);

for (const first of [0, 1]) {
  const order = `when the ${first === 0 ? 'earlier' : 'later'} one syncs first`;

  test(`the later of two writes of a field wins under last-write-wins ${order}`, async (t) => {
    const all = await start(t, 'last-write-wins');
    await update(all.devices[0], { title: 'Earlier' });
    await update(all.devices[1], { title: 'Later' });
    assert.equal((await meet(all, first)).title, 'Later');
  });

  test(`each field has its later write under crdt ${order}`, async (t) => {
    const all = await start(t, 'crdt');
    await update(all.devices[0], { title: 'Earlier', points: 1 });
    await update(all.devices[1], { title: 'Later', status: 'done' });
    const { title, points, status } = await meet(all, first);
    assert.deepEqual([title, points, status], ['Later', 1, 'done']);
  });

  for (const strategy of ['last-write-wins', 'crdt']) {
    test(`a delete wins over an update under ${strategy} ${order}`, async (t) => {
      const all = await start(t, strategy);
      const [deleting, updating] = all.devices;
      await deleting.evaluate(() => db.delete('story', 'a'));
      await update(updating, { title: 'Later' });
      assert.equal(await meet(all, first), undefined);
      const lost = await updating.evaluate(async () => [...(await db.rejected()), ...(await db.conflicts())].length);
      assert.equal(lost, first === 0 ? 1 : 0, 'an update that found nothing is shown');
    });
  }

  test(`two creates of the same id are one record under last-write-wins ${order}`, async (t) => {
    const all = await start(t, 'last-write-wins');
    for (const [at, tab] of all.devices.entries()) await tab.evaluate((at) => db.create('story', { id: 'twin', title: `From ${at}` }), at);
    await meet(all, first);
    const twins = await Promise.all(all.devices.map((tab) => tab.evaluate(async () => (await db.get('story', 'twin')).title)));
    assert.deepEqual(twins, ['From 1', 'From 1']);
    assert.equal((await all.server.records()).get('twin').title, 'From 1');
  });
}
