// The worked examples of docs/strategies.md: what both see in the end, and what each was told. Goal: the tables there are true, of
// a server that settles and of one that only detects.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isPlain, test, world } from './harness.mjs';
import { newFolder, removeFolder } from './parts.mjs';

const NOBODY = { superseded: [], rejected: [], conflicts: [] };

/** Ada and Bob, who both know the story `s1` and are offline. */
async function start(t, sync) {
  const folder = newFolder();
  t.after(() => removeFolder(folder));
  const fields = { title: { type: 'text' }, status: { type: 'text' }, points: { type: 'number' } };
  writeFileSync(join(folder, 'story.object.yml'), JSON.stringify({ name: 'story', fields, sync: { enabled: true, ...sync } }));
  const { server, openTab, openDevice } = await world(t, { objects: folder });
  const [ada, bob] = [await openTab(), await (await openDevice()).openTab()];
  for (const tab of [ada, bob]) {
    await tab.evaluate(async (sync) => {
      window.db = await openDb({ objects: objectsWith(sync).slice(0, 1) });
      window.told = { superseded: [], rejected: [], conflicts: [] };
      db.on('superseded', ({ lost }) => told.superseded.push(lost));
      db.on('rejected', ({ reason }) => told.rejected.push(reason.split(':')[0]));
      db.on('conflict', ({ conflictingFields }) => told.conflicts.push(conflictingFields));
    }, sync);
  }
  await ada.evaluate(async () => {
    await db.create('story', { id: 's1', title: 'Ship it', points: 3, status: 'open' });
    await db.sync();
  });
  await bob.evaluate(() => db.sync());
  return { server, ada, bob };
}

/** Lets Ada write, then Bob, then both sync in the order given; what both see then, and what each was told. */
async function meet({ server, ada, bob }, first, adas, bobs, id = 's1') {
  await ada.evaluate(adas);
  // Bob is the later one.
  await bob.waitForFunction((time) => Date.now() > time, await ada.evaluate(() => Date.now()));
  await bob.evaluate(bobs);
  const order = first === 'Ada' ? [ada, bob] : [bob, ada];
  for (const tab of [...order, ...order]) await tab.evaluate(() => db.sync());
  const plain = (record) => record && Object.fromEntries(['title', 'points', 'status'].filter((name) => name in record).map((name) => [name, record[name]]));
  const seen = await Promise.all([ada, bob].map((tab) => tab.evaluate((id) => db.get('story', id), id)));
  const [ofAda, ofBob] = await Promise.all([ada, bob].map((tab) => tab.evaluate(() => told)));
  return { there: plain((await server.records()).get(id)), seen: seen.map(plain), ada: ofAda, bob: ofBob };
}

/** Checks that all have the same, and what they were told. */
function assertAgreed({ there, seen, ada, bob }, expected, told = {}) {
  assert.deepEqual({ there, seen, ada, bob }, { there: expected, seen: [expected, expected], ada: { ...NOBODY, ...told.ada }, bob: { ...NOBODY, ...told.bob } });
}

const adas = () => db.update('story', 's1', { title: 'Ship it now', points: 5 });
const bobs = () => db.update('story', 's1', { title: 'Ship it today' });
const both = { title: 'Ship it today', points: 5, status: 'open' };

for (const first of ['Ada', 'Bob']) {
  test(`without an overlap both changes stay and nobody is asked when ${first} syncs first`, async (t) => {
    const met = await meet(await start(t, { strategy: 'manual' }), first, () => db.update('story', 's1', { points: 5 }), bobs);
    assertAgreed(met, both);
  });

  test(`the later mutation wins as a whole under last-write-wins when ${first} syncs first`, async (t) => {
    const met = await meet(await start(t, {}), first, adas, bobs);
    if (first === 'Ada') assertAgreed(met, both);
    else assertAgreed(met, { ...both, points: 3 }, { ada: { superseded: [{ title: 'Ship it now', points: 5 }] } });
  });

  test(`each field goes to the later one under crdt when ${first} syncs first`, async (t) => {
    const met = await meet(await start(t, { strategy: 'crdt' }), first, adas, bobs);
    assertAgreed(met, both, first === 'Ada' ? {} : { ada: { superseded: [{ title: 'Ship it now' }] } });
  });

  for (const sync of [{ conflict_fields: ['title'] }, { strategy: 'manual' }]) {
    test(`whoever comes second is asked with ${Object.keys(sync)[0]} when ${first} syncs first`, async (t) => {
      const met = await meet(await start(t, sync), first, adas, bobs);
      const [mine, theirs] = [{ title: 'Ship it now', points: 5, status: 'open' }, { title: 'Ship it today', points: first === 'Ada' ? 5 : 3, status: 'open' }];
      assert.deepEqual(met.seen, [mine, theirs]);
      assert.deepEqual(met.there, first === 'Ada' ? mine : theirs);
      const asked = { ...NOBODY, conflicts: [['title']] };
      assert.deepEqual([met.ada, met.bob], first === 'Ada' ? [NOBODY, asked] : [asked, NOBODY]);
    });
  }

  test(`a delete stays when ${first} syncs first`, async (t) => {
    const met = await meet(await start(t, {}), first, () => db.delete('story', 's1'), bobs);
    assertAgreed(met, undefined, first === 'Ada' ? { bob: { rejected: [isPlain ? 'record not found' : 'RECORD_DELETED'] } } : {});
  });

  test(`two creates of one id are one record under last-write-wins when ${first} syncs first`, async (t) => {
    const met = await createBoth(t, first, 'last-write-wins');
    if (first === 'Ada') assertAgreed(met, { title: 'B', points: 1, status: 'open' });
    else assertAgreed(met, { title: 'B', status: 'open' }, { ada: { superseded: [{ title: 'A', points: 1 }] } });
  });

  test(`two creates of one id are merged under crdt when ${first} syncs first`, async (t) => {
    const met = await createBoth(t, first, 'crdt');
    if (first === 'Ada') assertAgreed(met, { title: 'B', points: 1, status: 'open' });
    else assertAgreed(met, { title: 'B', points: 1, status: 'open' }, { ada: { superseded: [{ title: 'A' }] } });
  });
}

async function createBoth(t, first, strategy) {
  const adas = () => db.create('story', { id: 'X', title: 'A', points: 1 });
  const bobs = () => db.create('story', { id: 'X', title: 'B', status: 'open' });
  return meet(await start(t, { strategy }), first, adas, bobs, 'X');
}
