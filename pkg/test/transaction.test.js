// Transactions, bulk forms, undo and redo: the real driver in Node.js, on a log in memory.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { openDatabase } from '../dist/index.js';
import { openTestPair } from '../dist/testing/index.js';

const objects = [
  { name: 'story', fields: { title: { type: 'text' }, slug: { type: 'text', unique: true }, points: { type: 'number' } } },
  { name: 'task', fields: { story: { type: 'lookup', reference_to: 'story' } } },
];
let names = 0;
let db;
const open = (name) => openDatabase({ name, storage: 'memory', objects });
const refuses = (promise, code) => assert.rejects(promise, { code });
const titles = async (from, query) => (await from.find('story', query)).map(({ title }) => title);

beforeEach(async () => { db = await open(`transaction-${++names}`); });
afterEach(() => db.destroy());

test('a transaction reads what it wrote, by id and by query, and others do not before its end', async () => {
  const { id } = await db.create('story', { title: 'b', points: 2 });
  await db.create('story', { title: 'd', points: 4 });
  await db.transaction(async (tx) => {
    const made = await tx.create('story', { title: 'a', points: 1 });
    assert.equal((await tx.get('story', made.id)).title, 'a');
    await tx.update('story', id, { title: 'e' });
    await tx.create('story', { title: 'c', points: 3 });
    const byTitle = { orderBy: [{ field: 'title' }] };
    assert.deepEqual(await titles(tx, byTitle), ['a', 'c', 'd', 'e']);
    assert.deepEqual(await titles(tx, { ...byTitle, offset: 1, limit: 2 }), ['c', 'd']);
    assert.deepEqual(await titles(tx), ['e', 'd', 'a', 'c']);
    assert.deepEqual(await titles(tx, { where: { points: { $lte: 2 } } }), ['e', 'a']);
    assert.deepEqual(await titles(tx, { search: 'e' }), ['e']);
    assert.equal(await tx.count('story', { title: 'b' }), 0);
    assert.deepEqual(await tx.distinct('story', 'points'), [2, 4, 1, 3]);
    assert.deepEqual(await tx.aggregate('story', { aggregations: [{ function: 'sum', field: 'points', alias: 'sum' }] }), [{ sum: 10 }]);
    assert.equal(await tx.delete('story', made.id), true);
    assert.equal(await tx.get('story', made.id), undefined);
    assert.deepEqual((await tx.find('story', { fields: ['points'], limit: 1 })).map((row) => ({ ...row })), [{ id, points: 2 }]);
    assert.deepEqual(await titles(db, byTitle), ['b', 'd']);
  });
  assert.deepEqual(await titles(db), ['e', 'd', 'c']);
});

test('a parent and its child are made together, and expanded in the transaction', async () => {
  const rows = await db.transaction(async (tx) => {
    const { id } = await tx.create('story', { title: 'a' });
    await tx.create('task', { story: id });
    return await tx.find('task', { expand: { story: true } });
  });
  assert.equal(rows[0].story.title, 'a');
  assert.equal((await db.find('task', { expand: { story: true } }))[0].story.title, 'a');
});

test('nothing is left of a transaction whose work fails, and its error comes through', async () => {
  await assert.rejects(db.transaction(async (tx) => {
    await tx.create('story', { title: 'a' });
    throw new RangeError('mine');
  }), RangeError);
  await refuses(db.transaction(async (tx) => {
    await tx.create('story', { title: 'a' });
    await tx.update('story', 'nobody', { title: 'b' });
  }), 'NOT_FOUND');
  assert.equal(await db.count('story'), 0);
});

test('a write that fails leaves the transaction as it was', async () => {
  await db.transaction(async (tx) => {
    await tx.create('story', { id: 'a', slug: 's' });
    await refuses(tx.bulkCreate('story', [{ id: 'b' }, { id: 'a' }]), 'ALREADY_EXISTS');
    await refuses(tx.create('story', { slug: 's' }), 'UNIQUE_VIOLATION');
    await tx.create('story', { id: 'b' });
  });
  assert.deepEqual((await db.find('story')).map(({ id }) => id), ['a', 'b']);
});

