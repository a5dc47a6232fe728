// The main job: write offline, keep it, sync it.
import assert from 'node:assert/strict';
import { reload, test, world } from './harness.mjs';

test('what is written offline survives a reload and reaches the server and a second device', async (t) => {
  const { proxy, server, openTab, openDevice } = await world(t);
  const tab = await openTab();
  proxy.isDown = true;
  const [kept, gone] = await tab.evaluate(async () => {
    window.db = await openDb();
    const kept = await db.create('story', { title: 'Kept', notes: { deep: [1, null, 'ü'] }, points: 1.5 });
    const gone = await db.create('story', { title: 'Gone' });
    await db.update('story', kept.id, { status: 'done' });
    await db.delete('story', gone.id);
    const failure = await codeOf(db.sync());
    if (failure !== 'NETWORK') throw new Error(`sync without network: ${failure}`);
    return [await db.get('story', kept.id), gone];
  });
  assert.equal(kept.status, 'done');

  await reload(tab);
  const after = await tab.evaluate(async () => {
    window.db = await openDb();
    return { stories: await db.find('story'), pending: await db.pendingMutations() };
  });
  assert.deepEqual(after.stories, [kept]);
  assert.deepEqual(after.pending.map(({ sequence, operation }) => [sequence, operation]), [[1, 'create'], [2, 'create'], [3, 'update'], [4, 'delete']]);

  proxy.isDown = false;
  const report = await tab.evaluate(() => db.sync());
  assert.equal(report.applied, 4);
  assert.deepEqual([...(await server.records()).values()], [kept]);

  const other = await (await openDevice()).openTab();
  const seen = await other.evaluate(async (gone) => {
    window.db = await openDb();
    await db.sync();
    return { stories: await db.find('story'), gone: await db.get('story', gone) };
  }, gone.id);
  assert.deepEqual(seen, { stories: [kept], gone: undefined });
});

test('two devices that changed different fields of a record offline end with both changes', async (t) => {
  const { server, openTab, openDevice } = await world(t);
  const [one, two] = [await openTab(), await (await openDevice()).openTab()];
  const { id } = await one.evaluate(async () => {
    window.db = await openDb();
    const story = await db.create('story', { title: 'Shared' });
    await db.sync();
    return story;
  });
  await two.evaluate(async (id) => {
    window.db = await openDb();
    await db.sync();
    await db.update('story', id, { points: 8 });
  }, id);
  await one.evaluate(async (id) => {
    await db.update('story', id, { status: 'doing' });
    await db.sync();
  }, id);
  await two.evaluate(() => db.sync());
  await one.evaluate(() => db.sync());
  const seen = await Promise.all([one, two].map((tab) => tab.evaluate((id) => db.get('story', id), id)));
  const expected = (await server.records()).get(id);
  assert.deepEqual([expected.title, expected.status, expected.points], ['Shared', 'doing', 8]);
  assert.deepEqual(seen, [expected, expected]);
});

test('a record that was deleted elsewhere disappears, and one that was made again comes back', async (t) => {
  const { openTab, openDevice } = await world(t);
  const [one, two] = [await openTab(), await (await openDevice()).openTab()];
  for (const tab of [one, two]) await tab.evaluate(async () => { window.db = await openDb(); });
  const viewOfTwo = async () => {
    await one.evaluate(() => db.sync());
    return two.evaluate(async () => (await db.sync(), (await db.find('story')).map(({ id, title }) => [id, title])));
  };
  await one.evaluate(() => db.create('story', { id: 'a', title: 'First' }));
  assert.deepEqual(await viewOfTwo(), [['a', 'First']]);
  await one.evaluate(() => db.delete('story', 'a'));
  assert.deepEqual(await viewOfTwo(), []);
  await one.evaluate(() => db.create('story', { id: 'a', title: 'Second' }));
  assert.deepEqual(await viewOfTwo(), [['a', 'Second']]);
});

test('an id that is a number and one that is its text are two records at all places', async (t) => {
  const { server, openTab, openDevice } = await world(t);
  const tab = await openTab();
  await tab.evaluate(async () => {
    window.db = await openDb();
    await db.create('story', { id: 1, title: 'Number' });
    await db.create('story', { id: '1', title: 'Text' });
    await db.sync();
  });
  const records = await server.records();
  assert.deepEqual([records.get(1).title, records.get('1').title], ['Number', 'Text']);
  const other = await (await openDevice()).openTab();
  const titles = await other.evaluate(async () => {
    window.db = await openDb();
    await db.sync();
    return [(await db.get('story', 1)).title, (await db.get('story', '1')).title];
  });
  assert.deepEqual(titles, ['Number', 'Text']);
});

test('a rejected write falls back to what the server has, and goes through once it is put right', async (t) => {
  const { server, openTab } = await world(t);
  const tab = await openTab();
  const { rejected, report, seen } = await tab.evaluate(async () => {
    window.db = await openDb();
    window.told = [];
    db.on('rejected', (rejected) => told.push(rejected.id));
    await db.create('story', { id: 'good', title: 'Good' });
    await db.create('story', { id: 'bad', points: 3 });
    await db.create('story', { id: 'after', title: 'After' });
    const report = await db.sync();
    return { report, rejected: await db.rejected(), seen: (await db.find('story')).map(({ id }) => id).sort() };
  });
  assert.equal(report.rejected, 1);
  assert.match(rejected[0].reason, /title/);
  assert.deepEqual(seen, ['after', 'good']);
  assert.deepEqual(await tab.evaluate(() => told), [rejected[0].id]);
  await tab.evaluate(async (id) => {
    await db.retry(id, { title: 'Better' });
    await db.sync();
  }, rejected[0].id);
  assert.equal((await server.records()).get('bad').title, 'Better');
  assert.deepEqual(await tab.evaluate(() => db.rejected()), []);
});

test('a live query follows local writes, and those of the server', async (t) => {
  const { openTab, openDevice } = await world(t);
  const [one, two] = [await openTab(), await (await openDevice()).openTab()];
  await one.evaluate(async () => {
    window.db = await openDb();
    window.results = [];
    db.liveQuery('story', { where: { status: 'open' }, orderBy: [{ field: 'title' }] }).subscribe(({ rows }) => results.push(rows.map(({ title }) => title)));
    await db.create('story', { id: 'a', title: 'A', status: 'open' });
    await db.create('story', { id: 'b', title: 'B', status: 'done' });
    await db.sync();
  });
  await two.evaluate(async () => {
    window.db = await openDb();
    await db.sync();
    await db.update('story', 'b', { status: 'open' });
    await db.sync();
  });
  await one.evaluate(() => db.sync());
  assert.deepEqual(await one.evaluate(() => results), [[], ['A'], ['A', 'B']]);
});
