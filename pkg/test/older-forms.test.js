// The older forms of a query, and what they are in the newer one: the driver knows that one only.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openDatabase } from '../dist/index.js';
import { encodeAggregation, encodeQuery, encodeWhere } from '../dist/queries.js';

const newer = (query) => JSON.parse(encodeQuery(query).json);
const where = (filters) => newer({ filters }).where;

function refused(query, message) {
  assert.throws(() => encodeQuery(query), (error) => {
    assert.equal(error.code, 'INVALID_QUERY', error.message);
    assert.match(error.message, message);
    return true;
  });
}

test('a comparison is a field with an operator, by any of its names', () => {
  const cases = {
    $eq: ['=', '==', 'eq', 'equals', 'EQUALS'],
    $ne: ['!=', '<>', 'ne', 'neq', 'not_equals', 'notequals', 'not equals'],
    $gt: ['>', 'gt', 'greater_than', 'greaterthan', 'after'],
    $gte: ['>=', 'gte', 'greater_than_or_equal', 'greaterThanOrEqual', 'greaterorequal'],
    $lt: ['<', 'lt', 'less_than', 'lessThan', 'before'],
    $lte: ['<=', 'lte', 'less_than_or_equal', 'lessthanorequal', 'lessorequal'],
    $in: ['in'],
    $nin: ['nin', 'not_in', 'notin', 'not in', 'Not In'],
    $between: ['between'],
    $contains: ['contains'],
    $icontains: ['icontains'],
    $notContains: ['notcontains', 'not_contains', 'notContains'],
    $startsWith: ['startswith', 'starts_with', 'startsWith'],
    $endsWith: ['endswith', 'ends_with', 'endsWith'],
  };
  for (const [operator, names] of Object.entries(cases)) {
    for (const name of names) assert.deepEqual(where(['a', name, [1]]), { a: { [operator]: [1] } }, name);
  }
  for (const name of ['is_null', 'isnull', 'isNull', 'is null', 'is_empty', 'isempty']) {
    for (const value of [[], [true], [null]]) assert.deepEqual(where(['a', name, ...value]), { a: { $null: true } }, name);
  }
  for (const name of ['is_not_null', 'isnotnull', 'is not null', 'is_not_empty', 'isNotEmpty']) {
    for (const value of [[], [true]]) assert.deepEqual(where(['a', name, ...value]), { a: { $null: false } }, name);
  }
});

test('values are those of the newer form: null, dates, references to other fields', () => {
  assert.deepEqual(where(['a', '=', null]), { a: { $eq: null } });
  assert.deepEqual(where(['due', '<', new Date(0)]), { due: { $lt: '1970-01-01T00:00:00.000Z' } });
  assert.deepEqual(where(['a', '=', { $field: 'b' }]), { a: { $eq: { $field: 'b' } } });
  assert.equal(encodeWhere(['__proto__', '=', 1]), '{"__proto__":{"$eq":1}}');
});

test('lists are joined by the word between or before their conditions, and by and without one', () => {
  const [a, b, c] = [['a', '=', 1], ['b', '>', 2], ['c', '<', 3]];
  const [newA, newB, newC] = [{ a: { $eq: 1 } }, { b: { $gt: 2 } }, { c: { $lt: 3 } }];
  const cases = [
    [[a, 'and', b], { $and: [newA, newB] }],
    [[a, 'OR', b, 'or', c], { $or: [newA, newB, newC] }],
    [[a, b, c], { $and: [newA, newB, newC] }],
    [['and', a, b], { $and: [newA, newB] }],
    [['or', a, b, c], { $or: [newA, newB, newC] }],
    [[a], newA],
    [['or', a], newA],
    [[[a, 'or', b], 'and', c], { $and: [{ $or: [newA, newB] }, newC] }],
    [['or', a, ['and', b, c]], { $or: [newA, { $and: [newB, newC] }] }],
    [[a, 'and', { b: { $gt: 2 } }], { $and: [newA, newB] }],
    [{ a: 1 }, { a: 1 }],
  ];
  for (const [older, expected] of cases) {
    assert.deepEqual(where(older), expected);
    assert.deepEqual(newer({ where: older }).where, expected);
    assert.deepEqual(JSON.parse(encodeWhere(older)), expected);
  }
  for (const none of [[], null, undefined]) {
    assert.deepEqual(newer({ filters: none }), {});
    assert.equal(encodeWhere(none), '{}');
  }
});

