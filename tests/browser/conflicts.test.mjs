// Conflicts that the app decides, by callbacks that behave and by those that do not: nothing waits for one, and nothing is lost.
import assert from 'node:assert/strict';
import { reload, test, until, world } from './harness.mjs';

/** A world whose stories are synced with the strategy `manual`, and two devices. */
async function start(t) {
  const all = await world(t, { strategy: 'manual' });
  const [mine, theirs] = [await all.openTab(), await (await all.openDevice()).openTab()];
  for (const tab of [mine, theirs]) await open(tab);
  return { ...all, mine, theirs };
}

/** Opens the database with a callback that asks `window.decide`. */
const open = (tab) => tab.evaluate(async () => {
  window.db = await openDb({ objects: objectsWith({ strategy: 'manual' }).slice(0, 1), onConflict: (conflict) => decide(conflict) });
});

/** A story that both change, the other one first, and one more write of this device. */
async function disagree({ mine, theirs }, id) {
  await mine.evaluate(async (id) => {
    await write('create', id);
    await db.sync();
  }, id);
  await theirs.evaluate(async (id) => {
    await db.sync();
    await db.update('story', id, { title: 'Theirs' });
    await db.sync();
  }, id);
  await mine.evaluate(async (id) => {
    await write('update', id, { title: 'Mine' });
    await write('create', `${id}, other`);
  }, id);
}

/** Callbacks that decide, in whatever way: the text of a function. */
const DECIDING = {
  'answers at once': () => 'mine',
  'answers with a promise': async () => 'mine',
  'answers late': () => new Promise((resolve) => { setTimeout(resolve, 50, 'mine'); }),
  'answers with a record': ({ serverRecord, clientMutation }) => ({ ...serverRecord, ...clientMutation.data }),
  'reads, writes and syncs first': async ({ recordId }) => {
    await db.find('story');
    await write('create', `${recordId}, from the callback`);
    void db.sync().catch(() => {});
    return 'mine';
  },
  'changes the record that it is asked about': async ({ recordId }) => {
    await db.update('story', recordId, { points: 7 });
    return 'mine';
  },
  'waits for a sync, which must not wait for it': async () => {
    await db.sync();
    return 'mine';
  },
  'decides by itself and answers as well': async ({ id }) => {
    await db.resolveConflict(id, 'mine');
    return 'mine';
  },
};

/** Callbacks that do not decide: the conflict waits where the app can see it. */
const UNDECIDED = {
  'answers nothing': () => undefined,
  'throws': () => { throw new Error('no idea'); },
  'rejects': async () => { throw new Error('no idea, later'); },
  'never answers': () => new Promise(() => {}),
  'answers with what is no decision': () => 42,
  'answers with a record that cannot be one': () => ({ title: NaN }),
};

const install = (tab, callback) => tab.evaluate((text) => { window.decide = eval(`(${text})`); }, String(callback));

/** A conflict that the callback is asked about, in a sync that goes on with the other records. */
async function meet(t, callback) {
  const all = await start(t);
  await install(all.mine, callback);
  await disagree(all, 'a');
  await all.mine.evaluate(() => db.sync());
  assert.ok((await all.server.records()).has('a, other'));
  return all;
}

for (const [name, callback] of Object.entries(DECIDING)) {
  test(`a callback that ${name} settles the conflict, and nothing else waits for it`, async (t) => {
    const { mine, server, ledger } = await meet(t, callback);
    await until(() => mine.evaluate(() => db.status.conflicts === 0), 'it is decided');
    const { rejected, conflicts } = await ledger.settle(mine);
    assert.deepEqual([rejected, conflicts], [[], []]);
    assert.equal((await server.records()).get('a').title, 'Mine');
  });
}

for (const [name, callback] of Object.entries(UNDECIDED)) {
  test(`a callback that ${name} leaves the conflict to be decided later, also after a reload`, async (t) => {
    const { mine, server, ledger } = await meet(t, callback);
    await mine.evaluate(() => db.update('story', 'a', { points: 3 }));
    await ledger.check(mine);
    mine.errors.length = 0;
    await reload(mine);
    await install(mine, () => undefined);
    await open(mine);
    const conflicts = await mine.evaluate(() => db.conflicts());
    assert.deepEqual(conflicts.map(({ recordId, conflictingFields }) => [recordId, conflictingFields.includes('title')]), [['a', true]]);
    assert.equal(conflicts[0].serverRecord.title, 'Theirs');
    await ledger.check(mine);
    await mine.evaluate((id) => db.resolveConflict(id, 'mine'), conflicts[0].id);
    const report = await ledger.settle(mine);
    assert.deepEqual([report.rejected, report.conflicts], [[], []]);
    const { title, points } = (await server.records()).get('a');
    assert.deepEqual([title, points], ['Mine', 3]);
  });
}
