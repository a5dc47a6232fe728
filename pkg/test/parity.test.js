// The same operations on this package's driver and on `@objectstack/driver-memory`, the reference of the engine's authors: what comes out,
// and what is there afterwards, must be the same, but for the differences that are listed with their reasons. A difference that is not
// listed fails, and so does one that is listed and is not there.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { InMemoryDriver } from '@objectstack/driver-memory';
import { OfflineDriver } from '../dist/object-driver/index.js';

/** What is different and why, as `docs/driver.md` has it; and by which operations it shows. */
const DIFFERENCES = [
  {
    what: 'an id that is a number',
    theirs: 'stays a number',
    ours: 'becomes text',
    why: 'the contract asks for ids as text. `7` and `\'7\'` are one record to the driver; in the database, which other writers may use, they are two',
    operations: ['create with a number as id', 'update of a record with a number as id'],
  },
  {
    what: 'a create with an id that is taken',
    theirs: 'makes a second record of that id',
    ours: '`ALREADY_EXISTS`, status 409; a duplicate to the engine',
    why: 'an id is what a record is found, changed and synced by',
    operations: ['create with an id that is taken', 'bulkCreate with an id that is taken'],
  },
  {
    what: '`created_at`, `updated_at` in what is written',
    theirs: 'taken by a create',
    ours: 'not looked at',
    why: 'they are of the mutation, whose time the server may correct. The engine\'s `preserveAudit` has no effect for that reason',
    operations: ['create with times of its own'],
  },
  {
    what: 'another `id` in a change',
    theirs: 'passed over by `update`, written to every record by `updateMany`',
    ours: '`INVALID_ID`, status 400',
    why: 'a record keeps its id; what cannot be done is refused',
    operations: ['update with another id', 'updateMany with an id'],
  },
  {
    what: '`undefined` in a change',
    theirs: 'takes the field away',
    ours: 'leaves the field as it is; `null` clears it',
    why: 'mutations are JSON, which has no `undefined`',
    operations: ['update of undefined'],
  },
  {
    what: '`NaN`, a function and the like in what is written',
    theirs: 'kept',
    ours: '`INVALID_VALUE`, status 400',
    why: 'records are JSON, on disk and on the wire',
    operations: ['create with NaN', 'create with a function'],
  },
  {
    what: 'one record twice in `bulkUpdate`',
    theirs: 'the second change undoes the first',
    ours: 'both are made, in order',
    why: 'each is a mutation of the record as it then is',
    operations: ['bulkUpdate of one twice'],
  },
  {
    what: 'a `bulkUpdate` that exchanges two unique values',
    theirs: 'done',
    ours: '`UNIQUE_VIOLATION`, status 409',
    why: 'mutations go to the server one after the other, and each must hold when it arrives; SQL sees it that way, too',
    operations: ['bulkUpdate that exchanges two codes'],
  },
  {
    what: '`limit`, `orderBy` of `updateMany` and `deleteMany`',
    theirs: 'passed over: all that match are written',
    ours: 'honoured',
    why: 'more than was asked for would be changed',
    operations: ['updateMany with a limit', 'deleteMany with a limit'],
  },
  {
    what: 'what is done beside an open transaction',
    theirs: 'sees what the transaction wrote, and is undone by its rollback',
    ours: 'neither',
    why: 'a transaction is its own until it is committed, as one commit. Where what it read was changed meanwhile, that fails with `TRANSACTION_CONFLICT`',
    operations: ['a read beside a transaction', 'a write beside a transaction that is rolled back'],
  },
  {
    what: 'committing what is no transaction',
    theirs: 'does nothing',
    ours: '`INVALID_OPTIONS`, status 400',
    why: 'somebody believes that something was committed',
    operations: ['an end of no transaction'],
  },
  {
    what: 'a value for a field that holds a list: `{ tags: \'x\' }`',
    theirs: 'matches lists with that element',
    ours: 'matches that very value; `{ tags: { $contains: \'x\' } }` is for elements',
    why: 'equality is the same for every field, so that indexes serve it',
    operations: ['where: one of a list', 'count: one of a list'],
  },
  {
    what: 'a list for a field: `{ tags: [\'x\'] }`',
    theirs: '`INVALID_FILTER`',
    ours: 'matches that very list',
    why: 'JSON has an equality',
    operations: ['where: a whole list', 'count: a whole list', 'refused: $eq of a list'],
  },
  {
    what: '`$startsWith`, `$endsWith` over a list',
    theirs: 'match lists with such an element',
    ours: 'match text only',
    why: 'as the specification says: a value that is no text has no beginning',
    operations: ['tags $startsWith x'],
  },
  {
    what: '`{ $field: \'other\' }` as a value',
    theirs: 'is compared as an object, and matches nothing',
    ours: 'the value of the other field',
    why: 'the specification has it',
    operations: ['where: another field', 'count: another field'],
  },
  {
    what: '`$like`, `$ilike` with `_`, or with `%` in the middle',
    theirs: 'matched',
    ours: '`INVALID_FILTER`, status 400. `text`, `text%`, `%text`, `%text%`, and for `$ilike` the last, are understood',
    why: 'the database has no patterns; what they say otherwise is `$startsWith`, `$endsWith`, `$contains`, `$icontains`',
    operations: ['title $like Alph_', 'title $like A%a', 'title $ilike alpha%', 'title $ilike ALPHA'],
  },
  {
    what: 'an operand of the wrong kind: `$exists: \'true\'`, `$contains: 100`, `$in: \'a\'`',
    theirs: 'taken for something, or an error without a code',
    ours: '`INVALID_FILTER`, status 400',
    why: 'it would match other records than it was to',
    operations: ['refused: $exists of text', 'refused: $contains of a number', 'refused: $in of no list'],
  },
  {
    what: 'a filter of the older form: `[[\'status\', \'=\', \'open\']]`',
    theirs: '`INVALID_FILTER`',
    ours: 'understood',
    why: 'the package understands it everywhere. The engine turns it into the newer form itself',
    operations: ['refused: a list of conditions'],
  },
  {
    what: 'order by a field that holds lists or objects',
    theirs: 'by what JavaScript makes text of',
    ours: 'by their JSON text',
    why: 'JavaScript has `[object Object]` for all',
    operations: ['order by tags asc', 'order by tags desc', 'order by place asc', 'order by place desc'],
  },
  {
    what: 'a path in `fields`: `[\'place.city\']`',
    theirs: 'a column of that name',
    ours: 'no such field',
    why: 'the engine refuses it before it comes to a driver',
    operations: ['a path as a field'],
  },
  {
    what: '`groupBy`, `aggregations` in `find`',
    theirs: 'groups',
    ours: 'the records',
    why: 'the engine hands them over with a read whose rows it groups itself, where it does not leave that to `aggregate`',
    operations: ['groups in a find'],
  },
  {
    what: '`distinct` of lists and objects',
    theirs: 'each for itself',
    ours: 'equal ones once',
    why: 'JSON has an equality',
    operations: ['distinct tags', 'distinct tags of some'],
  },
  {
    what: 'a group of records without the field',
    theirs: 'a row without the column; of a path, with nested columns',
    ours: 'null; one column of that name',
    why: 'the specification asks for null, and `having` finds columns by name',
    operations: ['two groups', 'groups of a path'],
  },
  {
    what: '`dateGranularity`, `having`, `array_agg`, `string_agg`, the `filter` of an aggregation',
    theirs: 'passed over, or refused',
    ours: 'computed',
    why: 'they are in the specification. With driver-memory the engine groups by dates itself, and a filter fails',
    operations: ['groups by month', 'a filter of an aggregation', 'array_agg', 'string_agg', 'having'],
  },
  {
    what: 'an object that nobody defined',
    theirs: 'is made when it is named',
    ours: '`UNKNOWN_OBJECT`, status 404; a missing table to the engine',
    why: 'a misspelled name would be an empty object',
    operations: ['an object that nobody defined'],
  },
  {
    what: '`execute`',
    theirs: 'null',
    ours: '`INVALID_QUERY`, status 400',
    why: 'nothing was executed',
    operations: ['execute'],
  },
  {
    what: 'a call for a tenant',
    theirs: 'refused with a code of its own',
    ours: '`INVALID_OPTIONS`, status 400, but for the tenant that the driver was given',
    why: 'a database in a browser has the records of one',
    operations: ['a call for a tenant'],
  },
  {
    what: '`disconnect`',
    theirs: 'forgets everything',
    ours: 'closes the database; the next call opens it again',
    why: 'what was written is on disk, or with `storage: \'memory\'` there until `clear()`',
    operations: ['disconnect'],
  },
];

