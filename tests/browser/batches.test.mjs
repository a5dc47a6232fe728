// How mutations travel: in batches of the configured size, in the order of their sequence, and not one request each.
import assert from 'node:assert/strict';
import { elsewhere, isPlain, test, until, world } from './harness.mjs';

const sequencesOf = (mutations) => mutations.map(({ sequence }) => sequence);
const upTo = (last) => Array.from({ length: last }, (_, at) => at + 1);

test('2,000 mutations of two objects drain in batches of 50 each, in sequence order', async (t) => {
  const { openTab, proxy, server } = await world(t);
  const tab = await openTab();
  const report = await tab.evaluate(async () => {
    window.db = await openDb({ objects: objectsWith({ batch_size: 50 }) });
    await Promise.all(stories(1_000).flatMap((story) => [db.create('story', story), db.create('task', { title: story.title })]));
    return db.sync();
  });
  assert.equal(report.applied, 2_000);
  assert.deepEqual(sequencesOf(proxy.batches.flat()), upTo(2_000));
  for (const batch of proxy.batches) {
    for (const object of ['story', 'task']) assert.ok(batch.filter(({ objectName }) => objectName === object).length <= 50);
  }
  assert.deepEqual([(await server.records('story')).size, (await server.records('task')).size], [1_000, 1_000]);
  assert.equal(await tab.evaluate(() => db.status.pending), 0);
});

test('1,000 queued mutations take at most 20 requests at the default batch size', async (t) => {
  const { openTab, proxy } = await world(t);
  const tab = await openTab();
  const report = await tab.evaluate(async () => {
    window.db = await openDb();
    await db.bulkCreate('story', stories(1_000));
    return db.sync();
  });
  assert.equal(report.applied, 1_000);
  assert.ok(report.requests <= 20, `${report.requests} requests`);
  assert.equal(proxy.requests.length, report.requests);
});

test('an object with a small batch size gets its own', async (t) => {
  const { openTab, proxy } = await world(t);
  const tab = await openTab();
  await tab.evaluate(async () => {
    window.db = await openDb({ objects: objectsWith({ batch_size: 7 }) });
    await db.bulkCreate('story', stories(30));
    await db.sync();
  });
  assert.deepEqual(proxy.batches.map(({ length }) => length), [7, 7, 7, 7, 2]);
});

test('a server that takes fewer mutations than a batch has gets so many', async (t) => {
  const { openTab, proxy, server } = await world(t, { serverArgs: ['--max-mutations', '10'] });
  const tab = await openTab();
  await tab.evaluate(async () => {
    window.db = await openDb();
    await db.bulkCreate('story', stories(100));
    await db.sync();
  });
  assert.equal((await server.records()).size, 100);
  // The real server says so in the answer to the first request; what the plain one takes has to be found by trying.
  if (isPlain) assert.ok(proxy.batches.length <= 20, `${proxy.batches.length} requests`);
  else assert.ok(proxy.batches.slice(1).every(({ length }) => length <= 10), proxy.batches.map(({ length }) => length).join());
  assert.deepEqual(await tab.evaluate(() => db.rejected()), []);
  assert.equal(await tab.evaluate(() => db.status.pending), 0);
});

test('a server that refuses a request for its size hides nothing that others wrote', async (t) => {
  const { openTab, server } = await world(t, { serverArgs: ['--max-mutations', '10'] });
  const tab = await openTab();
  await tab.evaluate(async () => {
    window.db = await openDb();
    await db.sync();
    await db.bulkCreate('story', stories(30));
  });
  await server.post({ ...elsewhere('theirs'), lastCheckpoint: null });
  await tab.evaluate(() => db.sync());
  assert.ok(await tab.evaluate(() => db.get('story', 'theirs')));
  assert.deepEqual([(await server.records()).size, await tab.evaluate(() => db.count('story'))], [31, 31]);
});

test('writes made one after the other wait for a pause and go together', async (t) => {
  const { openBrowser, proxy } = await world(t);
  const browser = await openBrowser();
  const { clock } = browser.context;
  await clock.install();
  const tab = await browser.openTab();
  await tab.evaluate(async () => {
    window.db = await openDb({ objects: objectsWith({ debounce_ms: 800 }), sync: { auto: true } });
    await until(() => db.status.lastSyncedAt, 'the first sync');
  });
  const stateOf = () => tab.evaluate(() => db.status.state);
  // Time stands still, or the writes would take theirs: a slow disk is no pause.
  await clock.pauseAt(Date.now() + 10_000);
  for (const at of [0, 10]) {
    await tab.evaluate(async (at) => { for (const story of stories(10, at)) await db.create('story', story); }, at);
    await clock.runFor(790);
    assert.equal(await stateOf(), 'waiting');
  }
  assert.deepEqual(proxy.batches, []);
  await clock.runFor(20);
  await until(() => tab.evaluate(() => db.status.pending === 0), 'drained');
  assert.deepEqual(proxy.batches.map(({ length }) => length), [20]);
});

test('writes that never pause are pushed all the same', async (t) => {
  const { openTab, proxy } = await world(t);
  const tab = await openTab();
  await tab.evaluate(async () => {
    window.db = await openDb({ objects: objectsWith({ debounce_ms: 60 }), sync: { auto: true } });
    window.writing = true;
    window.written = (async () => {
      while (writing) await db.create('story', { title: 'More' });
    })();
  });
  await until(() => proxy.batches.length > 0, 'a push while the app writes');
  await tab.evaluate(async () => {
    writing = false;
    await written;
    await until(() => db.status.pending === 0, 'drained');
  });
  assert.deepEqual(sequencesOf(proxy.batches.flat()), upTo(proxy.batches.flat().length));
});

test('an object that is not synced stays here, and one that is only pulled takes no writes', async (t) => {
  const { openTab, proxy } = await world(t);
  const tab = await openTab();
  const code = await tab.evaluate(async () => {
    const [story, task] = objectsWith();
    window.db = await openDb({ objects: [{ ...story, sync: { enabled: false } }, { ...task, sync: { ...task.sync, direction: 'pull-only' } }] });
    await db.create('story', { title: 'Private' });
    const code = await codeOf(db.create('task', { title: 'Not mine' }));
    await codeOf(db.sync());
    return code;
  });
  assert.equal(code, 'READ_ONLY_OBJECT');
  assert.deepEqual(proxy.batches, []);
  assert.equal(await tab.evaluate(() => db.count('story')), 1);
});
