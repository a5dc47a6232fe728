// Transactions, bulk forms, undo and files on IndexedDB, between tabs, and on to the server.
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { reload, test, until, world } from './harness.mjs';

const upTo = (last) => Array.from({ length: last }, (_, at) => at + 1);
const open = (tab) => tab.evaluate(async () => {
  window.db = await openDb();
  // A tab that begins to lead writes a row of its own: with the first sync that is over.
  await db.sync();
});

/** A world with the database open in so many tabs of one browser. */
async function start(t, tabCount = 1) {
  const all = await world(t);
  const tabs = [];
  for (const _ of upTo(tabCount)) tabs.push(await all.openTab());
  for (const tab of tabs) await open(tab);
  return { ...all, tabs, tab: tabs[0] };
}

/** All records of a page's database, by object and in the order of their ids. */
const recordsOf = (tab) => tab.evaluate(async () => {
  const byId = { orderBy: [{ field: 'id' }] };
  return { story: await db.find('story', byId), task: await db.find('task', byId) };
});

/** All records of the server, likewise. */
async function recordsAt(server) {
  const sorted = async (name) => [...(await server.records(name)).values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  return { story: await sorted('story'), task: await sorted('task') };
}

/** Syncs the tabs, until nothing is left; then these, the server and a client that never was there have equal records, which are returned. */
async function settle({ server, openDevice }, ...tabs) {
  for (const tab of [...tabs, ...tabs]) await tab.evaluate(() => db.sync());
  const other = await (await openDevice()).openTab();
  await open(other);
  const expected = await recordsAt(server);
  for (const tab of [...tabs, other]) assert.deepEqual(await recordsOf(tab), expected);
  return expected;
}

/** Runs `task` in a page; resolves with what it gives, and how many read-write transactions of IndexedDB it cost. */
const counted = (tab, task, argument) => tab.evaluate(async ([task, argument]) => {
  let cost = 0;
  const stop = watchTransactions((_, mode) => { cost += mode === 'readwrite' ? 1 : 0; });
  const result = await (0, eval)(`(${task})`)(argument);
  stop();
  return { result, cost };
}, [String(task), argument]);

/** Adds one to a counter so many times, each in a transaction that also makes a record with the number it came to; the codes. */
const addOne = (tab, { name, count = 15, retries, areAtOnce = true }) => tab.evaluate(async ({ name, count, retries, areAtOnce }) => {
  const add = (at) => codeOf(db.transaction(async (tx) => {
    const { points } = await tx.get('story', 'counter');
    await tx.update('story', 'counter', { points: points + 1 });
    await tx.create('task', { id: `${name}${at}`, title: String(points + 1), story: 'counter' });
  }, { retries }));
  const codes = [];
  if (areAtOnce) return Promise.all(Array.from({ length: count }, (_, at) => add(at)));
  for (let at = 0; at < count; at++) codes.push(await add(at));
  return codes;
}, { name, count, retries, areAtOnce });

for (const [how, options, conflicts] of [
  ['at once, that are not run again', { retries: 0 }, { atLeast: 28, atMost: 29 }],
  // A conflict of one is a commit of another: there are no more than 29.
  ['at once, that are run again', { retries: 29 }, { atLeast: 0, atMost: 0 }],
  ['in turn in each tab, that are not run again', { retries: 0, areAtOnce: false }, { atLeast: 0, atMost: 15 }],
]) {
  test(`of 30 transactions ${how}, in two tabs, those that were committed are in a counter, and of the others nothing is`, async (t) => {
    const all = await start(t, 2);
    const { tabs } = all;
    await tabs[0].evaluate(() => db.create('story', { id: 'counter', title: 'A counter', points: 0 }));
    await tabs[1].evaluate(() => until(() => db.get('story', 'counter'), 'the counter'));
    const names = ['a', 'b'];
    const codes = await Promise.all(tabs.map((tab, at) => addOne(tab, { name: names[at], ...options })));
    const committed = codes.flatMap((list, tab) => list.flatMap((code, at) => (code === 'none' ? [`${names[tab]}${at}`] : []))).sort();
    const others = codes.flat().filter((code) => code !== 'none');
    assert.deepEqual([...new Set(others)].filter((code) => code !== 'TRANSACTION_CONFLICT'), []);
    assert.ok(others.length >= conflicts.atLeast && others.length <= conflicts.atMost, `${others.length} conflicts`);
    const { story, task } = await settle(all, ...tabs);
    assert.equal(story[0].points, committed.length);
    assert.deepEqual(task.map(({ id }) => id), committed);
    assert.deepEqual(task.map(({ title }) => Number(title)).sort((a, b) => a - b), upTo(committed.length), 'each saw the one before it');
  });
}

test('a transaction that read what another tab changed since without its hearing of it is a conflict, and wrote nothing', async (t) => {
  const { openTab } = await world(t);
  const [one, two] = [await openTab(), await openTab()];
  await one.evaluate(() => { window.BroadcastChannel = class { postMessage() {} close() {} addEventListener() {} removeEventListener() {} }; });
  for (const tab of [one, two]) await tab.evaluate(async () => { window.db = await openDb(); });
  await two.evaluate(() => db.create('story', { id: 'a', title: 'A', points: 1 }));
  await one.evaluate(async () => {
    await db.create('task', { id: 'before' });
    window.tx = await db.beginTransaction();
    await tx.update('story', 'a', { points: (await tx.get('story', 'a')).points + 1 });
    await tx.create('task', { id: 'never' });
  });
  await two.evaluate(() => db.update('story', 'a', { points: 10 }));
  const seen = await one.evaluate(async () => ({ before: (await db.get('story', 'a')).points, code: await codeOf(tx.commit()), after: (await db.get('story', 'a')).points }));
  assert.deepEqual(seen, { before: 1, code: 'TRANSACTION_CONFLICT', after: 10 });
  assert.deepEqual(await two.evaluate(async () => [(await db.find('task')).map(({ id }) => id), db.status.pending]), [['before'], 3]);
  // Run again, it goes through.
  await one.evaluate(() => db.transaction(async (tx) => tx.update('story', 'a', { points: (await tx.get('story', 'a')).points + 1 })));
  assert.equal(await one.evaluate(async () => (await db.get('story', 'a')).points), 11);
});

test('a transaction that read what the server changed since is run again on that', async (t) => {
  const all = await start(t);
  const other = await (await all.openDevice()).openTab();
  await all.tab.evaluate(async () => {
    await db.create('story', { id: 'a', title: 'A', points: 1 });
    await db.sync();
  });
  await open(other);
  await other.evaluate(async () => {
    await db.update('story', 'a', { points: 10 });
    await db.sync();
  });
  const seen = await all.tab.evaluate(async () => {
    const seen = [];
    await db.transaction(async (tx) => {
      const { points } = await tx.get('story', 'a');
      seen.push(points);
      if (seen.length === 1) await db.sync();
      await tx.update('story', 'a', { points: points + 1 });
    });
    return seen;
  });
  assert.deepEqual(seen, [1, 10]);
  assert.equal((await settle(all, all.tab, other)).story[0].points, 11);
});

test('a parent and 120 children are one transaction of IndexedDB, and reach the server and another client in their order', async (t) => {
  const all = await start(t);
  const { tab, proxy, server } = all;
  const { checkpoint } = await server.changesSince();
  const { cost } = await counted(tab, () => db.transaction(async (tx) => {
    const { id } = await tx.create('story', { id: 'parent', title: 'Parent' });
    for (let at = 0; at < 120; at++) await tx.create('task', { id: `child ${at}`, story: id });
    await tx.update('story', id, { points: await tx.count('task', { story: id }) });
  }));
  assert.equal(cost, 1);
  assert.deepEqual(await tab.evaluate(async () => (await db.pendingMutations()).map(({ sequence }) => sequence)), upTo(122));
  const { story } = await settle(all, tab);
  assert.equal(story[0].points, 120);
  const expected = ['parent', ...upTo(120).map((number) => `child ${number - 1}`), 'parent'];
  assert.ok(proxy.batches.length > 1, 'more than one request');
  assert.deepEqual(proxy.batches.flat().map(({ recordId }) => recordId), expected);
  // A server may keep of a record only its last change.
  const { changes } = await server.changesSince(checkpoint);
  const children = changes.map(({ recordId }) => recordId).filter((id) => id !== 'parent');
  assert.deepEqual(children, expected.slice(1, -1));
});

test('a browser that is killed in the middle of transactions has all of each that was committed, and nothing of those that were open', async (t) => {
  const all = await world(t);
  const browser = await all.openBrowser();
  const tab = await browser.openTab();
  const committed = new Set();
  await tab.exposeFunction('committed', (id) => committed.add(id));
  await tab.evaluate(async () => {
    window.db = await openDb();
    const fill = async (tx, id) => {
      await tx.create('story', { id, title: 'Parent' });
      await tx.bulkCreate('task', ['x', 'y', 'z'].map((name) => ({ id: `${id} ${name}`, story: id })));
    };
    for (let at = 0; at < 10; at++) await fill(await db.beginTransaction(), `open ${at}`);
    for (let writer = 0; writer < 8; writer++) {
      (async () => {
        for (let at = 0; ; at++) {
          await db.transaction((tx) => fill(tx, `${writer}-${at}`));
          committed(`${writer}-${at}`);
        }
      })();
    }
  });
  await until(() => committed.size > 100, 'transactions that were committed');
  await browser.kill();
  await browser.start();
  const after = await browser.openTab();
  const { stories, children, sequences } = await after.evaluate(async () => {
    window.db = await openDb();
    const stories = await db.find('story', { expand: { task: true } });
    return { stories: stories.map(({ id, task }) => [id, task.length]), children: await db.count('task'), sequences: (await db.pendingMutations()).map(({ sequence }) => sequence) };
  });
  const there = new Set(stories.map(([id]) => id));
  assert.deepEqual([...committed].filter((id) => !there.has(id)), []);
  assert.deepEqual(stories.filter(([id, count]) => id.startsWith('open') || count !== 3), []);
  assert.equal(children, 3 * stories.length);
  assert.deepEqual(sequences, upTo(4 * stories.length));
  await settle(all, after);
});

test('what was written before a reload is taken back and made again by any tab, a transaction as a whole, and all clients end with that', async (t) => {
  const all = await start(t, 2);
  const [one, two] = all.tabs;
  await one.evaluate(async () => {
    await db.create('story', { id: 'a', title: 'First', points: 1 });
    await db.transaction(async (tx) => {
      await tx.update('story', 'a', { title: 'Second' });
      await tx.create('task', { id: 'b', title: 'Child', story: 'a' });
    });
    await db.update('story', 'a', { points: 2 });
  });
  const state = (tab) => tab.evaluate(async () => {
    const { undoable, redoable } = db.status;
    const story = await db.get('story', 'a');
    return [story && [story.title, story.points], (await db.find('task')).map(({ title }) => title), [undoable, redoable]];
  });
  /** Both tabs come to it. */
  const comesTo = async (expected) => {
    for (const tab of [one, two]) {
      let seen;
      await until(async () => isDeepStrictEqual((seen = await state(tab)), expected), 'the state').catch(() => {});
      assert.deepEqual(seen, expected);
    }
  };
  await comesTo([['Second', 2], ['Child'], [3, 0]]);
  for (const tab of [one, two]) {
    await reload(tab);
    await tab.evaluate(async () => { window.db = await openDb(); });
  }
  await comesTo([['Second', 2], ['Child'], [3, 0]]);
  await two.evaluate(() => db.undo());
  await comesTo([['Second', 1], ['Child'], [2, 1]]);
  await one.evaluate(() => db.sync());
  assert.deepEqual(await counted(one, () => db.undo()), { result: true, cost: 1 });
  await comesTo([['First', 1], [], [1, 2]]);
  assert.deepEqual((await settle(all, one)).task, []);
  assert.deepEqual(await counted(two, () => db.redo()), { result: true, cost: 1 });
  await comesTo([['Second', 1], ['Child'], [2, 1]]);
  await reload(one);
  await one.evaluate(async () => { window.db = await openDb(); });
  await one.evaluate(() => db.redo());
  await comesTo([['Second', 2], ['Child'], [3, 0]]);
  assert.equal(await two.evaluate(() => db.redo()), false);
  const { story, task } = await settle(all, one, two);
  assert.deepEqual([story.map(({ title, points }) => [title, points]), task.map(({ title, story }) => [title, story])], [[['Second', 2]], [['Child', 'a']]]);
});

const BULK = {
  bulkUpdate: () => db.bulkUpdate('story', ids.map((id, at) => ({ id, data: { points: -at } }))),
  updateMany: () => db.updateMany('story', { points: { $lt: 50 } }, { status: 'done' }),
  bulkDelete: () => db.bulkDelete('story', ids.filter((_, at) => at % 2 === 0)),
  deleteMany: () => db.deleteMany('story', { points: { $gte: 50 } }),
};
/** What each does to a hundred stories: what it resolves with, how many there are then, how many done, and the sum of their points. */
const DONE = { bulkUpdate: [100, 100, 0, -4950], updateMany: [50, 100, 50, 4950], bulkDelete: [50, 50, 0, 2500], deleteMany: [50, 50, 0, 1225] };

for (const [name, task] of Object.entries(BULK)) {
  test(`${name} of many records is one transaction of IndexedDB, and reaches the server and other clients`, async (t) => {
    const all = await start(t);
    await all.tab.evaluate(async () => {
      window.ids = (await db.bulkCreate('story', stories(100))).map(({ id }) => id);
      await db.sync();
    });
    const { result, cost } = await counted(all.tab, task);
    assert.equal(cost, 1);
    const { story } = await settle(all, all.tab);
    const sum = story.reduce((sum, { points }) => sum + points, 0);
    assert.deepEqual([typeof result === 'number' ? result : result.length, story.length, story.filter(({ status }) => status === 'done').length, sum], DONE[name]);
  });
}

test('what one browser exported another one has after an import, to the last field, and both sync it without a conflict', async (t) => {
  const all = await world(t);
  const [one, two] = [await (await all.openBrowser('one')).openTab(), await (await all.openBrowser('two')).openTab()];
  await open(one);
  const file = await one.evaluate(async () => {
    const story = await db.create('story', { id: 'a', title: 'Größe – 东京 – \u{1f600}', points: 1.5, notes: { deep: [1, null, { x: [] }], 'ö': '' } });
    await db.create('story', { id: 7, title: 'A number', status: null });
    await db.create('story', { id: '7', title: 'Its text' });
    await db.create('task', { id: 'of a', story: story.id, title: 'Child' });
    // More than one portion of the file, and of a commit.
    await db.bulkCreate('story', stories(600).map((story) => ({ ...story, notes: 'x'.repeat(1_000) })));
    await db.update('story', 'a', { status: 'open' });
    await db.delete('story', (await db.findOne('story', { where: { points: 5 } })).id);
    return await new Response(db.export()).text();
  });
  await open(two);
  const count = await two.evaluate(async (file) => {
    await db.create('story', { id: 'here', title: 'Here' });
    return db.import(new Blob([file]));
  }, file);
  const there = await recordsOf(one);
  assert.equal(count, there.story.length + there.task.length);
  const { story, task } = await recordsOf(two);
  assert.deepEqual(story.filter(({ id }) => id !== 'here'), there.story);
  assert.deepEqual(task, there.task);
  await two.evaluate(() => db.sync());
  await one.evaluate(() => db.sync());
  await two.evaluate(() => db.sync());
  assert.deepEqual(await Promise.all([one, two].map((tab) => tab.evaluate(async () => [await db.conflicts(), await db.rejected(), db.status.pending]))), [[[], [], 0], [[], [], 0]]);
  const expected = await recordsOf(two);
  assert.equal(expected.story.length, there.story.length + 1);
  assert.deepEqual(await recordsOf(one), expected);
  const stored = await all.server.records();
  assert.deepEqual(expected.story.map(({ id }) => stored.get(id)), expected.story);
  assert.equal(stored.size, expected.story.length);
});

test('a transaction that the disk has no room for is refused with a code, nothing of it is there, and the database works on', async (t) => {
  const all = await world(t);
  const tab = await all.openTab();
  const session = await tab.context().newCDPSession(tab);
  // Before the database is opened: for half a minute Chromium does not ask again how much room an open one has.
  await session.send('Storage.overrideQuotaForOrigin', { origin: all.origin, quotaSize: 400_000 });
  const full = await tab.evaluate(async () => {
    window.db = await openDb();
    await db.create('story', { id: 'a', title: 'Before', points: 1 });
    // Chromium counts what is left of a value after it compressed it.
    const below = randomFrom(1);
    const notes = Array.from({ length: 450_000 }, () => String.fromCharCode(33 + below(90))).join('');
    const runs = [];
    const work = async (tx) => {
      runs.push(0);
      await tx.update('story', 'a', { points: 2 });
      await tx.create('task', { id: 'never', story: 'a' });
      await tx.create('story', { title: 'Big', notes });
      await tx.create('story', { title: 'Big, too', notes });
    };
    const codes = [await codeOf(db.transaction(work)), ...(await Promise.all([codeOf(db.transaction(work)), codeOf(db.transaction(work))]))];
    const small = await codeOf(db.transaction(async (tx) => (await tx.find('story')).map(({ points }) => points)));
    return { codes, small, runs: runs.length, stories: (await db.find('story')).map(({ id, points }) => [id, points]), tasks: await db.count('task'), undoable: db.status.undoable };
  });
  assert.deepEqual(full, { codes: ['QUOTA_EXCEEDED', 'QUOTA_EXCEEDED', 'QUOTA_EXCEEDED'], small: 'none', runs: 3, stories: [['a', 1]], tasks: 0, undoable: 1 });
  await session.send('Storage.overrideQuotaForOrigin', { origin: all.origin });
  const work = () => tab.evaluate(() => db.transaction(async (tx) => {
    const { points } = await tx.get('story', 'a');
    await tx.update('story', 'a', { points: points + 1 });
    await tx.create('task', { id: `after ${points}` });
  }));
  await work();
  await reload(tab);
  await tab.evaluate(async () => { window.db = await openDb(); });
  await work();
  const { story, task } = await settle(all, tab);
  assert.deepEqual([story.map(({ points }) => points), task.map(({ id }) => id)], [[3], ['after 1', 'after 2']]);
});
