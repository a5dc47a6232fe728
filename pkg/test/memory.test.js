// The real driver in Node.js, on a log in memory: for servers and for the tests of apps.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openDatabase } from '../dist/index.js';

const objects = [{ name: 'story', fields: { title: { type: 'text' } } }];
let names = 0;
const open = (options = {}) => openDatabase({ name: `memory-${++names}`, storage: 'memory', objects, ...options });

test('what is written is read, by id and by query', async () => {
  const db = await open();
  const made = await db.create('story', { title: 'a' });
  assert.deepEqual({ ...(await db.get('story', made.id)) }, made);
  assert.deepEqual((await db.find('story', { where: { title: 'a' } })).map(({ id }) => id), [made.id]);
  await db.destroy();
});

test('a record that is too large is refused by itself, and not with those that are made without waiting for it', async () => {
  const db = await open();
  const made = [{ id: 'a' }, { id: 'b', text: 'x'.repeat(1_200_000) }, { id: 'c' }].map((record) => db.create('story', record));
  const outcomes = await Promise.allSettled(made);
  assert.deepEqual(outcomes.map(({ value, reason }) => value?.id ?? reason.code), ['a', 'VALUE_TOO_LARGE', 'c']);
  assert.deepEqual((await db.find('story')).map(({ id }) => id), ['a', 'c']);
  await db.destroy();
});

test('queries of many records wait for their indexes, which are built in portions, also while records change', async () => {
  const indexed = [{ name: 'story', fields: { title: { type: 'text' }, points: { type: 'number' } }, indexes: { t: { fields: ['title'] }, p: { fields: ['points'] } } }];
  const db = await open({ objects: indexed });
  const ids = Array.from({ length: 40_000 }, (_, at) => `s${at}`);
  await db.bulkCreate('story', ids.map((id, at) => ({ id, title: `title ${at % 400}`, points: at })));
  const live = [];
  db.liveQuery('story', { where: { points: 7 } }).subscribe(({ rows }) => live.push(rows.length));
  const [rows, count, newest, plan, changed] = await Promise.all([
    db.find('story', { where: { title: 'title 7' } }),
    db.count('story', { points: { $lt: 100 } }),
    db.find('story', { orderBy: [{ field: 'points', order: 'desc' }], limit: 2 }),
    db.explain('story', { where: { title: 'title 7' } }),
    db.update('story', 's7', { title: 'changed' }),
  ]);
  assert.ok(rows.length === 99 || rows.length === 100, 'before or after the update');
  assert.equal(count, 100);
  assert.deepEqual(newest.map(({ id }) => id), ['s39999', 's39998']);
  assert.deepEqual(plan.index, ['title']);
  assert.equal(changed.title, 'changed');
  assert.equal((await db.find('story', { where: { title: 'title 7' } })).length, 99);
  while (live.length === 0) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(live.every((length) => length === 1), String(live));
  await db.destroy();
});

test('a filter, a sort and an aggregate of many records without an index are done in portions, many at a time, also while records change', async () => {
  const db = await open();
  await db.bulkCreate('story', Array.from({ length: 40_000 }, (_, at) => ({ id: `s${at}`, title: `title ${at % 400}`, points: at })));
  const live = [];
  db.liveQuery('story', { where: { points: { $lt: 10 } }, orderBy: [{ field: 'points' }] }).subscribe(({ rows }) => live.push(rows.length));
  const ends = Array.from({ length: 12 }, (_, at) => db.count('story', { points: { $gte: 1_000 * at } }));
  const [few, sorted, found, byTitle, titles, changed] = await Promise.all([
    db.find('story', { where: { points: { $gte: 39_990 } }, orderBy: [{ field: 'points', order: 'desc' }] }),
    db.find('story', { orderBy: [{ field: 'title', order: 'desc' }], limit: 3 }),
    db.find('story', { search: { query: 'title 77', fields: ['title'], operator: 'and' }, limit: 5 }),
    db.aggregate('story', { where: { points: { $gt: 99 } }, groupBy: ['title'], aggregations: [{ function: 'max', field: 'points', alias: 'most' }], orderBy: [{ field: 'most', order: 'desc' }], limit: 2 }),
    db.distinct('story', 'title'),
    db.update('story', 's0', { body: 'changed' }),
  ]);
  assert.deepEqual(few.map(({ points }) => points), Array.from({ length: 10 }, (_, at) => 39_999 - at));
  assert.deepEqual(sorted.map(({ title }) => title), ['title 99', 'title 99', 'title 99']);
  assert.deepEqual(found.map(({ title }) => title), Array(5).fill('title 77'));
  assert.deepEqual(byTitle, [{ title: 'title 399', most: 39_999 }, { title: 'title 398', most: 39_998 }]);
  assert.equal(titles.length, 400);
  assert.equal(changed.body, 'changed');
  assert.deepEqual(await Promise.all(ends), Array.from({ length: 12 }, (_, at) => 40_000 - 1_000 * at));
  while (live.length === 0) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(live.every((length) => length === 10), String(live));
  await db.destroy();
});

test('the log outlives its closing, and ends with destroy', async () => {
  const name = `memory-${++names}`;
  const first = await open({ name });
  await first.create('story', { title: 'a' });
  await first.close();
  const again = await open({ name });
  assert.equal(await again.count('story'), 1);
  await again.destroy();
  const anew = await open({ name });
  assert.equal(await anew.count('story'), 0);
  await anew.close();
});

test('a database in memory syncs', async () => {
  const bodies = [];
  const fetch = async (url, { body }) => {
    const { mutations } = JSON.parse(new TextDecoder().decode(body));
    bodies.push(mutations);
    const results = mutations.map((_, at) => ({ status: 'applied', serverVersion: at + 1 }));
    return new Response(JSON.stringify({ results, serverChanges: [], checkpoint: String(bodies.length) }), {
      headers: { 'content-type': 'application/json' },
    });
  };
  const synced = [{ ...objects[0], sync: { enabled: true } }];
  const db = await open({ objects: synced, sync: { url: 'http://test.invalid/api/sync', fetch, auto: false } });
  await db.create('story', { title: 'a' });
  assert.equal((await db.sync()).applied, 1);
  assert.equal(db.status.pending, 0);
  assert.deepEqual(bodies.flat().map(({ operation }) => operation), ['create']);
  await db.close();
});

test('a process with an open database ends by itself', () => {
  const script = `
    import { openDatabase } from 'objectql-offline';
    const db = await openDatabase({ name: 'a', storage: 'memory', objects: [{ name: 'story' }] });
    await db.create('story', {});
    console.log(await db.count('story'));
  `;
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  assert.equal(execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd, encoding: 'utf8', timeout: 10_000 }), '1\n');
});
