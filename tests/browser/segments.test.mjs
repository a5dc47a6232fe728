// The log becomes segments, in a real IndexedDB: what is on the disk stays small, opening reads little of it, tabs that were left behind
// catch up, and a browser that is killed while it compacts loses nothing. Databases of every released format are opened.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { reload, test, until, world } from './harness.mjs';
import { randomFrom } from './rounds.mjs';

const FIXTURES = new URL('fixtures/', import.meta.url);

/** What a page needs to look at the stores themselves. */
async function look(tab) {
  await tab.evaluate(() => {
    const fields = { title: { type: 'text' }, n: { type: 'number' } };
    window.openNotes = () => objectql.openDatabase({ name: 'test', objects: [{ name: 'note', fields, indexes: { n: { fields: ['n'] } } }] });
    window.wait = (request) => new Promise((resolve, reject) => { request.onsuccess = () => resolve(request.result); request.onerror = () => reject(request.error); });
    window.stored = async () => {
      const database = await wait(indexedDB.open('test'));
      const transaction = database.transaction(['log', 'segments']);
      const [rows, segments] = await Promise.all(['log', 'segments'].map((name) => wait(transaction.objectStore(name).getAll(IDBKeyRange.lowerBound(0)))));
      database.close();
      const sizes = (values) => values.map((value) => value.length);
      return { rows: sizes(rows), segments: sizes(segments), bytes: [...rows, ...segments].reduce((sum, value) => sum + value.length, 0) };
    };
    window.note = (n) => ({ id: `note-${String((n * 7919) % 100_003).padStart(6, '0')}`, n, title: `Note ${n}`, text: 'x'.repeat(300) });
    /** How many segments are read from here on. */
    window.countReads = () => {
      const { get } = IDBObjectStore.prototype;
      window.reads = 0;
      IDBObjectStore.prototype.get = function (key) {
        if (this.name === 'segments' && key > 0) reads++;
        return get.call(this, key);
      };
    };
  });
}

const isCompacted = (tab) => until(async () => (await tab.evaluate(() => stored())).rows.every((size) => size < 100_000), 'the rows become segments');

test('rows become segments, and a page that opens the database reads what it asks for', async (t) => {
  const { openTab } = await world(t);
  const tab = await openTab();
  await look(tab);
  await tab.evaluate(async () => {
    window.db = await openNotes();
    for (let part = 0; part < 2; part++) await db.bulkCreate('note', Array.from({ length: 8_000 }, (_, n) => note(part * 8_000 + n)));
    await db.update('note', note(5).id, { title: 'Changed' });
  });
  await isCompacted(tab);
  const { rows, segments } = await tab.evaluate(() => stored());
  assert.ok(rows.length <= 2 && segments.length > 8, JSON.stringify([rows.length, segments.length]));
  await tab.evaluate(() => db.close());
  await reload(tab);
  await look(tab);
  const found = await tab.evaluate(async () => {
    countReads();
    window.db = await openNotes();
    const atOpen = reads;
    const one = await db.get('note', note(5).id);
    const forOne = reads - atOpen;
    const many = await db.find('note', { where: { n: { $lt: 10 } }, orderBy: [{ field: 'n' }] });
    const again = await db.get('note', note(5).id);
    await db.create('note', { title: 'new' });
    return { atOpen, forOne, forAll: reads, title: one.title, many: many.map(({ n }) => n), isSame: again === many[5], count: await db.count('note') };
  });
  assert.deepEqual({ ...found, forOne: 0, forAll: 0 }, { atOpen: 0, forOne: 0, forAll: 0, title: 'Changed', many: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], isSame: true, count: 16_001 });
  // The block of the one, and those that are read ahead.
  assert.ok(found.forOne < found.forAll && found.forAll > 20 && found.forAll < segments.length, JSON.stringify(found));
});

