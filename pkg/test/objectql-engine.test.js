// The real engine of ObjectQL with this package's driver, in Node.js with a log in memory. tests/browser/objectql.test.mjs has it in a browser.
import assert from 'node:assert/strict';
import { after, beforeEach, test } from 'node:test';
import { OfflineDriver } from '../dist/object-driver/index.js';
import { TestServer } from '../dist/testing/index.js';
import { engineWith } from './engine.js';

const objects = {
  person: { fields: { name: { type: 'text', required: true }, email: { type: 'email', unique: true } } },
  story: {
    fields: {
      title: { type: 'text', required: true, searchable: true },
      status: { type: 'select', options: [{ label: 'Open', value: 'open' }, { label: 'Done', value: 'done' }], defaultValue: 'open' },
      points: { type: 'number' },
      due: { type: 'datetime' },
      owner: { type: 'lookup', reference: 'person' },
      number: { type: 'autonumber', autonumberFormat: 'S-{000}' },
    },
  },
  task: { fields: { title: { type: 'text' }, story: { type: 'master_detail', reference: 'story', deleteBehavior: 'cascade' } } },
};
let names = 0;
let driver;
let engine;
const drivers = [];
const refuses = (promise, code) => assert.rejects(promise, { code });

beforeEach(async () => {
  driver = new OfflineDriver({ name: `engine-${++names}`, storage: 'memory' });
  drivers.push(driver);
  engine = await engineWith(driver, objects);
});
after(async () => { for (const driver of drivers) await driver.clear(); });

test('records are created, read, changed and deleted through the engine', async () => {
  const made = await engine.insert('story', { title: 'a', points: 1, due: '2026-07-28' });
  assert.deepEqual([made.status, made.points, made.due], ['open', 1, '2026-07-28T00:00:00.000Z']);
  assert.deepEqual(await engine.findOne('story', { where: { id: made.id } }), made);
  const changed = await engine.update('story', { id: made.id, points: 2 });
  assert.deepEqual([changed.id, changed.points, changed.title], [made.id, 2, 'a']);
  assert.ok(changed.updated_at >= made.updated_at && changed.created_at === made.created_at);
  await refuses(engine.insert('story', { points: 1 }), 'VALIDATION_FAILED');
  await refuses(engine.update('story', { id: 'nobody', points: 2 }), 'RECORD_NOT_FOUND');
  assert.equal(await engine.delete('story', { where: { id: made.id } }), true);
  assert.equal(await engine.findOne('story', { where: { id: made.id } }), null);
  assert.equal((await driver.database()).status.undoable, 3, 'each is a mutation in the log');
});

test('queries of every kind are answered by the driver', async () => {
  await engine.insert('story', ['d', 'a', 'c', 'b'].map((title, points) => ({ title, points, status: points % 2 ? 'done' : 'open', due: `2026-07-2${points}` })));
  const titles = async (query) => (await engine.find('story', query)).map(({ title }) => title);
  assert.deepEqual(await titles({ orderBy: [{ field: 'title' }] }), ['a', 'b', 'c', 'd']);
  assert.deepEqual(await titles({ where: { status: 'open' }, orderBy: [{ field: 'points', order: 'desc' }] }), ['c', 'd']);
  assert.deepEqual(await titles({ where: { $or: [{ title: { $startsWith: 'a' } }, { points: { $gte: 3 } }] }, orderBy: [{ field: 'title' }] }), ['a', 'b']);
  assert.deepEqual(await titles({ where: { due: { $between: ['2026-07-21', '2026-07-22'] } } }), ['a', 'c']);
  assert.deepEqual(await titles({ where: [['status', '=', 'done'], ['points', '<', 3]] }), ['a']);
  assert.deepEqual(await titles({ where: { title: { $in: ['a', 'z'] } } }), ['a']);
  assert.deepEqual(await titles({ orderBy: [{ field: 'title' }], limit: 2, offset: 1 }), ['b', 'c']);
  assert.deepEqual(await titles({ limit: 0 }), []);
  assert.deepEqual(await titles({ search: 'B' }), ['b']);
  const [row] = await engine.find('story', { fields: ['title'], where: { title: 'a' } });
  assert.deepEqual(Object.keys(row).sort(), ['id', 'title']);
  assert.equal(await engine.count('story', { where: { status: 'done' } }), 2);
  await refuses(engine.find('story', { where: { title: { $regex: 'a' } } }), 'INVALID_FILTER');
});