const schema = {
  fields: {
    title: { type: 'text' },
    code: { type: 'text', unique: true },
    status: { type: 'select', options: [{ label: 'Open', value: 'open' }, { label: 'Done', value: 'done' }] },
    points: { type: 'number' },
    flag: { type: 'boolean' },
    due: { type: 'datetime' },
    day: { type: 'date' },
    at: { type: 'time' },
    tags: { type: 'tags' },
    place: { type: 'json' },
    owner: { type: 'lookup', reference: 'item' },
    row: { type: 'text' },
    seat: { type: 'number' },
  },
  indexes: [{ name: 'row_seat', fields: ['row', 'seat'], unique: true }],
};

/** Values, nulls and absent fields of every kind. */
const rows = [
  { id: 'a', title: 'Alpha', code: 'A', status: 'open', points: 3, flag: true, due: '2026-07-27T14:00:00.000Z', day: '2026-07-27', at: '08:00:00', tags: ['x'], place: { city: 'Bern', zip: 3000 } },
  { id: 'b', title: 'beta', code: 'B', status: 'done', points: 1, flag: false, due: '2026-07-28T00:00:00.000Z', day: '2026-07-28', at: '09:30:00', tags: ['x', 'y'], owner: 'a' },
  { id: 'c', title: 'Gamma', code: 'C', status: 'open', points: 2.5, flag: false, due: '2026-07-28T09:15:00.000Z', day: '2026-07-28', at: '14:30:00', owner: 'a', row: 'A', seat: 1 },
  { id: 'd', title: 'delta 100%', code: 'D', status: null, points: null, flag: null, due: null, day: null, at: null, tags: [], owner: null, row: 'A', seat: 2 },
  { id: 'e', title: 'Épsilon', code: 'E', status: 'done', points: 0, flag: true, due: '2026-07-28T23:59:59.999Z', day: '2026-07-28', at: '14:30:00.500', place: { city: 'Basel', zip: 4000 } },
  { id: 'f', title: '', code: 'F', status: 'open', points: -4, flag: true, due: '2026-07-29T00:00:00.000Z', day: '2026-07-29', at: '23:59:59', owner: 'b' },
  { id: 'g', title: 'alpha beta', points: 3, place: { city: null } },
  { id: 'h' },
  { id: 'i', title: 'Alpha', code: 'I', status: 'done', points: 10, flag: false, due: '2027-01-01T00:00:00.000Z', day: '2027-01-01', at: '00:00:00', tags: ['y', 'z'], owner: 'e', row: 'B', seat: 1 },
  { id: 'j', title: 'a_b.c', code: 'J', status: 'open', points: 100, due: '1969-12-31T23:00:00.000Z', day: '1969-12-31', at: '12:00:00', row: 'B' },
  { id: 'k', title: '日本 𝒳', code: 'K', status: 'done', points: 3, flag: true, due: '2024-02-29T12:00:00.000Z', day: '2024-02-29', at: '12:00:00' },
  { id: 'l', title: 'Omega', code: 'L', status: 'open', points: 7, flag: false, due: '2026-07-31T10:00:00.000Z', day: '2026-07-31', at: '07:45:00', tags: ['x'], owner: 'l' },
];

