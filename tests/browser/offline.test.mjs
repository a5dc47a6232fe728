// The main job: write offline, keep it, sync it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { world } from './harness.mjs';

test('what is written offline survives a reload and reaches the server and a second client', async (t) => {
  const { browser, proxy, server, openBrowser } = await world(t);
  const tab = await browser.openTab();
  proxy.isDown = true;
  const [kept, gone] = await tab.evaluate(async () => {
    window.db = await open_();
    const kept = await db.create('story', { title: 'Kept', notes: { deep: [1, null, 'ü'] }, points: 1.5 });
    const gone = await db.create('story', { title: 'Gone' });
    await db.update('story', kept.id, { status: 'done' });
    await db.delete('story', gone.id);
    const failure = await db.sync().catch((error) => error.code);
    if (failure !== 'NETWORK') throw new Error(`sync without network: ${failure}`);
    return [await db.get('story', kept.id), gone];
  });
  assert.equal(kept.status, 'done');

  await browser.reload(tab);
  const after = await tab.evaluate(async () => {
    window.db = await open_();
    return { stories: await db.find('story'), pending: await db.pendingMutations() };
  });
  assert.deepEqual(after.stories, [kept]);
  assert.deepEqual(after.pending.map((mutation) => [mutation.sequence, mutation.operation]), [[1, 'create'], [2, 'create'], [3, 'update'], [4, 'delete']]);

  proxy.isDown = false;
  const report = await tab.evaluate(() => db.sync());
  assert.equal(report.applied, 4);
  assert.deepEqual([...(await server.records()).values()], [kept]);

  const other = await (await openBrowser('second')).openTab();
  const seen = await other.evaluate(async (gone) => {
    window.db = await open_();
    await db.sync();
    return { stories: await db.find('story'), gone: await db.get('story', gone) };
  }, gone.id);
  assert.deepEqual(seen, { stories: [kept], gone: undefined });
  assert.deepEqual(tab.errors, []);
});