test('groups are computed by the driver, also by date, with what the engine keeps for itself', async () => {
  await engine.insert('story', [1, 2, 3, 4].map((points) => ({ title: 'x', points, status: points > 2 ? 'done' : 'open', due: `2026-0${points}-05` })));
  const sum = { function: 'sum', field: 'points', alias: 'sum' };
  assert.deepEqual(await engine.aggregate('story', { groupBy: ['status'], aggregations: [sum] }), [{ status: 'open', sum: 3 }, { status: 'done', sum: 7 }]);
  assert.deepEqual(await engine.aggregate('story', { groupBy: ['status'], aggregations: [sum], having: { sum: { $gt: 3 } } }), [{ status: 'done', sum: 7 }]);
  const quarters = [{ field: 'due', dateGranularity: 'quarter', alias: 'quarter' }];
  assert.deepEqual(await engine.aggregate('story', { groupBy: quarters, aggregations: [sum] }), [{ quarter: '2026-Q1', sum: 6 }, { quarter: '2026-Q2', sum: 4 }]);
  const filtered = [{ ...sum, filter: { status: 'done' } }, { function: 'count', alias: 'n' }];
  assert.deepEqual(await engine.aggregate('story', { aggregations: filtered }), [{ sum: 7, n: 4 }]);
  assert.deepEqual(await engine.aggregate('story', { groupBy: quarters, timezone: 'Asia/Tokyo', aggregations: [sum] }), [{ quarter: '2026-Q1', sum: 6 }, { quarter: '2026-Q2', sum: 4 }]);
});

test('the engine expands what a lookup refers to, and what refers to that', async () => {
  const ann = await engine.insert('person', { name: 'Ann' });
  const story = await engine.insert('story', { title: 'a', owner: ann.id });
  await engine.insert('task', { title: 't', story: story.id });
  const [task] = await engine.find('task', { expand: { story: { expand: { owner: { fields: ['name'] } } } } });
  assert.deepEqual([task.story.title, task.story.owner.name], ['a', 'Ann']);
  await engine.update('task', { id: task.id, story: story.id });
  assert.equal((await engine.findOne('task', { where: { id: task.id } })).story, story.id, 'the stored record has the id');
});

test('many are written at once', async () => {
  const made = await engine.insert('story', Array.from({ length: 100 }, (_, points) => ({ title: `s${points}`, points })));
  assert.deepEqual([made.length, new Set(made.map(({ number }) => number)).size], [100, 100]);
  assert.equal(await engine.update('story', { status: 'done' }, { where: { points: { $lt: 40 } }, multi: true }), 40);
  assert.equal(await engine.count('story', { where: { status: 'done' } }), 40);
  assert.equal(await engine.delete('story', { where: { status: 'done' }, multi: true }), 40);
  assert.equal(await engine.count('story'), 60);
});

test('hooks run before and after, and what they change is what is written', async () => {
  const seen = [];
  engine.registerHook('beforeInsert', (context) => { context.input.data.title = context.input.data.title.toUpperCase(); }, { object: 'story' });
  engine.registerHook('afterInsert', ({ result }) => { seen.push(['inserted', result.title]); }, { object: 'story' });
  engine.registerHook('beforeUpdate', ({ previous, input }) => { seen.push(['updating', previous.points, input.data.points]); }, { object: 'story' });
  engine.registerHook('afterUpdate', ({ result, previous }) => { seen.push(['updated', previous.points, result.points]); }, { object: 'story' });
  engine.registerHook('afterFind', (context) => { for (const row of context.result) row.seen = true; }, { object: 'person' });
  engine.registerHook('beforeDelete', ({ previous }) => { if (previous.points === 3) throw Object.assign(new Error('kept'), { code: 'KEPT' }); }, { object: 'story' });
  const { id } = await engine.insert('story', { title: 'a', points: 1 });
  await engine.update('story', { id, points: 2 });
  await engine.update('story', { id, points: 3 });
  assert.deepEqual(seen, [['inserted', 'A'], ['updating', 1, 2], ['updated', 1, 2], ['updating', 2, 3], ['updated', 2, 3]]);
  await refuses(engine.delete('story', { where: { id } }), 'KEPT');
  assert.equal(await engine.count('story'), 1);
  await engine.insert('person', { name: 'Ann' });
  assert.equal((await engine.find('person'))[0].seen, true, 'a hook may change the rows it is handed');
  assert.equal((await driver.find('person'))[0].seen, undefined, 'which are copies');
});

test('a hook writes other records', async () => {
  engine.registerHook('afterInsert', async ({ result, api }) => { await api.object('task').insert({ title: 'first', story: result.id }); }, { object: 'story' });
  const story = await engine.insert('story', { title: 'a' });
  assert.deepEqual((await engine.find('task')).map(({ title, story }) => [title, story]), [['first', story.id]]);
});