test('live queries, aggregates, transactions, exports and undo wait for the records that they look at', async (t) => {
  const { openTab } = await world(t);
  const tab = await openTab();
  await look(tab);
  await tab.evaluate(async () => {
    window.db = await openNotes();
    for (let part = 0; part < 3; part++) await db.bulkCreate('note', Array.from({ length: 1_000 }, (_, n) => note(part * 1_000 + n)));
  });
  await isCompacted(tab);
  const inNewPage = async (task) => {
    await reload(tab);
    await look(tab);
    return tab.evaluate(`(async () => { window.db = await openNotes(); return await (${task})(); })()`);
  };
  assert.equal(await inNewPage(async () => (await new Promise((resolve) => db.liveQuery('note', { where: { n: { $lt: 7 } } }).subscribe(resolve))).rows.length), 7);
  assert.deepEqual(await inNewPage(() => db.aggregate('note', { aggregations: [{ function: 'max', field: 'n', alias: 'most' }] })), [{ most: 2_999 }]);
  assert.equal(await inNewPage(() => db.transaction(async (tx) => (await tx.update('note', note(9).id, { title: 'In it' })).n)), 9);
  // What is not awaited goes in its order all the same, with the values that it had then, and before the commit.
  assert.deepEqual(await inNewPage(async () => {
    const made = { id: 'made', n: -1, title: 'Made' };
    await db.transaction(async (tx) => {
      void tx.create('note', made);
      made.title = 'Changed later';
      void tx.update('note', 'made', { n: -2 });
      void tx.delete('note', note(8).id);
    });
    const { title, n } = await db.get('note', 'made');
    return [title, n, (await db.get('note', note(8).id)) ?? null, await db.undo(), await db.count('note')];
  }), ['Made', -2, null, true, 3_000]);
  assert.equal(await inNewPage(async () => (await new Response(db.export()).text()).trim().split('\n').at(-1)), '{"records":3000}');
  assert.equal(await inNewPage(() => db.updateMany('note', { n: { $gte: 2_990 } }, { title: 'Late' })), 10);
  assert.equal(await inNewPage(() => db.deleteMany('note', { n: 2_999 })), 1);
  // What an earlier page did is taken back from its segment.
  assert.deepEqual(await inNewPage(async () => [await db.undo(), await db.undo(), await db.undo(), (await db.get('note', note(9).id)).title, await db.count('note')]), [true, true, true, 'Note 9', 3_000]);
  // A handle that is closed while it waits says so, and nothing else.
  assert.deepEqual(await inNewPage(async () => {
    const waiting = [codeOf(db.find('note')), codeOf(db.get('note', note(1).id))];
    await db.close();
    return (await Promise.all(waiting)).every((code) => ['CLOSED', 'none'].includes(code));
  }), true);
});

test('a record that is edited all the time does not make the database grow', async (t) => {
  const { openTab } = await world(t);
  const tab = await openTab();
  await look(tab);
  const most = await tab.evaluate(async () => {
    window.db = await openNotes();
    await db.create('note', note(1));
    let most = 0;
    const until = Date.now() + 6_000;
    for (let n = 0; n < 6_000 && Date.now() < until; n++) {
      await db.update('note', note(1).id, { n });
      if (n % 200 === 0) most = Math.max(most, (await stored()).bytes);
    }
    return most;
  });
  // What can be undone is 100 writes with the record before and after: 90 KB; the rows of a second or two are a few hundred bytes each.
  assert.ok(most < 1_200_000, `${most} bytes`);
  await until(async () => (await tab.evaluate(() => stored())).bytes < 300_000, 'the last rows become segments');
});

test('a tab that hears of nothing while another compacts catches up with its next write', async (t) => {
  const { openTab } = await world(t);
  const [tab, deaf] = [await openTab(), await openTab()];
  await look(tab);
  await look(deaf);
  await tab.evaluate(async () => { window.db = await openNotes(); await db.create('note', note(1)); });
  await deaf.evaluate(async () => {
    Object.defineProperty(BroadcastChannel.prototype, 'onmessage', { set() {} });
    BroadcastChannel.prototype.addEventListener = () => {};
    window.db = await openNotes();
    window.seen = [];
    db.liveQuery('note').subscribe(({ rows }) => seen.push(rows.length));
    await db.find('note');
  });
  await tab.evaluate(async () => {
    await db.delete('note', note(1).id);
    await db.bulkCreate('note', Array.from({ length: 3_000 }, (_, n) => note(n)));
  });
  await isCompacted(tab);
  const caughtUp = await deaf.evaluate(async () => {
    await db.create('note', { id: 'mine', title: 'Heard' });
    return [await db.count('note'), (await db.get('note', note(7).id)).title, seen.at(-1)];
  });
  assert.deepEqual(caughtUp, [3_001, 'Note 7', 3_001]);
  await until(() => tab.evaluate(async () => (await db.get('note', 'mine'))?.title === 'Heard'), 'the other tab sees it');
});

