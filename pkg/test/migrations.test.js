// Migrations and defaults through the whole package: the real driver in Node.js, on a log in memory.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openDatabase, ValueError } from '../dist/index.js';

let names = 0;
const story = (fields = {}) => ({ name: 'story', fields: { title: { type: 'text' }, ...fields }, sync: { enabled: true } });
const newName = () => `migrations-${++names}`;
const open = (name, options = {}) => openDatabase({ name, storage: 'memory', objects: [story()], sync: { url: 'http://127.0.0.1:9/', auto: false }, ...options });

/** A database of the first release that is closed, with these stories. */
async function stored(...stories) {
  const name = newName();
  const db = await open(name);
  await db.bulkCreate('story', stories);
  await db.close();
  return name;
}

const shown = async (db) => (await db.find('story')).map(({ created_at: _, updated_at: __, ...rest }) => rest);

test('options that are no migrations are refused, with the place', async () => {
  for (const [migrations, place] of [
    [[], /migrations must be/],
    ['no', /migrations must be/],
    [null, /migrations must be/],
    [{ task: { 2: {} } }, /migrations\.task: there is no such object/],
    [{ story: [] }, /migrations\.story must be/],
    [{ story: { 1: {} } }, /migrations\.story: 1 must be/],
    [{ story: { 0: {} } }, /migrations\.story: 0 must be/],
    [{ story: { 1.5: {} } }, /migrations\.story: 1\.5 must be/],
    [{ story: { next: {} } }, /migrations\.story: next must be/],
    [{ story: { 9_999_999_999: {} } }, /migrations\.story: 9999999999 must be/],
    [{ story: { 2: () => ({}) } }, /migrations\.story\[2\] must be/],
    [{ story: { 2: null } }, /migrations\.story\[2\] must be/],
    [{ story: { 2: { record: 'x' } } }, /migrations\.story\[2\]\.record must be a function/],
    [{ story: { 2: { records: () => ({}) } } }, /migrations\.story\[2\]: there is no records/],
  ]) {
    const error = await open(newName(), { migrations }).then(() => undefined, (thrown) => thrown);
    assert.equal(error?.code, 'INVALID_OPTIONS', JSON.stringify(migrations));
    assert.match(error.message, place);
  }
});

test('two handles of a page agree on the versions, and the functions of the first one count', async () => {
  const name = newName();
  const one = await open(name, { migrations: { story: { 2: {} } } });
  const two = await open(name, { migrations: { story: { 2: { record: () => { throw new Error('not called'); } } } } });
  await assert.rejects(open(name, { migrations: { story: { 3: {} } } }), { code: 'INVALID_OPTIONS' });
  await assert.rejects(open(name), { code: 'INVALID_OPTIONS' });
  await one.close();
  await two.close();
});

test('versions are gone through in their order, those that are there already are not', async () => {
  const name = await stored({ id: 'a', title: 'A' });
  const step = (version) => ({ record: (record) => ({ ...record, path: [...(record.path ?? []), version] }) });
  let db = await open(name, { migrations: { story: { 10: step(10), 2: step(2) } } });
  assert.deepEqual(await shown(db), [{ id: 'a', title: 'A', path: [2, 10] }]);
  await db.close();
  db = await open(name, { migrations: { story: { 2: step(2), 10: step(10), 11: {}, 12: step(12) } } });
  assert.deepEqual(await shown(db), [{ id: 'a', title: 'A', path: [2, 10, 12] }]);
  await db.close();
  await assert.rejects(open(name, { migrations: { story: { 11: {} } } }), { code: 'STORAGE_OUTDATED' });
});

test('a function for mutations gets each with its data; without one creates go through that for records', async () => {
  const fill = async () => {
    const name = await stored({ id: 'a', title: 'A' });
    const db = await open(name);
    await db.update('story', 'a', { title: 'B' });
    await db.delete('story', 'a');
    await db.close();
    return name;
  };
  const record = ({ title, ...rest }) => ({ ...rest, heading: title });
  const data = async (db) => (await db.pendingMutations()).map(({ data: { created_at: _, updated_at: __, ...data } = {} }) => data);
  let db = await open(await fill(), { migrations: { story: { 2: { record } } } });
  assert.deepEqual(await data(db), [{ id: 'a', heading: 'A' }, { title: 'B' }, {}]);
  await db.close();
  const seen = [];
  const mutation = (mutation) => {
    seen.push(mutation);
    return record(mutation.data);
  };
  db = await open(await fill(), { migrations: { story: { 2: { mutation } } } });
  assert.deepEqual(await data(db), [{ id: 'a', heading: 'A' }, { heading: 'B' }, {}]);
  assert.deepEqual(seen.map(({ operation, objectName, recordId, sequence, state }) => [operation, objectName, recordId, sequence, state]), [
    ['create', 'story', 'a', 1, 'queued'],
    ['update', 'story', 'a', 2, 'queued'],
  ]);
  await db.close();
});

test('a function that fails on the last of many records leaves the first ones as they were', async () => {
  // Some rows' worth of them, and more than is kept of what functions return.
  const name = await stored(...Array.from({ length: 6_000 }, (_, n) => ({ id: n, title: 'x'.repeat(2_000) })));
  const attempt = async (record) => (await open(name, { migrations: { story: { 2: { record } } } }));
  const error = await attempt((record) => {
    if (record.id === 5_999) throw new RangeError('the last');
    return { ...record, times: 1 };
  }).then(() => undefined, (thrown) => thrown);
  assert.ok(error instanceof ValueError && error.cause instanceof RangeError);
  assert.equal(error.code, 'MIGRATION_FAILED');
  assert.match(error.message, /story to version 2 .*5999: the last/);
  let db = await open(name);
  assert.equal(await db.count('story', { times: 1 }), 0);
  await db.close();
  db = await attempt((record) => ({ ...record, times: (record.times ?? 0) + 1 }));
  assert.equal(await db.count('story', { times: 1 }), 6_000);
  await db.close();
});

