// The value domain at the edge of the package: what becomes text, what is refused, and where the message says it stands.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import vm from 'node:vm';
import { encodeNewRecords } from '../dist/drafts.js';
import { encodeQuery, encodeWhere } from '../dist/queries.js';
import { encodeId, encodeRecord, encodeUpdates } from '../dist/values.js';

const nested = (levels) => (levels === 1 ? {} : { a: nested(levels - 1) });

function refused(record, code, message) {
  assert.throws(() => encodeRecord(record, 'story'), (error) => {
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
}

test('JSON goes through as JSON.stringify has it', () => {
  for (const record of [{}, { a: 1, b: [null, true, 'ä😀', [], {}], c: { d: -0.5e-7 } }, { 'a b': '' }, Object.create(null), nested(32)]) {
    assert.equal(encodeRecord(record, 'story'), JSON.stringify(record));
  }
});

test('dates, toJSON and undefined become what JSON makes of them', () => {
  const date = new Date(0);
  class Money { constructor(cents) { this.cents = cents; } toJSON() { return { cents: this.cents, at: date }; } }
  const record = { date, money: new Money(5), list: [new Money(6), new URL('https://example.org')], gone: undefined };
  assert.equal(encodeRecord(record, 'story'), JSON.stringify(record));
  assert.equal(encodeRecord({ toJSON: () => ({ title: 'x' }) }, 'story'), '{"title":"x"}');
  assert.equal(encodeRecord({ toJSON: 'a field' }, 'story'), '{"toJSON":"a field"}');
});

test('toJSON is called once, and what it gives is what is checked', () => {
  let calls = 0;
  assert.equal(encodeRecord({ a: { toJSON: () => ++calls } }, 'story'), '{"a":1}');
  refused({ a: { toJSON: () => [NaN] } }, 'INVALID_VALUE', /^story\.a\.toJSON\(\)\[0\] is NaN/);
  refused({ a: { toJSON() { return this; } } }, 'VALUE_TOO_DEEP', /./);
  refused({ toJSON: () => 'text' }, 'INVALID_VALUE', /^story must be an object/);
});

test('an object of another frame is a plain object', () => {
  assert.equal(encodeRecord(vm.runInNewContext('({ a: [1], b: { c: 2 } })'), 'story'), '{"a":[1],"b":{"c":2}}');
});

test('what JSON cannot hold is refused, with its path', () => {
  class Point { x = 1; }
  const cases = [
    [{ tags: [{}, {}, { name: NaN }] }, /^story\.tags\[2\]\.name is NaN/],
    [{ a: Infinity }, /^story\.a is Infinity/],
    [{ a: 1n }, /^story\.a is a bigint/],
    [{ a: () => 1 }, /^story\.a is a function/],
    [{ a: Symbol('s') }, /^story\.a is a symbol/],
    [{ a: [1, undefined] }, /^story\.a\[1\] is undefined, in an array/],
    [{ a: [1, , 3] }, /^story\.a\[1\] is undefined/],
    [{ a: new Map() }, /^story\.a is a Map/],
    [{ a: new Point() }, /^story\.a is a Point/],
    [{ a: new Uint8Array(2) }, /^story\.a is a Uint8Array/],
    [{ a: new Date(NaN) }, /^story\.a is an invalid Date/],
    [{ a: 'x\0' }, /^story\.a is text with U\+0000/],
    [{ a: ['\ud800'] }, /^story\.a\[0\] is text with/],
    [{ 'k\0': 1 }, /^story\["k\\u0000"\] has U\+0000/],
    [{ '\udc00': 1 }, /has U\+0000 or half/],
    [{ 'a.b': { 'c d': NaN } }, /^story\["a\.b"\]\["c d"\] is NaN/],
  ];
  for (const [record, message] of cases) refused(record, 'INVALID_VALUE', message);
  for (const record of [null, undefined, 'text', 5, [], new Map(), () => {}]) refused(record, 'INVALID_VALUE', /^story /);
});

test('what is too deep, cyclic or too large is refused before it is written out', () => {
  refused(nested(33), 'VALUE_TOO_DEEP', /^story(\.a){32} is nested deeper than 32 levels/);
  const cycle = { list: [{}] };
  cycle.list[0].back = cycle;
  refused({ in: cycle }, 'VALUE_TOO_DEEP', /^story\.in\.list\[0\]\.back refers back to story\.in/);
  refused({ a: 'x'.repeat(3 << 20) }, 'VALUE_TOO_LARGE', /1 MiB/);
  let shared = {};
  for (let level = 0; level < 28; level++) shared = { a: shared, b: shared };
  refused(shared, 'VALUE_TOO_LARGE', /1 MiB/);
});

test('names such as __proto__ are data', () => {
  const record = JSON.parse('{"__proto__":{"isAdmin":true},"constructor":{"prototype":1}}');
  assert.equal(encodeRecord(record, 'story'), JSON.stringify(record));
  const replaced = encodeRecord(Object.assign(record, { when: { toJSON: () => 1 } }), 'story');
  assert.equal(replaced, '{"__proto__":{"isAdmin":true},"constructor":{"prototype":1},"when":1}');
  assert.equal({}.isAdmin, undefined);
});

test('a list of records says which one is wrong', () => {
  assert.equal(encodeNewRecords([{ a: 1 }, {}], 'story', []).text, '[{"a":1},{}]');
  for (const [records, message] of [
    [[{}, { a: [NaN] }], /^story\[1\]\.a\[0\] is NaN/],
    [[{}, { a: { b: 'x\0' } }], /^story\[1\]\.a\.b is text with/],
    [[{}, { 'k\0': 1 }], /^story\[1\]\["k\\u0000"\] has U\+0000/],
    [[{}, , {}], /^story\[1\] /],
    [{}, /^story must be an array/],
  ]) assert.throws(() => encodeNewRecords(records, 'story', []), { code: 'INVALID_VALUE', message });
  assert.throws(() => encodeUpdates([{ id: 1, data: {} }, { id: 2, data: { a: '\ud800' } }], 'story'), { code: 'INVALID_VALUE', message: /^story\[1\]\.data\.a is text/ });
});

test('a record that was made is what was given, with what the driver puts in', () => {
  const tags = [{ a: -0 }];
  const given = { title: 'C:\\users', created_at: 'never', tags, due: new Date(0), none: undefined, JSON: { toJSON: () => null } };
  const { text, complete } = encodeNewRecords([given, { id: 7 }, {}], 'story', []);
  assert.equal(text, '[{"title":"C:\\\\users","tags":[{"a":0}],"due":"1970-01-01T00:00:00.000Z","JSON":null},{"id":7},{}]');
  const records = complete('[["t1","a",7],["t2","b"]]');
  assert.equal(
    JSON.stringify(records),
    '[{"id":"a","title":"C:\\\\users","tags":[{"a":0}],"due":"1970-01-01T00:00:00.000Z","JSON":null,"created_at":"t1","updated_at":"t1"},' +
      '{"id":7,"created_at":"t1","updated_at":"t1"},{"id":"b","created_at":"t2","updated_at":"t2"}]',
  );
  assert.notEqual(records[0].tags, tags);
});

test('a query may leave out what it likes, but its filter nothing', () => {
  assert.equal(encodeQuery(undefined).json, '{}');
  assert.equal(encodeQuery({}).json, '{}');
  assert.equal(encodeQuery({ where: undefined, limit: undefined }).json, '{}');
  assert.deepEqual(JSON.parse(encodeQuery({ limit: 1, where: { due: { $lt: new Date(0) } } }).json), {
    where: { due: { $lt: '1970-01-01T00:00:00.000Z' } },
    limit: 1,
  });
  assert.equal(encodeQuery({ where: { a: null } }).json, '{"where":{"a":null}}');
  assert.throws(() => encodeQuery({ where: { $or: [{ owner: undefined }] } }), {
    code: 'INVALID_QUERY',
    message: /^where\.\$or\[0\]\.owner is undefined/,
  });
  assert.throws(() => encodeQuery('all'), { code: 'INVALID_QUERY' });
  assert.equal(encodeWhere(undefined), '{}');
});

test('an id is a non-empty string or a safe integer', () => {
  assert.equal(encodeId('a"b'), '"a\\"b"');
  assert.equal(encodeId(-7), '-7');
  for (const id of ['', '\ud800', 1.5, NaN, 2 ** 53, null, undefined, {}, 1n, true]) {
    assert.throws(() => encodeId(id), { code: 'INVALID_ID' });
  }
});