test('a transaction is run again where what it read was changed', async () => {
  const { id } = await db.create('story', { points: 0 });
  const add = () => db.transaction(async (tx) => {
    const { points } = await tx.get('story', id);
    await new Promise((resolve) => setTimeout(resolve));
    await tx.update('story', id, { points: points + 1 });
  }, { retries: 100 });
  await Promise.all(Array.from({ length: 20 }, add));
  assert.equal((await db.get('story', id)).points, 20);
});

test('who must not be run again is told, also of records that came', async () => {
  const { id } = await db.create('story', { title: 'a' });
  const cases = [
    ['a record', (tx) => tx.get('story', id), () => db.update('story', id, { title: 'x' })],
    ['a query', (tx) => tx.find('story', { where: { points: 7 } }), () => db.create('story', { points: 7 })],
    ['a count', (tx) => tx.count('story'), () => db.create('story', {})],
    ['values', (tx) => tx.distinct('story', 'title'), () => db.create('story', {})],
    ['an update', (tx) => tx.update('story', id, { points: 1 }), () => db.delete('story', id)],
  ];
  for (const [name, read, change] of cases) {
    const tx = await db.beginTransaction();
    await read(tx);
    await change();
    await tx.create('story', { title: 'never' });
    await refuses(tx.commit(), 'TRANSACTION_CONFLICT');
    assert.equal(await db.count('story', { title: 'never' }), 0, name);
  }
});

test('changes that a transaction did not look at do not disturb it', async () => {
  const { id } = await db.create('story', { title: 'a', points: 1 });
  const tx = await db.beginTransaction();
  assert.equal((await tx.get('story', id)).title, 'a');
  assert.equal((await tx.find('story', { where: { points: 1 } })).length, 1);
  await db.create('story', { points: 2 });
  await db.create('task', {});
  await tx.create('story', { title: 'b' });
  await tx.commit();
  assert.equal(await db.count('story'), 3);
});

test('a transaction is one commit', async () => {
  const events = [];
  db.on('change', (event) => events.push(event));
  await db.transaction(async (tx) => {
    for (let n = 0; n < 50; n++) await tx.create('story', { points: n });
    await tx.create('task', {});
  });
  assert.deepEqual(events.map(({ changes }) => changes.map(({ recordIds }) => recordIds.length)), [[50, 1]]);
});

test('after its end a transaction takes nothing more', async () => {
  const tx = await db.beginTransaction();
  await tx.create('story', { id: 'a' });
  await tx.rollback();
  assert.equal(tx.isEnded, true);
  await tx.rollback();
  for (const call of [() => tx.create('story', {}), () => tx.get('story', 'a'), () => tx.find('story'), () => tx.count('story'), () => tx.commit()]) {
    await refuses(call(), 'TRANSACTION_ENDED');
  }
  assert.equal(await db.count('story'), 0);
  await db.transaction(async (tx) => {
    await tx.create('story', {});
    await tx.rollback();
  });
  assert.equal(await db.count('story'), 0);
});

test('the error of the work comes through when the database is closed meanwhile, and a number of runs that is none ends', async () => {
  await assert.rejects(db.transaction(async () => {
    await db.close();
    throw new RangeError('mine');
  }), RangeError);
  db = await open(db.name);
  await db.create('story', { id: 'a' });
  let runs = 0;
  const disturbed = db.transaction(async (tx) => {
    runs++;
    await tx.get('story', 'a');
    await db.update('story', 'a', { points: runs });
  }, { retries: NaN });
  await refuses(disturbed, 'TRANSACTION_CONFLICT');
  assert.equal(runs, 1);
});

test('a transaction that nobody ends is over with its handle', async () => {
  const other = await open(db.name);
  const tx = await other.beginTransaction();
  await tx.create('story', { id: 'a' });
  await other.close();
  await refuses(tx.commit(), 'CLOSED');
  assert.equal(await db.count('story'), 0);
});