/** The operations: a name, what is called, and whether records are written by it. */
const operations = [];
const read = (name, ...calls) => operations.push({ name, calls, isWrite: false });
const write = (name, ...calls) => operations.push({ name, calls, isWrite: true });
const find = (name, query) => read(name, (driver) => driver.find('item', query));

// Filters: each operator over each kind of field.
const comparands = {
  title: ['Alpha', 'beta', '', 'nobody'],
  status: ['open', 'done'],
  points: [3, 0, -4, 2.5],
  flag: [true, false],
  due: ['2026-07-28', '2026-07-28T09:15:00.000Z', '2026-07-28 09:15', '1969-12-31'],
  day: ['2026-07-28', '2024-02-29'],
  at: ['14:30:00', '14:30', '12:00:00'],
  owner: ['a'],
  'place.city': ['Bern', 'Basel'],
  id: ['a', 'nobody'],
};
for (const [field, values] of Object.entries(comparands)) {
  for (const value of values) {
    find(`${field} = ${value}`, { where: { [field]: value } });
    for (const operator of ['$ne', '$gt', '$gte', '$lt', '$lte']) {
      // Order is not asked of ids and of what is true or false.
      if (operator !== '$ne' && (field === 'flag' || field === 'id' || field === 'owner')) continue;
      find(`${field} ${operator} ${value}`, { where: { [field]: { [operator]: value } } });
    }
  }
  find(`${field} $in`, { where: { [field]: { $in: values } } });
  find(`${field} $in with null`, { where: { [field]: { $in: [values[0], null] } } });
  find(`${field} $nin`, { where: { [field]: { $nin: values } } });
  find(`${field} $in nothing`, { where: { [field]: { $in: [] } } });
  find(`${field} $nin nothing`, { where: { [field]: { $nin: [] } } });
  find(`${field} = null`, { where: { [field]: null } });
  find(`${field} $ne null`, { where: { [field]: { $ne: null } } });
  for (const isIt of [true, false]) {
    find(`${field} $null ${isIt}`, { where: { [field]: { $null: isIt } } });
    find(`${field} $exists ${isIt}`, { where: { [field]: { $exists: isIt } } });
  }
  if (values.length > 1) find(`${field} $between`, { where: { [field]: { $between: [...values].sort().slice(0, 2) } } });
}
for (const text of ['Alpha', 'a', 'É', '𝒳', '100%', '_', '.', 'nobody']) {
  for (const operator of ['$contains', '$notContains', '$startsWith', '$endsWith', '$icontains']) find(`title ${operator} ${text}`, { where: { title: { [operator]: text } } });
}
for (const operator of ['$contains', '$notContains', '$startsWith', '$endsWith']) find(`title ${operator} no text`, { where: { title: { [operator]: '' } } });
for (const operator of ['$contains', '$notContains', '$startsWith']) {
  find(`points ${operator} 3`, { where: { points: { [operator]: '3' } } });
  find(`tags ${operator} x`, { where: { tags: { [operator]: 'x' } } });
}
for (const pattern of ['Alpha', 'Alpha%', '%beta', '%a%', '%', 'a\\_b.c', '%100\\%', 'Alph_', 'A%a']) find(`title $like ${pattern}`, { where: { title: { $like: pattern } } });
for (const pattern of ['%ALPHA%', 'alpha%', 'ALPHA']) find(`title $ilike ${pattern}`, { where: { title: { $ilike: pattern } } });

