// Reading in a real page: indexes, shared records, live queries, values that only one record may have.
import assert from 'node:assert/strict';
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