test('a sort is an order, in any of its forms', () => {
  const key = (field, order = 'asc') => ({ field, order });
  const cases = [
    ['name', [key('name')]],
    ['-name', [key('name', 'desc')]],
    ['name DESC, -due,age asc', [key('name', 'desc'), key('due', 'desc'), key('age')]],
    ['US Gross', [key('US Gross')]],
    [[['created_at', 'desc'], 'name'], [key('created_at', 'desc'), key('name')]],
    [[['a'], ['b', 'ASC'], ['c', -1]], [key('a'), key('b'), key('c', 'desc')]],
    [['-a', 'b desc'], [key('a', 'desc'), key('b', 'desc')]],
    [[{ field: 'a', order: 'desc' }, { field: 'b' }], [key('a', 'desc'), { field: 'b' }]],
    [{ a: 'desc', b: 1, c: -1 }, [key('a', 'desc'), key('b'), key('c', 'desc')]],
  ];
  for (const [sort, expected] of cases) assert.deepEqual(newer({ sort }), { orderBy: expected });
  assert.deepEqual(newer({ skip: 5 }), { offset: 5 });
});

test('what is said in both forms is refused', () => {
  refused({ filters: [['a', '=', 1]], where: { a: 1 } }, /^filters is the older name of where: leave one of them out$/);
  refused({ sort: 'a', orderBy: [{ field: 'a' }] }, /^sort is the older name of orderBy/);
  refused({ skip: 1, offset: 1 }, /^skip is the older name of offset/);
  assert.deepEqual(newer({ filters: null, where: { a: 1 }, sort: undefined, orderBy: [] }), { where: { a: 1 }, orderBy: [] });
});

test('what is not understood is refused, with what to write', () => {
  const [a, b] = [['a', '=', 1], ['b', '=', 2]];
  refused({ filters: ['a', 'like', 'x'] }, /^a filter has no operator "like" \(field a\): use one of = != > >= < <= in notin between contains/);
  for (const filters of [['a'], ['a', 5, 1], ['a', 'null', true], ['a', '$eq', 1]]) refused({ filters }, /^a filter has no operator/);
  refused({ filters: [a, 'or', b, 'and', a] }, /'and' as well as 'or': put what belongs together into a list of its own$/);
  const cycle = [];
  cycle.push(cycle);
  for (const filters of [
    ['a', '='], ['a', '=', 1, 2], ['a', 'in', undefined], ['a', 'is_null', false], ['a', 'is_null', true, 1],
    ['and'], [a, 'and'], [a, 'and', 'and', b], [a, b, 'and', a], ['and', a, 'and', b],
    [1], [[]], [a, null], [a, 'and', 'b', b], cycle,
  ]) {
    refused({ filters }, /^a filter (must be \[field, operator, value\], or a list of such|has no operator undefined \(field b\))/);
  }
  refused({ where: [['a', '=', { x: undefined }]] }, /undefined: leave it out, or say null/);
  refused({ filters: 5, where: 5 }, /older name/);
  for (const sort of [5, true, '', 'a,,b', '-a desc', ['a', 'desc'], [['a', 'down']], [['a', 'asc', 1]], [[5]], { a: 'up' }]) {
    refused({ sort }, /^sort must be 'a', '-a', /);
  }
});

test('a value of a query may leave out what it likes, but a filter nothing, wherever it stands', () => {
  assert.equal(encodeAggregation({ groupBy: ['a'], limit: undefined }), '{"groupBy":["a"]}');
  refused({ having: { n: undefined } }, /^having\.n is undefined/);
  refused({ aggregations: [{ filter: { n: undefined } }] }, /^aggregations\[0\]\.filter\.n is undefined/);
  assert.throws(() => encodeAggregation({ fields: ['a'] }), { code: 'INVALID_QUERY' });
});

test('the driver finds by the older forms what it finds by the newer ones', async () => {
  const db = await openDatabase({ name: 'older-forms', storage: 'memory', objects: [{ name: 'story' }] });
  await db.bulkCreate('story', [{ id: 1, status: 'open', points: 3 }, { id: 2, status: 'open', points: 1 }, { id: 3, status: 'done' }]);
  const ids = async (query) => (await db.find('story', query)).map(({ id }) => id).join('');
  assert.equal(await ids({ filters: [['status', '=', 'open'], 'and', ['points', '>', 2]] }), '1');
  assert.equal(await ids({ where: [['points', 'is_null'], 'or', ['points', 'between', [2, 4]]], sort: [['status', 'desc'], '-id'] }), '13');
  assert.equal(await ids({ sort: '-id', skip: 1, limit: 1 }), '2');
  assert.equal(await db.count('story', ['status', 'not in', ['done']]), 2);
  assert.equal((await db.findOne('story', { filters: { status: 'done' } })).id, 3);
  assert.equal((await db.explain('story', { filters: ['id', '=', 2] })).rowsExamined, 1);
  const seen = [];
  db.liveQuery('story', { filters: ['status', '=', 'done'] }).subscribe(({ rows }) => seen.push(rows.length));
  assert.deepEqual(seen, [1]);
  await assert.rejects(db.find('story', { filters: ['status', '~', 'x'] }), { code: 'INVALID_QUERY' });
  await assert.rejects(db.find('story', { sort: [{ field: 'id', direction: 'desc' }] }), { code: 'INVALID_QUERY' });
  await db.destroy();
});