// Combinations.
const combinations = {
  'two fields': { status: 'open', points: { $gte: 3 } },
  'two operators': { points: { $gte: 0, $lt: 7 } },
  'two texts': { title: { $startsWith: 'a', $endsWith: 'a' } },
  'days from to': { due: { $gte: '2026-07-28', $lte: '2026-07-28' } },
  'days before and up to': { due: { $lt: '2026-07-30', $lte: '2026-07-28' } },
  '$and': { $and: [{ status: 'open' }, { flag: false }] },
  '$or': { $or: [{ status: 'done' }, { points: 100 }] },
  '$or of two fields each': { $or: [{ status: 'open', flag: true }, { status: 'done', flag: false }] },
  '$not': { $not: { status: 'open' } },
  '$not of two': { $not: { status: 'open', flag: true } },
  '$not of $or': { $not: { $or: [{ status: 'open' }, { status: 'done' }] } },
  'nested': { $or: [{ $and: [{ points: { $gt: 2 } }, { $not: { flag: true } }] }, { title: '' }] },
  '$or beside a field': { status: 'open', $or: [{ points: 3 }, { points: 7 }] },
  'empty $and': { $and: [] },
  'empty $or': { $or: [] },
  '$not of nothing': { $not: {} },
  'nothing': {},
  '$or with nothing': { $or: [{ status: 'open' }, {}] },
  '$in and $ne': { points: { $in: [3, 7, 10], $ne: 7 } },
  'a number as text': { points: '3' },
  'text as a number': { title: 3 },
  'a field that no record has': { nowhere: 'x' },
  'not in a field that no record has': { nowhere: { $ne: 'x' } },
  'a whole object': { place: { city: 'Bern', zip: 3000 } },
  'a whole list': { tags: ['x'] },
  'one of a list': { tags: 'x' },
  'a place in a list': { 'tags.0': 'x' },
  'a Date': { due: { $gt: new Date('2026-07-28T12:00:00.000Z') } },
  'a Date for a day': { day: new Date('2026-07-28T12:00:00.000Z') },
  'another field': { points: { $gt: { $field: 'seat' } } },
};
for (const [name, where] of Object.entries(combinations)) {
  find(`where: ${name}`, { where });
  read(`count: ${name}`, (driver) => driver.count('item', { where }));
}
const refused = {
  'an operator that nobody knows': { title: { $near: 'x' } },
  'a regular expression': { title: { $regex: 'x' } },
  'a combinator that nobody knows': { $nor: [{ title: 'x' }] },
  'a field without an operator': { title: {} },
  '$between of one': { points: { $between: [1] } },
  '$null of text': { title: { $null: 'true' } },
  '$exists of text': { title: { $exists: 'true' } },
  '$icontains of nothing': { title: { $icontains: '' } },
  '$icontains of a number': { title: { $icontains: 3 } },
  '$contains of a number': { title: { $contains: 100 } },
  '$in of no list': { title: { $in: 'Alpha' } },
  '$or of no list': { $or: { title: 'Alpha' } },
  '$eq of a list': { tags: { $eq: ['x'] } },
  'a list of conditions': [['status', '=', 'open']],
  'a pattern that ends with a backslash': { title: { $like: 'a\\' } },
};
for (const [name, where] of Object.entries(refused)) find(`refused: ${name}`, { where });