test('a record that grows beyond a megabyte fails with its code', async () => {
  const name = await stored({ id: 'a' });
  const open2 = (record, fields) => open(name, { objects: [story(fields)], migrations: { story: { 2: { record } } } });
  await assert.rejects(open2((record) => ({ ...record, text: 'x'.repeat(1 << 20) })), { code: 'MIGRATION_FAILED' });
  // By a default, of which no function knows.
  const fields = { text: { type: 'text', defaultValue: 'x'.repeat(600_000) } };
  await assert.rejects(open2((record) => ({ ...record, more: 'x'.repeat(600_000) }), fields), { code: 'MIGRATION_FAILED' });
  await (await open2((record) => record)).close();
});

test('a default that makes one of many records larger than a megabyte is found before anything is written', async () => {
  const more = { text: 'ä'.repeat(300_000) };
  const name = await stored(...Array.from({ length: 3_000 }, (_, n) => ({ id: n, title: 'x'.repeat(500) })), { id: 'last', ...more });
  const second = (fields) => open(name, { objects: [story(fields)], migrations: { story: { 2: {} } } });
  const fields = { status: { type: 'text', defaultValue: 'ö'.repeat(300_000) } };
  const error = await second(fields).then(() => undefined, (thrown) => thrown);
  assert.equal(error?.code, 'MIGRATION_FAILED');
  assert.match(error.message, /story to version 2 .*record "last": .*larger than 1 MiB/);
  // The release before is not locked out.
  let db = await open(name);
  assert.equal(await db.count('story'), 3_001);
  await db.close();
  // What has the field is as large as before.
  db = await second({ text: fields.status });
  assert.equal((await db.get('story', 'last')).text, more.text);
  await db.close();
});

test('a new record has the defaults of what it does not have, null being a value', async () => {
  const fields = { status: { type: 'text', required: true, defaultValue: 'open' }, tags: { type: 'tags', defaultValue: [] }, at: { type: 'datetime', defaultValue: 'NOW()' },
    by: { type: 'text', defaultValue: { dialect: 'cel', source: 'user.id' } }, map: { type: 'json', defaultValue: { dialect: null, n: 1.50 } } };
  const db = await open(newName(), { objects: [story(fields)] });
  const { created_at: _, updated_at: __, ...made } = await db.create('story', { id: 'a' });
  assert.deepEqual(made, { id: 'a', status: 'open', tags: [], map: { dialect: null, n: 1.5 } });
  await db.bulkCreate('story', [{ id: 'b', status: null }, { id: 'c', tags: ['x'] }]);
  await db.upsert('story', { id: 'd' });
  await db.transaction((tx) => tx.create('story', { id: 'e' }));
  assert.deepEqual((await db.find('story')).map(({ status, tags }) => [status, tags]), [['open', []], [null, []], ['open', ['x']], ['open', []], ['open', []]]);
  // What is given back was put together in the page: it is what is stored, to the order of the fields.
  const given = await db.create('story', { title: 'f', created_at: 'never', n: -0, id: 'f', due: new Date(0), x: undefined });
  assert.equal(JSON.stringify(given), JSON.stringify(await db.get('story', 'f')));
  await db.close();
});

test('a later version without functions gives what is stored the defaults', async () => {
  const name = await stored({ id: 'a', title: 'A' }, { id: 'b', status: 'done' });
  const objects = [story({ status: { type: 'text', defaultValue: 'open' } })];
  let db = await open(name, { objects });
  assert.deepEqual((await shown(db)).map(({ status }) => status), [undefined, 'done']);
  await db.close();
  db = await open(name, { objects, migrations: { story: { 2: {} } } });
  assert.deepEqual((await shown(db)).map(({ status }) => status), ['open', 'done']);
  assert.deepEqual((await db.pendingMutations()).map(({ data }) => data.status), ['open', 'done']);
  await db.close();
});

test('an upsert that makes a record fills in what a create does, and nothing in the place of what the driver sets', async () => {
  const fields = { id: { type: 'text', defaultValue: 'one' }, created_at: { type: 'datetime', defaultValue: 'soon' }, none: { type: 'text', defaultValue: null },
    map: { type: 'json', defaultValue: { dialect: null, n: 1 } }, ['__proto__']: { type: 'json', defaultValue: { a: 1 } } };
  const db = await open(newName(), { objects: [story(fields)] });
  const plain = (record) => JSON.stringify({ ...record, id: 'id', created_at: 'now', updated_at: 'now' });
  const created = await db.create('story', {});
  const [made] = await db.bulkCreate('story', [{}]);
  const upserted = await db.upsert('story', { id: 'u' });
  for (const record of [created, made, upserted]) {
    assert.equal(record.created_at, record.updated_at);
    assert.equal(plain(record), '{"id":"id","map":{"dialect":null,"n":1},"__proto__":{"a":1},"created_at":"now","updated_at":"now"}');
    assert.equal(JSON.stringify(await db.get('story', record.id)), JSON.stringify(record));
  }
  await db.close();
});
