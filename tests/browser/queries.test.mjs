// Reading in a real page: indexes, shared records, live queries, values that only one record may have.
import assert from 'node:assert/strict';
import { openDatabase } from '../../pkg/dist/index.js';
import { test, world } from './harness.mjs';

/** A tab with a thousand pieces of work for ten people. */
async function start(t) {
  const all = await world(t);
  const tab = await all.openTab();
  await tab.evaluate(async () => {
    const text = { type: 'text' };
    const work = {
      name: 'work',
      fields: { key: { type: 'text', unique: true }, owner: text, due: { type: 'datetime' }, lines: { type: 'json' } },
      indexes: { owner: { fields: ['owner', 'due'] } },
    };
    window.open = () => openDb({ objects: [work] });
    window.db = await open();
    const day = (at) => new Date(Date.UTC(2026, 0, 1 + ((at * 37) % 365))).toISOString();
    await db.bulkCreate('work', Array.from({ length: 1000 }, (_, at) => ({ id: `w${at}`, key: `K${at}`, owner: `o${at % 10}`, due: day(at), lines: [{ price: at }, { price: at * 2 }] })));
  });
  return { ...all, tab };
}

test('an index serves equality, order and counting, and looks at no more than it returns', async (t) => {
  const { tab } = await start(t);
  const query = { where: { owner: 'o3', due: { $gte: '2026-06-01' } }, orderBy: [{ field: 'due', order: 'desc' }], limit: 7 };
  const { rows, explained, all, count } = await tab.evaluate(async (query) => ({
    rows: await db.find('work', query),
    explained: await db.explain('work', query),
    all: await db.find('work'),
    count: await db.count('work', { owner: 'o3' }),
  }), query);
  const expected = all.filter(({ owner, due }) => owner === 'o3' && due >= '2026-06-01').sort((a, b) => (a.due < b.due ? 1 : -1)).slice(0, 7);
  assert.deepEqual(rows, expected);
  assert.deepEqual(explained, { index: ['owner', 'due'], sortedByIndex: true, rowsExamined: 7, rowsReturned: 7 });
  assert.equal(count, 100);
});

test('pages that follow each other by a cursor are all of it, though records come and go in between', async (t) => {
  const { tab } = await start(t);
  const { seen, left } = await tab.evaluate(async () => {
    const left = (await db.find('work', { where: { 'lines.price': { $lt: 100 } } })).map(({ id }) => id);
    const seen = [];
    let cursor;
    for (let page = 0; ; page++) {
      const rows = await db.find('work', { where: { 'lines.price': { $lt: 100 } }, orderBy: [{ field: 'owner' }, { field: 'id' }], limit: 9, cursor });
      if (rows.length === 0) break;
      seen.push(...rows.map(({ id }) => id));
      const { owner, id } = rows.at(-1);
      cursor = { owner, id };
      await db.create('work', { owner: '', key: `new ${page}`, lines: [{ price: 0 }] });
      await db.delete('work', id);
    }
    return { seen, left };
  });
  assert.deepEqual(seen.toSorted(), left.toSorted());
});

test('what did not change is the same frozen object in every read and live query', async (t) => {
  const { tab } = await start(t);
  const result = await tab.evaluate(async () => {
    const results = [];
    db.liveQuery('work', { where: { owner: 'o1' }, orderBy: [{ field: 'due' }] }).subscribe((result) => results.push(result));
    const [first, second] = results[0].rows;
    const isShared = (await db.get('work', first.id)) === first && (await db.find('work', { where: { key: first.key } }))[0] === first;
    const isFrozen = Object.isFrozen(first) && Object.isFrozen(first.lines[0]);
    await db.update('work', second.id, { due: '2030-01-01T00:00:00.000Z' });
    await db.update('work', 'w2', { due: '2030-01-01T00:00:00.000Z' });
    await db.delete('work', first.id);
    const stays = (await db.get('work', 'w11')) === results[0].rows.find(({ id }) => id === 'w11');
    const names = ['added', 'changed', 'removed', 'moved'];
    const told = results.map((result) => names.map((name) => result[name].length));
    return { told, isShared, isFrozen, stays, last: results.at(-1).rows.at(-1).id === second.id, gone: await db.get('work', first.id) };
  });
  // One result for each commit that changed it, and none for the commit of another person's work.
  assert.deepEqual(result, { told: [[100, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]], isShared: true, isFrozen: true, stays: true, last: true, gone: undefined });
});