// Order, pages and projections.
for (const field of Object.keys(schema.fields)) {
  for (const order of ['asc', 'desc']) find(`order by ${field} ${order}`, { orderBy: [{ field, order }] });
}
find('order by two', { orderBy: [{ field: 'status', order: 'desc' }, { field: 'points', order: 'asc' }] });
find('order by a path', { orderBy: [{ field: 'place.city' }] });
find('order by a field that no record has', { orderBy: [{ field: 'nowhere' }] });
find('order without a direction', { orderBy: [{ field: 'points' }] });
find('no order', {});
for (const [limit, offset] of [[0, 0], [1, 0], [5, 0], [5, 5], [5, 10], [5, 15], [100, 0], [undefined, 4], [3, undefined]]) {
  find(`page of ${limit} from ${offset}`, { orderBy: [{ field: 'title' }], limit, offset });
  find(`page of ${limit} from ${offset}, in no order`, { limit, offset });
}
find('a page of a filter', { where: { status: 'open' }, orderBy: [{ field: 'points', order: 'desc' }], limit: 2, offset: 1 });
find('one field', { fields: ['title'] });
find('some fields', { fields: ['title', 'points', 'owner'] });
find('the id alone', { fields: ['id'] });
find('no fields', { fields: [] });
find('a field that no record has', { fields: ['nowhere'] });
find('a path as a field', { fields: ['place.city'] });
find('with what the engine expands', { where: { id: 'b' }, expand: { owner: { object: 'item' } } });
find('groups in a find', { groupBy: ['status'], aggregations: [{ function: 'count', alias: 'n' }] });
read('findOne', (driver) => driver.findOne('item', { where: { id: 'c' } }));
read('findOne in an order', (driver) => driver.findOne('item', { orderBy: [{ field: 'points', order: 'desc' }] }));
read('findOne of nobody', (driver) => driver.findOne('item', { where: { id: 'nobody' } }));
read('findOne of some fields', (driver) => driver.findOne('item', { where: { id: 'a' }, fields: ['title'] }));
read('count of all', (driver) => driver.count('item'));
read('count of a page', (driver) => driver.count('item', { limit: 2 }));

// Values and groups.
for (const field of [...Object.keys(schema.fields), 'place.city', 'nowhere', 'id']) {
  read(`distinct ${field}`, (driver) => driver.distinct('item', field));
  read(`distinct ${field} of some`, (driver) => driver.distinct('item', field, { where: { status: 'open' } }));
}
const group = (name, query) => read(name, (driver) => driver.aggregate('item', query));
for (const fn of ['count', 'count_distinct', 'sum', 'avg', 'min', 'max']) {
  for (const field of ['points', 'flag', 'title', 'due', 'status', 'seat', 'nowhere']) {
    group(`${fn} of ${field}`, { aggregations: [{ function: fn, field, alias: 'value' }] });
    group(`${fn} of ${field} by status`, { groupBy: ['status'], aggregations: [{ function: fn, field, alias: 'value' }] });
  }
}
group('aggregate count of all', { aggregations: [{ function: 'count', alias: 'n' }] });
group('count of *', { aggregations: [{ function: 'count', field: '*', alias: 'n' }] });
group('count of some', { where: { flag: true }, aggregations: [{ function: 'count', alias: 'n' }] });
group('count of none', { where: { id: 'nobody' }, aggregations: [{ function: 'count', alias: 'n' }, { function: 'sum', field: 'points', alias: 'sum' }, { function: 'avg', field: 'points', alias: 'avg' }] });
group('groups of none', { where: { id: 'nobody' }, groupBy: ['status'], aggregations: [{ function: 'count', alias: 'n' }] });
group('two groups', { groupBy: ['status', 'flag'], aggregations: [{ function: 'count', alias: 'n' }] });
group('a group with an alias', { groupBy: [{ field: 'status', alias: 'state' }], aggregations: [{ function: 'sum', field: 'points', alias: 'sum' }] });
group('groups of a path', { groupBy: ['place.city'], aggregations: [{ function: 'count', alias: 'n' }] });
group('groups without aggregations', { groupBy: ['status'] });
group('groups by month', { groupBy: [{ field: 'due', dateGranularity: 'month' }], aggregations: [{ function: 'count', alias: 'n' }] });
group('a filter of an aggregation', { aggregations: [{ function: 'count', alias: 'n', filter: { status: 'open' } }] });
group('array_agg', { groupBy: ['status'], aggregations: [{ function: 'array_agg', field: 'title', alias: 'titles' }] });
group('string_agg', { aggregations: [{ function: 'string_agg', field: 'code', alias: 'codes' }] });
group('having', { groupBy: ['status'], aggregations: [{ function: 'count', alias: 'n' }], having: { n: { $gt: 4 } } });

