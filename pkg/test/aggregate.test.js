// Groups, distinct values and search through the whole package: the real driver, on a log in memory.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openDatabase } from '../dist/index.js';

const fields = { title: { type: 'text' }, status: { type: 'text' }, points: { type: 'number' }, due: { type: 'date' }, urgent: { type: 'boolean' } };
let db;
before(async () => {
  db = await openDatabase({ name: 'aggregate', storage: 'memory', objects: [{ name: 'story', fields }] });
  await db.bulkCreate('story', [
    { id: 1, title: 'Ship the boat', status: 'open', points: 1, due: '2026-01-31', urgent: true },
    { id: 2, title: 'Shop', status: 'open', due: '2026-02-01' },
    { id: 3, title: 'A boat, again', status: 'done', points: 5, due: '2026-02-28', urgent: false },
    { id: 4, title: 'Nothing' },
  ]);
});
after(() => db.destroy());

const refuses = (promise, message) => assert.rejects(promise, (error) => error.code === 'INVALID_QUERY' && message.test(error.message));

test('records are counted, added and joined by group', async () => {
  const rows = await db.aggregate('story', {
    groupBy: ['status'],
    aggregations: [
      { function: 'count', alias: 'n' },
      { function: 'count', alias: 'late', filter: { due: { $lt: '2026-02-15' } } },
      { function: 'sum', field: 'points', alias: 'sum' },
      { function: 'avg', field: 'points', alias: 'avg' },
      { function: 'max', field: 'due', alias: 'last' },
      { function: 'max', field: 'urgent', alias: 'urgent' },
      { function: 'array_agg', field: 'points', alias: 'points' },
      { function: 'string_agg', field: 'title', alias: 'titles', separator: ' + ' },
    ],
  });
  assert.deepEqual(rows, [
    { status: 'open', n: 2, late: 2, sum: 1, avg: 1, last: '2026-02-01', urgent: 1, points: [1], titles: 'Ship the boat + Shop' },
    { status: 'done', n: 1, late: 0, sum: 5, avg: 5, last: '2026-02-28', urgent: 0, points: [5], titles: 'A boat, again' },
    { status: null, n: 1, late: 0, sum: 0, avg: null, last: null, urgent: null, points: [], titles: 'Nothing' },
  ]);
});

test('groups are made by periods, chosen by having, and ordered', async () => {
  const query = { groupBy: [{ field: 'due', dateGranularity: 'month', alias: 'month' }], aggregations: [{ function: 'count', alias: 'n' }] };
  const months = (more) => db.aggregate('story', { where: { due: { $null: false } }, ...query, ...more });
  assert.deepEqual(await months({ orderBy: [{ field: 'n', order: 'desc' }] }), [{ month: '2026-02', n: 2 }, { month: '2026-01', n: 1 }]);
  assert.deepEqual(await months({ having: { n: { $lt: 2 } } }), [{ month: '2026-01', n: 1 }]);
  assert.deepEqual(await months({ limit: 1, offset: 1 }), [{ month: '2026-02', n: 2 }]);
  assert.deepEqual(await db.aggregate('story', { filters: ['id', '<', 3], aggregations: [{ function: 'count', alias: 'n' }] }), [{ n: 2 }]);
});

test('distinct values are those that there are, in the order in which they came', async () => {
  assert.deepEqual(await db.distinct('story', 'status'), ['open', 'done']);
  assert.deepEqual(await db.distinct('story', 'status', { points: { $gt: 1 } }), ['done']);
  assert.deepEqual(await db.distinct('story', 'status', ['points', '>', 1]), ['done']);
});

test('a search finds words by their beginnings, the best first', async () => {
  const ids = async (query) => (await db.find('story', query)).map(({ id }) => id).join('');
  assert.equal(await ids({ search: 'sh' }), '12');
  assert.equal(await ids({ search: 'boat ship' }), '1');
  assert.equal(await ids({ search: { query: 'shop again', operator: 'or' } }), '23');
  assert.equal(await ids({ search: 'open', searchFields: ['title'] }), '');
  assert.equal(await ids({ search: 'boat', where: { status: 'done' } }), '3');
  assert.equal(await ids({ where: { title: { $icontains: 'BOAT' } } }), '13');
});

test('what cannot be computed is refused', async () => {
  await refuses(db.aggregate('story', {}), /needs groupBy or aggregations/);
  await refuses(db.aggregate('story', { groupBy: ['status'], fields: ['status'] }), /^aggregate has no fields and no expand/);
  await refuses(db.aggregate('story', { aggregations: [{ function: 'median', field: 'points', alias: 'm' }] }), /no aggregate function median/);
  await refuses(db.aggregate('story', { aggregations: [{ function: 'count', alias: 'n', filter: { due: undefined } }] }), /^aggregations\[0\]\.filter\.due is undefined/);
  await refuses(db.distinct('story', undefined), /a field's name must be a string/);
  await assert.rejects(db.distinct('nothing', 'x'), { code: 'UNKNOWN_OBJECT' });
});
