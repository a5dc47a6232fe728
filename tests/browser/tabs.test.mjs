// Two tabs are two replicas of one log: both write, one syncs, and when that one goes the other takes over.
import assert from 'node:assert/strict';
import { held, reload, test, until, world } from './harness.mjs';

/** A world with the database open in two tabs; the one that syncs comes first. */
async function start(t, options) {
  const all = await world(t);
  const tabs = [await all.openTab(), await all.openTab()];
  for (const tab of tabs) await tab.evaluate(async (options) => { window.db = await openDb(options); }, options);
  const isLeading = () => Promise.all(tabs.map((tab) => tab.evaluate(() => db.status.leader)));
  const leading = await until(async () => {
    const leading = await isLeading();
    return leading.includes(true) && leading;
  }, 'a leader');
  assert.equal(leading.filter(Boolean).length, 1, 'one of them syncs');
  const [leader, follower] = leading[0] ? tabs : [tabs[1], tabs[0]];
  return { ...all, leader, follower };
}

const upTo = (last) => Array.from({ length: last }, (_, at) => at + 1);
const view = (tab) => tab.evaluate(async () => JSON.stringify([await db.find('story', { orderBy: [{ field: 'id' }] }), (await db.pendingMutations()).map(({ id, sequence }) => [id, sequence])]));

async function settledView(tabs, count) {
  for (const tab of tabs) await tab.evaluate((count) => until(async () => (await db.count('story')) === count, `${count} stories`), count);
  return Promise.all(tabs.map(view));
}

test('two tabs that write at once have sequences without gaps, the same client and the same view', async (t) => {
  const { leader, follower } = await start(t);
  const write = (tab, name) => tab.evaluate(async (name) => {
    for (let at = 0; at < 20; at++) {
      await db.create('story', { id: `${name}-${at}`, title: `${name} alone` });
      await Promise.all([1, 2, 3, 4].map((part) => db.create('story', { id: `${name}-${at}-${part}`, title: `${name} together` })));
    }
  }, name);
  await Promise.all([write(leader, 'one'), write(follower, 'two')]);
  const [one, two] = await settledView([leader, follower], 200);
  assert.equal(one, two);
  assert.deepEqual(JSON.parse(one)[1].map(([, sequence]) => sequence), upTo(200));
  const ids = await Promise.all([leader, follower].map((tab) => tab.evaluate(() => db.status.clientId)));
  assert.equal(ids[0], ids[1]);
});

test('two tabs that change the same record at once agree, and agree with the log', async (t) => {
  const { leader, follower } = await start(t);
  await leader.evaluate(() => db.create('story', { id: 'a', title: 'A' }));
  await settledView([leader, follower], 1);
  const write = (tab, field) => tab.evaluate(async (field) => {
    for (let at = 1; at <= 30; at++) await db.update('story', 'a', { [field]: at, title: `${field} ${at}` });
  }, field);
  await Promise.all([write(leader, 'points'), write(follower, 'notes')]);
  const views = await until(async () => {
    const views = await Promise.all([leader, follower].map(view));
    return views[0] === views[1] && views;
  }, 'equal views');
  const [[story], pending] = JSON.parse(views[0]);
  assert.deepEqual([story.points, story.notes], [30, 30]);
  assert.deepEqual(pending.map(([, sequence]) => sequence), upTo(61));
  await reload(follower);
  await follower.evaluate(async () => { window.db = await openDb(); });
  assert.equal(await view(follower), views[0]);
});

test('one of two tabs that create the same id is told that it exists', async (t) => {
  const { leader, follower } = await start(t);
  const codes = await Promise.all([leader, follower].map((tab) => tab.evaluate(() => codeOf(db.create('story', { id: 'a', title: 'A' })))));
  assert.deepEqual(codes.sort(), ['ALREADY_EXISTS', 'none']);
});

test('a write in one tab is a change in the other, and its live queries follow', async (t) => {
  const { leader, follower } = await start(t);
  await follower.evaluate(() => {
    window.seen = [];
    window.rows = [];
    db.on('change', ({ changes, origin }) => seen.push([origin, changes]));
    db.liveQuery('story').subscribe(({ rows: stories }) => rows.push(stories.map(({ title }) => title)));
  });
  await leader.evaluate(() => db.create('story', { id: 'a', title: 'A' }));
  await follower.evaluate(() => until(() => rows.length === 2, 'the second result'));
  assert.deepEqual(await follower.evaluate(() => [seen, rows]), [[['tab', [{ objectName: 'story', recordIds: ['a'] }]]], [[], ['A']]]);
});

test('what a page wrote last is told to the other tabs before it goes', async (t) => {
  const { leader, follower } = await start(t);
  const posted = await leader.evaluate(async () => {
    let rows = 0;
    const { postMessage } = BroadcastChannel.prototype;
    BroadcastChannel.prototype.postMessage = function (data) {
      if (data[0].includes('"kind":"rows"')) rows++;
      postMessage.call(this, data);
    };
    await db.create('story', { id: 'a', title: 'A' });
    // In the task in which the app was told; a page that goes may have no other one.
    const before = rows;
    dispatchEvent(new Event('pagehide'));
    return [before, rows];
  });
  assert.deepEqual(posted, [0, 1]);
  await follower.evaluate(() => until(async () => (await db.count('story')) === 1, 'the story'));
});