// Writes.
const create = (data) => (driver) => driver.create('item', data);
const update = (id, data) => (driver) => driver.update('item', id, data);
const upsert = (data, keys) => (driver) => driver.upsert('item', data, keys);
write('create', create({ id: 'new', title: 'New', points: 1 }));
write('create without an id', create({ title: 'New' }));
write('create with nothing', create({}));
write('create with undefined', create({ id: 'new', title: undefined, points: null }));
write('create with nested values', create({ id: 'new', place: { a: [1, { b: null }] }, tags: ['q'] }));
write('create with times', create({ id: 'new', due: '2026-01-02', day: '2026-01-02T03:04:05.000Z', at: '07:05' }));
write('create with Dates', create({ id: 'new', due: new Date(1e12), day: new Date(1e12), at: new Date(1e12) }));
write('create with a number for a time', create({ id: 'new', due: 1e12 }));
write('create with what is no time', create({ id: 'new', due: 'soon', day: 'never', at: 'noon' }));
write('create with a Date in a field that is no time', create({ id: 'new', title: new Date(1e12) }));
write('create with a number as id', create({ id: 7, title: 'seven' }));
write('create with times of its own', create({ id: 'new', created_at: '2020-01-01T00:00:00.000Z', updated_at: '2020-01-01T00:00:00.000Z' }));
write('create with an id that is taken', create({ id: 'a', title: 'again' }));
write('create with a code that is taken', create({ id: 'new', code: 'A' }));
write('create with a seat that is taken', create({ id: 'new', row: 'A', seat: 1 }));
write('create with half a seat', create({ id: 'new', row: 'B' }));
write('create with a field that is not defined', create({ id: 'new', extra: { any: 'thing' } }));
write('create with NaN', create({ id: 'new', points: NaN }));
write('create with a function', create({ id: 'new', title: () => 1 }));
write('update', update('a', { points: 30 }));
write('update of two fields', update('a', { points: null, title: 'Changed' }));
write('update of nothing', update('a', {}));
write('update of undefined', update('a', { title: undefined, points: 31 }));
write('update with its own id', update('a', { id: 'a', points: 32 }));
write('update with another id', update('a', { id: 'z', points: 33 }));
write('update of nobody', update('nobody', { points: 1 }));
write('update to a code that is taken', update('a', { code: 'B' }));
write('update to its own code', update('a', { code: 'A', points: 34 }));
write('update of a time', update('a', { due: '2026-05-05 05:05' }));
write('update of created_at', update('a', { created_at: '2020-01-01T00:00:00.000Z' }));
write('update of a new field', update('h', { title: 'Eta', points: 8 }));
write('update of a record with a number as id', create({ id: 7 }), update(7, { title: 'seven' }), update('7', { points: 7 }));
write('upsert of a new one', upsert({ id: 'new', title: 'New' }));
write('upsert of one that is there', upsert({ id: 'a', points: 40 }));
write('upsert by a key', upsert({ code: 'B', points: 41 }, ['code']));
write('upsert by a key that is new', upsert({ id: 'new', code: 'Z', points: 42 }, ['code']));
write('upsert by two keys', upsert({ row: 'A', seat: 2, title: 'seat' }, ['row', 'seat']));
write('upsert by an id that is new beside a key that is there', upsert({ id: 'new', title: 'Omega', points: 43 }, ['title']));
write('upsert by a key of several', upsert({ title: 'Alpha', points: 44 }, ['title']));
write('upsert to a code that is taken', upsert({ id: 'a', code: 'B' }));
write('delete', (driver) => driver.delete('item', 'a'));
write('delete of nobody', (driver) => driver.delete('item', 'nobody'));
write('delete twice', (driver) => driver.delete('item', 'a'), (driver) => driver.delete('item', 'a'));
write('bulkCreate', (driver) => driver.bulkCreate('item', [{ id: 'n1', points: 1 }, { id: 'n2', points: 2 }]));
write('bulkCreate of nothing', (driver) => driver.bulkCreate('item', []));
write('bulkCreate with one code twice', (driver) => driver.bulkCreate('item', [{ id: 'n1', code: 'N' }, { id: 'n2', code: 'N' }]));
write('bulkCreate with a code that is taken', (driver) => driver.bulkCreate('item', [{ id: 'n1', code: 'N' }, { id: 'n2', code: 'A' }]));
write('bulkCreate with an id that is taken', (driver) => driver.bulkCreate('item', [{ id: 'n1' }, { id: 'a' }]));
write('bulkUpdate', (driver) => driver.bulkUpdate('item', [{ id: 'b', data: { points: 50 } }, { id: 'a', data: { points: 51 } }]));
write('bulkUpdate of one and nobody', (driver) => driver.bulkUpdate('item', [{ id: 'nobody', data: { points: 50 } }, { id: 'a', data: { points: 51 } }]));
write('bulkUpdate of one twice', (driver) => driver.bulkUpdate('item', [{ id: 'a', data: { points: 50 } }, { id: 'a', data: { title: 'twice' } }]));
write('bulkUpdate to one code', (driver) => driver.bulkUpdate('item', [{ id: 'a', data: { code: 'N' } }, { id: 'b', data: { code: 'N' } }]));
write('bulkUpdate that exchanges two codes', (driver) => driver.bulkUpdate('item', [{ id: 'a', data: { code: 'B' } }, { id: 'b', data: { code: 'A' } }]));
write('bulkUpdate of nothing', (driver) => driver.bulkUpdate('item', []));
write('bulkDelete', (driver) => driver.bulkDelete('item', ['a', 'c']));
write('bulkDelete of some and nobody', (driver) => driver.bulkDelete('item', ['a', 'nobody', 'a']));
write('bulkDelete of nothing', (driver) => driver.bulkDelete('item', []));
for (const [name, where] of Object.entries({ 'one field': { status: 'open' }, 'none': { id: 'nobody' }, 'all': {}, 'a range': { points: { $gte: 3 } }, 'a day': { due: { $lte: '2026-07-28' } }, 'those without': { status: null } })) {
  write(`updateMany of ${name}`, (driver) => driver.updateMany('item', { where }, { title: 'Many' }));
  write(`deleteMany of ${name}`, (driver) => driver.deleteMany('item', { where }));
}
write('updateMany without a filter', (driver) => driver.updateMany('item', {}, { points: 60 }));
write('updateMany to one code', (driver) => driver.updateMany('item', { where: { status: 'open' } }, { code: 'N' }));
write('updateMany with an id', (driver) => driver.updateMany('item', { where: { id: 'a' } }, { id: 'z' }));
write('updateMany with a limit', (driver) => driver.updateMany('item', { where: { status: 'open' }, orderBy: [{ field: 'points' }], limit: 1 }, { title: 'First' }));
write('updateMany of what nobody knows', (driver) => driver.updateMany('item', { where: { title: { $near: 1 } } }, { points: 61 }));
write('deleteMany without a filter', (driver) => driver.deleteMany('item', {}));
write('deleteMany with a limit', (driver) => driver.deleteMany('item', { where: { status: 'open' }, orderBy: [{ field: 'points' }], limit: 1 }));
write('deleteMany of what nobody knows', (driver) => driver.deleteMany('item', { where: { title: { $near: 1 } } }));

