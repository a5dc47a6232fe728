// Export and import of a whole database: the real driver in Node.js, on a log in memory.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ObjectqlError, openDatabase } from '../dist/index.js';

const objects = [{ name: 'story' }, { name: 'task', fields: { slug: { type: 'text', unique: true } } }];
let names = 0;
const open = (options = {}) => openDatabase({ name: `export-${++names}`, storage: 'memory', objects, ...options });
const textOf = (db) => new Response(db.export()).text();
const all = async (db) => Object.fromEntries(await Promise.all(objects.map(async ({ name }) => [name, await db.find(name)])));
const refuses = (promise, code) => assert.rejects(promise, { code });

test('what is exported is imported elsewhere as it was, ids and times included', async () => {
  const db = await open();
  const long = 'x'.repeat(1000);
  await db.bulkCreate('story', Array.from({ length: 1000 }, (_, n) => ({ id: n % 2 ? n : String(n), text: long, '__proto__x': { n: [n, null] } })));
  await db.bulkCreate('task', [{ slug: 'a\nb', title: 'žluť 😀' }, {}]);
  const text = await textOf(db);
  assert.ok(text.split('\n').length > 5, 'in portions');
  const sources = [text, new Blob([text]), new TextEncoder().encode(text), new Response(text), new Blob([text]).stream()];
  for (const source of sources) {
    const other = await open();
    assert.equal(await other.import(source), 1002);
    assert.deepEqual(await all(other), await all(db));
    assert.equal(await other.import(text), 0);
    await other.destroy();
  }
  await db.destroy();
});

test('an export is the state of its beginning', async () => {
  const db = await open();
  await db.bulkCreate('story', [{ id: 1, n: 1 }, { id: 2, n: 1 }]);
  const stream = db.export();
  await db.update('story', 1, { n: 2 });
  await db.delete('story', 2);
  await db.create('task', {});
  const [, line, end] = (await new Response(stream).text()).split('\n').map((text) => text && JSON.parse(text));
  assert.deepEqual(line.records.map(({ id, n }) => [id, n]), [[1, 1], [2, 1]]);
  assert.deepEqual(end, { records: 2 });
  await db.destroy();
});

test('import merges, or replaces what is there', async () => {
  const db = await open();
  await db.bulkCreate('story', [{ id: 1, n: 1 }, { id: 2, n: 2 }]);
  const text = await textOf(db);
  await db.update('story', 1, { n: 10, more: true });
  await db.create('story', { id: 3 });
  await db.create('task', {});
  assert.equal(await db.import(text), 1);
  assert.deepEqual((await db.find('story')).map(({ id, n, more }) => [id, n, more]), [[1, 1, true], [2, 2, undefined], [3, undefined, undefined]]);
  assert.equal(await db.import(text, { mode: 'replace' }), 2);
  assert.deepEqual([await db.count('story'), await db.count('task')], [2, 0]);
  assert.equal(await db.undo(), true);
  await db.destroy();
});

test('a file that is none, is cut, or is of a later format is refused with nothing written', async () => {
  const from = await open();
  await from.bulkCreate('story', Array.from({ length: 10 }, (_, n) => ({ id: n, text: 'x'.repeat(100_000) })));
  const text = await textOf(from);
  const lines = text.trimEnd().split('\n');
  const db = await open();
  const bad = {
    'not an export': '{"some":"json"}',
    'no JSON': 'hello',
    'empty': '',
    'a later format': text.replace('"version":1', '"version":2'),
    'the end is missing': lines.slice(0, -1).join('\n'),
    'cut in a line': text.slice(0, 500_000),
    'a line is missing': lines.filter((_, at) => at !== 1).join('\n'),
    'a line is another thing': [...lines.slice(0, -1), '{"object":1}', lines.at(-1)].join('\n'),
  };
  for (const [name, file] of Object.entries(bad)) await assert.rejects(db.import(file), { code: 'INVALID_FILE' }, name);
  assert.equal(await db.count('story'), 0);
  await refuses(db.import(text.replaceAll('"object":"story"', '"object":"nothing"')), 'UNKNOWN_OBJECT');
  await db.create('task', { slug: 'a' });
  const clash = ['{"format":"objectql-offline","version":1}', '{"object":"task","records":[{"id":1,"slug":"a"}]}', '{"records":1}'];
  await refuses(db.import(clash.join('\n')), 'UNIQUE_VIOLATION');
  await refuses(db.import(clash.join('\n').replace('"id":1,', '')), 'INVALID_ID');
  // What JavaScript would change without a word.
  for (const value of ['1e999', '"\\ud800"', '1,"n":2']) {
    await refuses(db.import(clash.join('\n').replace('"slug":"a"', `"n":${value}`)), value.startsWith('1,') ? 'INVALID_VALUE' : 'INVALID_JSON');
  }
  await Promise.all([db.destroy(), from.destroy()]);
});

test('an export is imported where it comes from, also where an object is the server\'s', async () => {
  const name = `export-${++names}`;
  const before = await open({ name });
  await before.create('story', { id: 'a' });
  await before.close();
  const db = await open({ name, objects: [{ name: 'story', sync: { enabled: true, direction: 'pull-only' } }] });
  const text = await textOf(db);
  assert.equal(await db.import(text), 0);
  await refuses(db.import(text.replace('"id":"a"', '"id":"b"')), 'READ_ONLY_OBJECT');
  await db.destroy();
});

test('more records than one commit takes are replaced', async () => {
  const db = await open();
  const empty = await textOf(db);
  for (let from = 0; from < 260_000; from += 65_000) await db.bulkCreate('story', Array.from({ length: 65_000 }, (_, n) => ({ id: from + n })));
  await refuses(db.deleteMany('story', {}), 'VALUE_TOO_LARGE');
  assert.equal(await db.import(empty, { mode: 'replace' }), 260_000);
  assert.equal(await db.count('story'), 0);
  await db.destroy();
});

test('an export that nobody reads to its end is let go', async () => {
  const db = await open();
  await db.create('story', {});
  await db.export().cancel();
  const reader = db.export().getReader();
  await reader.read();
  await db.close();
  await assert.rejects(async () => { while (!(await reader.read()).done); }, (error) => error instanceof ObjectqlError && error.code === 'CLOSED');
  assert.throws(() => db.export(), { code: 'CLOSED' });
});