test('a value that only one record may have is refused with a code, also right after another tab took it', async (t) => {
  const { tab, openTab } = await start(t);
  const other = await openTab();
  await other.evaluate(async () => {
    window.db = await openDb({ objects: [{ name: 'work', fields: { key: { type: 'text', unique: true }, owner: { type: 'text' }, due: { type: 'datetime' }, lines: { type: 'json' } }, indexes: { owner: { fields: ['owner', 'due'] } } }] });
  });
  const take = (page) => page.evaluate(() => codeOf(db.create('work', { key: 'the one' })));
  assert.deepEqual((await Promise.all([take(tab), take(other)])).sort(), ['UNIQUE_VIOLATION', 'none']);
  assert.equal(await tab.evaluate(() => codeOf(db.update('work', 'w5', { key: 'K6' }))), 'UNIQUE_VIOLATION');
  assert.equal(await other.evaluate(() => db.count('work', { key: 'the one' })), 1);
});

/** Titles in several scripts, and what is found in them, in the order in which they came. */
const TITLES = { german: 'Größe messen', turkish: 'İstanbul gezisi', japanese: '東京タワー', chinese: '東京と京都', russian: 'Привет, мир', hindi: 'नमस्ते १२', greek: 'Ⅷ ΑΘΗΝΑ', emoji: 'a😀b' };
const SEARCHES = {
  größe: ['german'], GRÖẞE: ['german'], Gr: ['german'], grosse: [], 'messen größe': ['german'],
  istanbul: ['turkish'], İSTANBUL: ['turkish'], ıstanbul: [],
  東京: ['japanese', 'chinese'], 都: ['chinese'], タ: ['japanese'], '京 と': ['chinese'],
  привет: ['russian'], 'МИР ПРИВ': ['russian'], вет: [],
  नमस: ['hindi'], '१': ['hindi'], αθη: ['greek'], ⅷ: ['greek'], b: ['emoji'],
};

/** What a database tells of people and their work while that changes. Runs in a page and in Node.js. */
async function lookAround(db, titles, searches) {
  const plain = (value) => JSON.parse(JSON.stringify(value, (key, inner) => (key === 'created_at' || key === 'updated_at' ? undefined : inner)));
  await db.bulkCreate('person', [{ id: 'p0', name: 'Ägnes' }, { id: 'p1', name: 'Юля' }, { id: 'p2', name: '京子' }]);
  await db.bulkCreate('work', Object.entries(titles).map(([id, title], at) => ({ id, title, owner: `p${at % 3}`, points: at / 10, due: new Date(Date.UTC(2026, at, 31 - at)) })));
  const results = [];
  const follow = (object, query) => {
    const told = [];
    results.push(told);
    db.liveQuery(object, query).subscribe((result) => told.push(plain(result)), ({ code }) => told.push(code));
  };
  follow('work', { where: { points: { $gte: 0.2 } }, orderBy: [{ field: 'title', order: 'desc' }], limit: 4, expand: { owner: { fields: ['name'] } } });
  follow('person', { expand: { work: { where: { points: { $lt: 0.9 } }, orderBy: [{ field: 'title' }], limit: 2 } } });
  follow('work', { search: '京', expand: { owner: true } });
  follow('work', { search: { query: 'größe ПРИВ', operator: 'or' }, fields: ['title'] });
  await db.update('person', 'p2', { name: 'Ωmega' });
  await db.transaction(async (tx) => {
    await tx.updateMany('work', { owner: 'p1' }, { owner: 'p0', points: 1 });
    await tx.create('work', { id: 'new', title: 'größer als 京', owner: 'p2', points: 0.5 });
  });
  await db.deleteMany('work', { title: { $startsWith: 'Gr' } });
  await db.undo();
  const found = {};
  for (const search of searches) found[search] = (await db.find('work', { search, orderBy: [{ field: 'points' }], where: { id: { $ne: 'new' } } })).map(({ id }) => id);
  const aggregations = [{ function: 'count', alias: 'count' }, { function: 'avg', field: 'points', alias: 'avg' }, { function: 'string_agg', field: 'title', alias: 'titles', separator: ' · ' }, { function: 'max', field: 'title', alias: 'last' }];
  const groups = await db.aggregate('work', { groupBy: ['owner', { field: 'due', dateGranularity: 'quarter', alias: 'quarter' }], aggregations, orderBy: [{ field: 'quarter' }, { field: 'owner' }] });
  const expanded = plain(await db.find('work', { orderBy: [{ field: 'id' }], expand: { owner: { expand: { work: { fields: ['title'] } } } } }));
  return { results, found, groups, expanded, distinct: await db.distinct('work', 'owner') };
}