// Transactions.
const inTransaction = (end, ...calls) => async (driver) => {
  const transaction = await driver.beginTransaction();
  const results = [];
  for (const call of calls) results.push(await call(driver, { transaction }));
  await driver[end](transaction);
  return results;
};
for (const end of ['commit', 'rollback']) {
  write(`${end} of writes`, inTransaction(end,
    (driver, options) => driver.create('item', { id: 'new', points: 70 }, options),
    (driver, options) => driver.update('item', 'a', { points: 71 }, options),
    (driver, options) => driver.delete('item', 'b', options),
    (driver, options) => driver.updateMany('item', { where: { status: 'open' } }, { title: 'Within' }, options),
    (driver, options) => driver.find('item', { where: { title: 'Within' } }, options),
    (driver, options) => driver.count('item', {}, options),
  ));
}
write('a read beside a transaction', async (driver) => {
  const transaction = await driver.beginTransaction();
  await driver.create('item', { id: 'new' }, { transaction });
  const count = await driver.count('item');
  await driver.commit(transaction);
  return count;
});
write('a write beside a transaction that is rolled back', async (driver) => {
  const transaction = await driver.beginTransaction();
  await driver.create('item', { id: 'beside' });
  await driver.rollback(transaction);
});
write('an end of no transaction', (driver) => driver.commit({ id: 'nobody' }));