test('a transaction is all or nothing, and one commit', async () => {
  const commits = [];
  const database = await driver.database();
  database.on('change', ({ changes }) => commits.push(changes.length));
  await engine.transaction(async (context) => {
    const story = await engine.insert('story', { title: 'a' }, { context });
    await engine.insert('task', [{ title: 't', story: story.id }, { title: 'u', story: story.id }], { context });
    assert.equal(await engine.count('task', {}, { context }), 2);
    assert.equal(await database.count('task'), 0);
  });
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(commits, [2]);
  await assert.rejects(engine.transaction(async (context) => {
    await engine.delete('task', { where: { title: 't' }, multi: true, context });
    throw new RangeError('mine');
  }), RangeError);
  assert.equal(await engine.count('task'), 2);
  await refuses(engine.transaction(async (context) => {
    const [story] = await engine.find('story', {}, { context });
    await database.update('story', story.id, { points: 1 });
    await engine.update('story', { id: story.id, points: 2 }, { context });
  }), 'TRANSACTION_CONFLICT');
  assert.equal((await engine.find('story'))[0].points, 1);
});

test('deleting a record deletes those that belong to it, in one commit', async () => {
  const { id } = await engine.insert('story', { title: 'a' });
  await engine.insert('task', [{ story: id }, { story: id }, { title: 'other' }]);
  const { undoable } = (await driver.database()).status;
  await engine.delete('story', { where: { id } });
  assert.deepEqual([await engine.count('story'), await engine.count('task')], [0, 1]);
  assert.equal((await driver.database()).status.undoable, undoable + 1);
});

test('a duplicate is one to the engine, whether of a unique field or of an id', async () => {
  await engine.insert('person', { id: 'ann', name: 'Ann', email: 'ann@example.com' });
  await refuses(engine.insert('person', { name: 'Other', email: 'ann@example.com' }), 'DUPLICATE_RECORD');
  await refuses(engine.insert('person', { id: 'ann', name: 'Other' }), 'DUPLICATE_RECORD');
  const { id } = await engine.insert('person', { name: 'Bob', email: 'bob@example.com' });
  await refuses(engine.update('person', { id, email: 'ann@example.com' }), 'DUPLICATE_RECORD');
});

test('numbers go on where the records that are there end', async () => {
  const [first, second] = await engine.insert('story', [{ title: 'a' }, { title: 'b' }]);
  assert.deepEqual([first.number, second.number], ['S-001', 'S-002']);
  const again = await engineWith(driver, objects);
  assert.equal((await again.insert('story', { title: 'c' })).number, 'S-003');
});

test('an object that is registered later can be used then', async () => {
  await engine.insert('story', { title: 'a' });
  engine.registry.registerObject({ name: 'note', label: 'Note', fields: { text: { type: 'text' } } });
  await engine.syncObjectSchema('note');
  await engine.insert('note', { text: 'n' });
  assert.deepEqual([await engine.count('story'), await engine.count('note')], [1, 1]);
  await engine.dropObjectSchema('note');
  assert.equal(await driver.count('note'), 0);
});

test('what the engines of two devices write meets on the server', async () => {
  const server = new TestServer({ objects: ['person', 'story'].map((name) => ({ name, sync: { enabled: true } })) });
  const device = async () => {
    const driver = new OfflineDriver({
      name: `engine-${++names}`,
      storage: 'memory',
      objects: ['person', 'story'].map((name) => ({ name, sync: { enabled: true } })),
      sync: { url: '/api/sync', fetch: server.fetch, auto: false },
    });
    drivers.push(driver);
    return { engine: await engineWith(driver, objects), database: await driver.database() };
  };
  const [ada, bob] = [await device(), await device()];
  server.faults.offline = true;
  const { id } = await ada.engine.transaction(async (context) => {
    const ann = await ada.engine.insert('person', { name: 'Ann' }, { context });
    return await ada.engine.insert('story', { title: 'a', points: 1, owner: ann.id }, { context });
  });
  await refuses(ada.database.sync(), 'NETWORK');
  server.faults.offline = false;
  await ada.database.sync();
  assert.equal(server.record('story', id).title, 'a');
  await bob.database.sync();
  assert.equal((await bob.engine.findOne('story', { where: { id }, expand: { owner: {} } })).owner.name, 'Ann');
  await Promise.all([ada.engine.update('story', { id, points: 2 }), bob.engine.update('story', { id, status: 'done' })]);
  for (const { database } of [ada, bob, ada]) await database.sync();
  for (const { engine } of [ada, bob]) {
    const { points, status } = await engine.findOne('story', { where: { id } });
    assert.deepEqual([points, status], [2, 'done']);
  }
  server.write('story', 7, { title: 'of another writer' });
  await ada.database.sync();
  assert.equal((await ada.engine.update('story', { id: '7', points: 7 })).id, '7');
  await ada.database.sync();
  assert.equal(server.record('story', 7).points, 7);
});

test('the engine tells that the driver is well, and closes it', async () => {
  await engine.insert('story', { title: 'a' });
  assert.deepEqual(await engine.checkDriversHealth(), [{ driverName: 'objectql-offline', healthy: true }]);
  await engine.destroy();
  assert.equal(await driver.count('story'), 1, 'what was written stays, and the next call opens it again');
});