test('a browser that is killed while it compacts loses nothing, doubles nothing, and opens', async (t) => {
  const { ledger, openBrowser } = await world(t);
  const browser = await openBrowser();
  const below = randomFrom(11);
  const openTab = async () => {
    const tab = await browser.openTab();
    await ledger.watch(tab);
    await look(tab);
    await tab.evaluate(async () => { window.db = await openDb(); });
    return tab;
  };
  for (let round = 0; round < 5; round++) {
    const tab = await openTab();
    await tab.evaluate((round) => {
      // Counts the steps of a compaction: segments that are put in, and the root.
      window.steps = 0;
      for (const method of ['add', 'put', 'delete']) {
        const original = IDBObjectStore.prototype[method];
        IDBObjectStore.prototype[method] = function (...args) {
          if (this.name === 'segments') steps++;
          return original.apply(this, args);
        };
      }
      // Half a megabyte in a moment makes a compaction due in a second.
      const text = Array.from({ length: 40_000 }, (_, at) => String.fromCharCode(33 + ((at * 7 + round) % 90))).join('');
      window.writing = (async () => {
        for (let at = 0; ; at++) {
          await write('create', `${round}-${at}`, { title: text });
          await write('update', `${round}-${at}`, { points: at });
          await new Promise((resolve) => setTimeout(resolve, 15));
        }
      })().catch(() => {});
    }, round);
    await tab.waitForFunction((steps) => window.steps > steps, below(20), { polling: 1 });
    await browser.kill();
    await browser.start();
  }
  const tab = await openTab();
  const { resolved, lost, doubled } = await (await ledger.settle(tab), ledger.report(tab));
  assert.ok(resolved > 100);
  assert.deepEqual({ lost, doubled }, { lost: [], doubled: [] });
});

test('transactions that write exclude each other, a compaction and an append too', async (t) => {
  const { openTab } = await world(t);
  const tab = await openTab();
  await look(tab);
  const kinds = await tab.evaluate(async () => {
    const { transaction } = IDBDatabase.prototype;
    const kinds = new Set();
    IDBDatabase.prototype.transaction = function (stores, mode, ...rest) {
      if (this.name === 'test' && mode === 'readwrite') kinds.add([stores].flat().sort().join());
      return transaction.call(this, stores, mode, ...rest);
    };
    window.db = await openNotes();
    for (let n = 0; (await stored()).segments.length === 0; n += 500) await db.bulkCreate('note', Array.from({ length: 500 }, (_, at) => note(n + at)));
    return [...kinds].sort();
  });
  // Two whose stores differ may overlap, and Chromium deletes what it finds after it was killed then (src/browser/log.rs).
  assert.deepEqual(kinds, ['log', 'log,segments']);
});

for (const name of readdirSync(FIXTURES).filter((name) => name.startsWith('format-'))) {
  test(`a database of ${name.replace('.json', '').replace('-', ' ')} is opened with all that is in it, pending mutations too`, async (t) => {
    const { openTab } = await world(t);
    const tab = await openTab();
    await look(tab);
    const fixture = JSON.parse(readFileSync(new URL(name, FIXTURES), 'utf8'));
    const found = await tab.evaluate(async ({ version, stores }) => {
      const request = indexedDB.open('test', version);
      request.onupgradeneeded = () => Object.keys(stores).forEach((name) => request.result.createObjectStore(name, { autoIncrement: true }));
      const database = await wait(request);
      for (const [name, rows] of Object.entries(stores)) {
        const transaction = database.transaction(name, 'readwrite');
        for (const [key, value] of rows) transaction.objectStore(name).put(Uint8Array.from(atob(value), (char) => char.charCodeAt(0)), key);
        await new Promise((resolve) => { transaction.oncomplete = resolve; });
      }
      database.close();
      const objects = [{ name: 'story', fields: { title: { type: 'text' } }, sync: { enabled: true } }, { name: 'draft', fields: { title: { type: 'text' } } }];
      window.db = await objectql.openDatabase({ name: 'test', objects, sync: { url: '/api/sync', auto: false } });
      const records = { draft: await db.find('draft'), story: await db.find('story') };
      const pending = (await db.pendingMutations()).map(({ id, operation, objectName, recordId }) => ({ id, operation, objectName, recordId }));
      const { undoable } = db.status;
      await db.create('story', { id: 'later', title: 'Later' });
      return { records, pending, undoable, pendingAfter: db.status.pending, undone: await db.undo() };
    }, fixture);
    const { records, pending, undoable } = fixture;
    assert.deepEqual(found, { records, pending, undoable, pendingAfter: pending.length + 1, undone: true });
  });
}