// The rest.
read('checkHealth', (driver) => driver.checkHealth());
read('execute', (driver) => driver.execute('SELECT 1'));
read('an object that nobody defined', (driver) => driver.find('nothing', {}));
read('a call for a tenant', (driver) => driver.find('item', {}, { tenantId: 'acme' }));
write('dropTable', (driver) => driver.dropTable('item'));
write('clear', (driver) => driver.clear());
write('disconnect', (driver) => driver.disconnect(), (driver) => driver.count('item'));

const logger = { debug() {}, info() {}, warn() {}, error() {} };
const drivers = [new InMemoryDriver({ logger }), new OfflineDriver({ name: 'parity', storage: 'memory' })];

before(async () => { for (const driver of drivers) await reset(driver); });
after(() => drivers[1].clear());

async function reset(driver) {
  await driver.syncSchema('item', schema);
  await driver.deleteMany('item', {});
  await driver.bulkCreate('item', rows);
}

/** What comes out of an operation, in a form in which it can be compared: with names for ids that were made, and without times that pass. */
async function outcomeOf(driver, { calls, isWrite }) {
  const outcomes = [];
  for (const call of calls) {
    outcomes.push(await call(driver).then((value) => ({ value }), ({ code }) => ({ refused: code ?? 'without a code' })));
  }
  if (isWrite) outcomes.push({ rows: await driver.find('item', {}) });
  const made = new Map();
  const text = JSON.stringify(outcomes, function (key, value) {
    if ((key === 'created_at' || key === 'updated_at') && typeof value === 'string' && value > '2021') return 'now';
    if (key === 'id' && typeof value === 'string' && value.length > 10) {
      if (!made.has(value)) made.set(value, `made ${made.size + 1}`);
      return made.get(value);
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
  return JSON.parse(text);
}

test('the drivers do the same, but for what is listed', async () => {
  const names = operations.map(({ name }) => name);
  assert.deepEqual(names.filter((name, at) => names.indexOf(name) !== at), [], 'names that are there twice');
  assert.ok(operations.length >= 300, `${operations.length} operations`);
  const unlisted = [];
  const gone = new Set(DIFFERENCES.flatMap(({ operations }) => operations));
  for (const operation of operations) {
    const [theirs, ours] = [await outcomeOf(drivers[0], operation), await outcomeOf(drivers[1], operation)];
    if (operation.isWrite) for (const driver of drivers) await reset(driver);
    try {
      assert.deepStrictEqual(ours, theirs);
    } catch {
      if (!gone.delete(operation.name)) unlisted.push({ name: operation.name, theirs, ours });
    }
  }
  for (const { name, theirs, ours } of unlisted) console.error(`${name}\n  theirs: ${JSON.stringify(theirs).slice(0, 600)}\n  ours:   ${JSON.stringify(ours).slice(0, 600)}`);
  assert.deepEqual(unlisted.map(({ name }) => name), [], 'differences that are not listed');
  assert.deepEqual([...gone], [], 'listed differences that are not there');
});

test('the documents have the same table of differences', () => {
  const table = readFileSync(new URL('../../docs/driver.md', import.meta.url), 'utf8').split('\n').filter((line) => line.startsWith('|'));
  for (const { what, theirs, ours, why } of DIFFERENCES) assert.ok(table.includes(`| ${what} | ${theirs} | ${ours} | ${why} |`), what);
});