test('bulk forms do all or nothing', async () => {
  await db.bulkCreate('story', [{ id: 'a', points: 1 }, { id: 'b', points: 2 }, { id: 'c', points: 3 }]);
  const changed = await db.bulkUpdate('story', [{ id: 'b', data: { points: 20 } }, { id: 'a', data: { points: 10 } }]);
  assert.deepEqual(changed.map(({ id, points }) => [id, points]), [['b', 20], ['a', 10]]);
  await refuses(db.bulkUpdate('story', [{ id: 'a', data: { points: 0 } }, { id: 'z', data: {} }]), 'NOT_FOUND');
  assert.equal((await db.get('story', 'a')).points, 10);
  assert.equal(await db.updateMany('story', { points: { $gte: 10 } }, { title: 'big' }), 2);
  assert.equal(await db.updateMany('story', { points: 99 }, { title: 'none' }), 0);
  assert.equal(await db.count('story', { title: 'big' }), 2);
  await refuses(db.updateMany('story', {}, { slug: 'same' }), 'UNIQUE_VIOLATION');
  assert.equal(await db.count('story', { slug: { $null: true } }), 3);
  assert.equal(await db.bulkDelete('story', ['a', 'z', 'a']), 1);
  assert.equal(await db.deleteMany('story', [['points', '>', 3]]), 1);
  assert.equal(await db.deleteMany('story', {}), 1);
  await refuses(db.deleteMany('story', undefined), 'INVALID_QUERY');
  await refuses(db.updateMany('story', null, {}), 'INVALID_QUERY');
  await refuses(db.bulkDelete('story', 'a'), 'INVALID_VALUE');
  await refuses(db.bulkUpdate('story', [{ id: 'a' }]), 'INVALID_VALUE');
  assert.equal(await db.count('story'), 0);
});

test('undo takes back calls and transactions, the last one first, and redo makes them again', async () => {
  await db.create('story', { id: 'a', title: 'one', points: 1 });
  await db.update('story', 'a', { title: 'two', note: 'new' });
  await db.transaction(async (tx) => {
    await tx.delete('story', 'a');
    await tx.create('story', { id: 'b' });
  });
  const state = async () => (await db.find('story', { fields: ['title', 'note', 'points'] })).map((row) => ({ ...row }));
  const states = [await state()];
  while (await db.undo()) states.push(await state());
  assert.deepEqual(states, [
    [{ id: 'b' }],
    [{ id: 'a', title: 'two', points: 1, note: 'new' }],
    [{ id: 'a', title: 'one', points: 1, note: null }],
    [],
  ]);
  assert.deepEqual([db.status.undoable, db.status.redoable], [0, 3]);
  while (await db.redo());
  assert.deepEqual(await state(), [{ id: 'b' }]);
  assert.deepEqual([db.status.undoable, db.status.redoable], [3, 0]);
  assert.equal(await db.redo(), false);
});

test('what somebody changed since is left alone by undo, and what is gone stays gone', async () => {
  const synced = objects.map((object) => ({ ...object, sync: { enabled: true } }));
  const { db: mine, server, close } = await openTestPair({ objects: synced });
  await mine.create('story', { id: 'a', title: 'one', points: 1 });
  await mine.create('story', { id: 'b', title: 'one' });
  await mine.update('story', 'a', { title: 'two', points: 2 });
  await mine.update('story', 'b', { title: 'two' });
  await mine.sync();
  server.write('story', 'a', { points: 3 });
  server.write('story', 'b', null);
  await mine.sync();
  assert.deepEqual([await mine.undo(), await mine.undo()], [true, true]);
  await mine.sync();
  const { title, points } = server.record('story', 'a');
  assert.deepEqual([title, points, server.record('story', 'b')], ['one', 3, undefined]);
  await close();
});

test('undo goes on after the database was closed, and a new write ends what can be redone', async () => {
  await db.create('story', { id: 'a', title: 'one' });
  await db.update('story', 'a', { title: 'two' });
  await db.close();
  db = await open(db.name);
  assert.equal(await db.undo(), true);
  assert.equal((await db.get('story', 'a')).title, 'one');
  assert.equal(db.status.redoable, 1);
  await db.update('story', 'a', { title: 'three' });
  assert.equal(await db.redo(), false);
  assert.equal(await db.undo(), true);
  assert.equal((await db.get('story', 'a')).title, 'one');
});