test('live queries with expand, search in any script and groups give in a page what they give in Node.js', async (t) => {
  const { openTab } = await world(t);
  const text = { type: 'text' };
  const objects = [
    { name: 'person', fields: { name: text } },
    { name: 'work', fields: { title: text, owner: { type: 'lookup', reference_to: 'person' }, points: { type: 'number' }, due: { type: 'datetime' } } },
  ];
  const db = await openDatabase({ name: 'beside', objects, storage: 'memory' });
  const inNode = await lookAround(db, TITLES, Object.keys(SEARCHES));
  await db.destroy();
  const inPage = await (await openTab()).evaluate(async ([objects, task, ...args]) => (0, eval)(`(${task})`)(await openDb({ objects }), ...args), [objects, String(lookAround), TITLES, Object.keys(SEARCHES)]);
  assert.deepEqual(inPage, inNode);
  const sorted = (found) => Object.fromEntries(Object.entries(found).map(([search, ids]) => [search, ids.toSorted()]));
  assert.deepEqual(sorted(inPage.found), sorted(SEARCHES));
  // Each commit that changed a result gave one, beside the first.
  assert.deepEqual(inPage.results.map((told) => told.length), [2, 5, 3, 4]);
});

for (const how of ['a query', 'a live query']) {
  test(`while ${how} brings many records that the page does not know, other tasks of it run, and it has them all in the end`, async (t) => {
    const { tab } = await start(t);
    const { tasks, known, first, second, counts } = await tab.evaluate(async (how) => {
      const text = 'x'.repeat(1000);
      for (let at = 0; at < 10; at++) await db.bulkCreate('work', Array.from({ length: 500 }, (_, place) => ({ id: `many ${at * 500 + place}`, key: `many ${at * 500 + place}`, owner: 'many', lines: text })));
      const query = { where: { owner: 'many' } };
      let tasks = 0;
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => port2.postMessage(++tasks);
      const counts = [];
      const find = () => (how === 'a query' ? db.find('work', query) : new Promise((resolve, reject) => {
        db.liveQuery('work', query).subscribe(({ rows }) => { counts.push(rows.length); resolve(rows); }, reject);
      }));
      port2.postMessage(0);
      const finding = find();
      // The first portion is there: one of the records changes before the last one is.
      const changing = db.update('work', 'many 4999', { owner: 'another' });
      const first = await finding;
      const needed = tasks;
      await changing;
      const second = await db.find('work', query);
      await until(() => how === 'a query' || counts.at(-1) === 4999, 'the live query shows the change');
      port1.close();
      return { tasks: needed, known: first.filter((row) => second.includes(row)).length, first: first.length, second: second.length, counts };
    }, how);
    assert.ok(tasks >= 4, `${tasks} other tasks ran`);
    assert.ok(first === 5000 || first === 4999, `${first} records`);
    assert.equal(second, 4999);
    assert.equal(known, 4999);
    assert.ok(!counts.includes(0), `${counts}: an empty result was shown`);
  });
}

for (const worker of [false, 'dedicated']) {
  test(`a live query waits for many records and for what they are related to, none of which is in memory${worker ? ', in a worker' : ''}`, async (t) => {
    const { openTab } = await world(t);
    const objects = [
      { name: 'work', fields: { owner: { type: 'lookup', reference_to: 'person' }, text: { type: 'text' } } },
      { name: 'person', fields: { name: { type: 'text' } } },
    ];
    const filler = await openTab();
    await filler.evaluate(async (objects) => {
      const db = await openDb({ objects });
      await db.bulkCreate('person', Array.from({ length: 3000 }, (_, at) => ({ id: `p${at}`, name: 'n'.repeat(1000) })));
      for (let from = 0; from < 3000; from += 1000) await db.bulkCreate('work', Array.from({ length: 1000 }, (_, at) => ({ id: from + at, owner: `p${from + at}`, text: 'x'.repeat(1000) })));
      // Rows are read at opening; what is in segments is not.
      const rows = () => new Promise((resolve) => {
        const opening = indexedDB.open(db.name);
        opening.onsuccess = () => {
          const counting = opening.result.transaction('log').objectStore('log').count();
          counting.onsuccess = () => resolve(counting.result);
          opening.result.close();
        };
      });
      await until(async () => (await rows()) === 1, 'the rows are segments');
      await db.close();
    }, objects);
    await filler.close();
    const tab = await openTab();
    assert.deepEqual(await tab.evaluate(async ({ objects, worker }) => {
      const db = await openDb({ objects, worker });
      const seen = [];
      const rows = await new Promise((resolve, reject) => {
        db.liveQuery('work', { orderBy: [{ field: 'id' }], expand: { owner: true } }).subscribe(({ rows }) => { seen.push(rows.length); resolve(rows); }, reject);
      });
      return [seen[0], rows.every(({ id, owner }) => owner.id === `p${id}`)];
    }, { objects, worker }), [3000, true]);
  });
}