test('what other tabs write is seen without a transaction of its own, so that it holds up nobody', async (t) => {
  const { leader, follower } = await start(t);
  await follower.evaluate(() => { window.count = 0; watchTransactions(() => { count++; }); });
  await leader.evaluate(async () => { for (let at = 0; at < 20; at++) await db.create('story', { id: `s${at}`, title: 'A' }); });
  await follower.evaluate(() => until(async () => (await db.count('story')) === 20, 'all of them'));
  assert.equal(await follower.evaluate(() => count), 0);
});

test('tabs without BroadcastChannel see what the others write within some seconds', async (t) => {
  const { openTab } = await world(t);
  const tabs = [await openTab(), await openTab()];
  for (const tab of tabs) {
    await tab.evaluate(async () => {
      delete window.BroadcastChannel;
      window.db = await openDb();
      window.rows = [];
      db.liveQuery('story').subscribe(({ rows: stories }) => rows.push(stories.length));
    });
  }
  await tabs[0].evaluate(() => db.create('story', { id: 'a', title: 'A' }));
  await tabs[1].evaluate(() => until(() => rows.at(-1) === 1, 'the story of the other tab', 5_000));
  await tabs[1].evaluate(() => db.close());
});

test('sync() in a tab that does not lead pushes what it wrote and pulls what is new', async (t) => {
  const { follower, server, openDevice } = await start(t);
  const other = await (await openDevice()).openTab();
  await other.evaluate(async () => {
    window.db = await openDb();
    await db.create('story', { id: 'theirs', title: 'Theirs' });
    await db.sync();
  });
  const { report, titles, pending } = await follower.evaluate(async () => {
    await db.create('story', { id: 'mine', title: 'Mine' });
    const report = await db.sync();
    return { report, titles: (await db.find('story')).map(({ title }) => title).sort(), pending: db.status.pending };
  });
  assert.equal(report.applied, 1);
  assert.deepEqual([titles, pending], [['Mine', 'Theirs'], 0]);
  assert.ok((await server.records()).has('mine'));
});

test('sync() in a tab that does not lead fails with the code of what went wrong', async (t) => {
  const { follower, proxy } = await start(t);
  proxy.isDown = true;
  assert.equal(await follower.evaluate(async () => (await db.create('story', { title: 'A' }), codeOf(db.sync()))), 'NETWORK');
  proxy.isDown = false;
  assert.equal(await follower.evaluate(async () => (await db.sync(), db.status.pending)), 0);
});

test('what a tab wrote that does not lead is pushed by the one that does', async (t) => {
  const { follower, server } = await start(t, { sync: { auto: true } });
  await follower.evaluate(async () => {
    await db.create('story', { id: 'a', title: 'A' });
    await until(() => db.status.pending === 0, 'drained');
  });
  assert.ok((await server.records()).has('a'));
});

test('when the tab that leads is closed, the other one syncs', async (t) => {
  const { leader, follower, server } = await start(t);
  await leader.evaluate(() => db.create('story', { id: 'left', title: 'Left behind' }));
  await leader.close();
  await follower.evaluate(() => until(() => db.status.leader, 'the lead'));
  await follower.evaluate(async () => {
    await db.create('story', { id: 'own', title: 'Own' });
    await db.sync();
  });
  assert.deepEqual([...(await server.records()).keys()].sort(), ['left', 'own']);
});

test('when the tab that leads is closed with a request under way, the other one ends the job, once', async (t) => {
  const { leader, follower, proxy, server } = await start(t);
  const { checkpoint } = await server.changesSince();
  await leader.evaluate(() => db.create('story', { id: 'a', title: 'A' }));
  const { fault, answered, release } = held();
  proxy.faults.push(fault);
  const synced = follower.evaluate(() => db.sync());
  await answered;
  await leader.close();
  release();
  const report = await synced;
  assert.equal(report.applied, 1);
  assert.equal((await server.changesSince(checkpoint)).changes.length, 1);
  // It may ask first what became of the request; what it sends is the same one.
  for (const batch of proxy.batches) assert.deepEqual(batch, proxy.batches[0]);
  assert.equal(await follower.evaluate(() => db.status.pending), 0);
});

test('when the database is destroyed in one tab, the other one is told with a code, and no empty one takes its place', async (t) => {
  const { leader, follower } = await start(t);
  await leader.evaluate(async () => {
    await db.create('story', { title: 'A' });
    await db.destroy();
  });
  assert.equal(await follower.evaluate(() => codeOf(db.create('story', { title: 'B' }))), 'DATABASE_LOST');
  assert.deepEqual(await follower.evaluate(async () => (await indexedDB.databases()).map(({ name }) => name)), []);
});

test('a tab that missed the other\'s messages sees all of it with its next write', async (t) => {
  const { openTab } = await world(t);
  const [one, two] = [await openTab(), await openTab()];
  await two.evaluate(() => { window.BroadcastChannel = class { postMessage() {} close() {} addEventListener() {} removeEventListener() {} }; });
  for (const tab of [one, two]) await tab.evaluate(async () => { window.db = await openDb(); });
  await one.evaluate(async () => { for (const story of stories(5)) await db.create('story', story); });
  await two.evaluate(() => db.create('story', { title: 'Last' }));
  assert.equal(await two.evaluate(() => db.count('story')), 6);
  assert.deepEqual(await two.evaluate(async () => (await db.pendingMutations()).map(({ sequence }) => sequence)), upTo(6));
});
