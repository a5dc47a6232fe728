// What the facade itself does, against a driver in memory: handles that share a database, events, live queries, errors.
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { StateError, WasmError } from '../dist/errors.js';
import { changesBetween } from '../dist/live-query.js';
import { Databases } from '../dist/open.js';
import { coded, FakeDriver } from './fake-driver.js';

const objects = [{ name: 'story' }];
let databases;
let reported;

beforeEach(() => {
  FakeDriver.opened = [];
  FakeDriver.destroyed = [];
  FakeDriver.gate = undefined;
  databases = new Databases(async () => FakeDriver);
  reported = [];
  globalThis.reportError = (error) => reported.push(error);
});

const open = (options = {}) => databases.open({ name: 'crm', objects, ...options });
const settle = () => new Promise((resolve) => setTimeout(resolve));
const refuses = (promise, code) => assert.rejects(promise, { code });

test('a name that is opened twice is one database, also when both open at once', async () => {
  const [one, two] = await Promise.all([open(), open()]);
  const three = await open();
  assert.equal(FakeDriver.opened.length, 1);
  const { id } = await one.create('story', { title: 'a' });
  assert.equal((await two.get('story', id)).title, 'a');
  assert.equal((await three.find('story')).length, 1);
});

test('the last handle closes the database, and closing one twice counts once', async () => {
  const [one, two] = await Promise.all([open(), open()]);
  await Promise.all([one.close(), one.close()]);
  await refuses(one.find('story'), 'CLOSED');
  assert.equal((await two.find('story')).length, 0);
  assert.equal(one.status.state, 'closed');
  assert.equal(two.status.state, 'idle');
  await two.close();
  assert.equal(JSON.parse(FakeDriver.opened[0].status()).state, 'closed');
});

test('what opens while the last handle closes gets a fresh database', async () => {
  const one = await open();
  const closing = one.close();
  const two = await open();
  await closing;
  assert.equal(FakeDriver.opened.length, 2);
  assert.equal(two.status.state, 'idle');
});

test('other options for an open name are refused, other functions are not', async () => {
  await open({ sync: { url: '/a', headers: () => ({}) } });
  await open({ sync: { url: '/a', headers: () => ({}) } });
  await refuses(open({ sync: { url: '/b', headers: () => ({}) } }), 'INVALID_OPTIONS');
  await refuses(open({ sync: { url: '/a' } }), 'INVALID_OPTIONS');
  await refuses(open({ durability: 'relaxed' }), 'INVALID_OPTIONS');
  await refuses(open({ sync: { url: 'http://a/a', headers: () => ({}), realtime: true } }), 'INVALID_OPTIONS');
});

test('a socket is offered to the driver only where realtime is on', async () => {
  await open({ sync: { url: 'http://a/a' } });
  await open({ name: 'other', sync: { url: 'http://a/a', realtime: true } });
  assert.deepEqual(FakeDriver.opened.map(({ hooks }) => typeof hooks.connect), ['undefined', 'function']);
  await refuses(open({ name: 'third', sync: { url: '/a', realtime: true } }), 'INVALID_OPTIONS');
});

test('options that are no options are refused before anything is opened', async () => {
  for (const options of [{ name: '' }, { name: 5 }, { objects: {} }, { onConflict: 'mine' }, { sync: { url: '/a', fetch: 1 } }]) {
    await refuses(open(options), 'INVALID_OPTIONS');
  }
  await refuses(databases.open(), 'INVALID_OPTIONS');
  assert.equal(FakeDriver.opened.length, 0);
});

test('an open that fails is told to its caller, and the next one tries again', async () => {
  FakeDriver.gate = Promise.reject(coded('STORAGE_BLOCKED', 'another tab holds it'));
  const [one, two] = await Promise.allSettled([open(), open()]);
  assert.deepEqual([one.reason.code, two.reason.code], ['STORAGE_BLOCKED', 'STORAGE_BLOCKED']);
  FakeDriver.gate = undefined;
  assert.equal((await open()).status.state, 'idle');
});

test('destroy closes every handle and deletes the database, also after close', async () => {
  const [one, two] = await Promise.all([open(), open()]);
  await one.destroy();
  await refuses(one.find('story'), 'CLOSED');
  await refuses(two.find('story'), 'CLOSED');
  assert.deepEqual([one.status.state, two.status.state], ['closed', 'closed']);
  await two.close();
  await two.destroy();
  assert.deepEqual(FakeDriver.destroyed, ['crm', 'crm']);
});

test('fifty openings, closings and deletions in any order leave nothing open', async () => {
  let seed = 7;
  const random = (below) => (seed = (seed * 1103515245 + 12345) % 2147483648) % below;
  const steps = [];
  for (let step = 0; step < 50; step++) {
    steps.push(open().then(async (db) => {
      for (let turns = random(4); turns > 0; turns--) await undefined;
      return random(5) === 0 ? db.destroy() : db.close();
    }));
    if (random(3) === 0) await steps[random(steps.length)];
  }
  await Promise.all(steps);
  assert.ok(FakeDriver.opened.every((driver) => JSON.parse(driver.status()).state === 'closed'));
});

test('what the driver throws arrives as an error with its code, class and cause', async () => {
  const db = await open();
  await db.create('story', { id: 'a' });
  await assert.rejects(db.create('story', { id: 'a' }), (error) => {
    return error instanceof StateError && error.code === 'ALREADY_EXISTS' && error.name === 'StateError';
  });
  await assert.rejects(db.bulkCreate('story', [{ id: 'a' }]), (error) => error.code === 'ALREADY_EXISTS' && error.cause instanceof Error);
  FakeDriver.opened[0].find = () => { throw new WebAssembly.RuntimeError('unreachable'); };
  await assert.rejects(db.find('story'), (error) => error instanceof WasmError && error.code === 'INTERNAL');
});

test('creates that are made together succeed or fail each by itself, in the order of all writes', async () => {
  const db = await open();
  const driver = FakeDriver.opened[0];
  const calls = [];
  const { write } = driver;
  driver.write = (kind, object, first, ...rest) => { calls.push(kind); return write.call(driver, kind, object, first, ...rest); };
  const made = [db.create('story', { id: 1, title: 'one' }), db.create('story', { id: 1 }), db.create('story', { id: 2, text: '\ud800' }), db.create('story', { id: 3 })];
  const deleted = db.delete('story', 3);
  const task = db.create('task', { id: 4 });
  const outcomes = await Promise.allSettled([...made, deleted, task]);
  assert.deepEqual(outcomes.map(({ value, reason }) => value?.id ?? value ?? reason.code), [1, 'ALREADY_EXISTS', 'INVALID_VALUE', 3, true, 4]);
  assert.deepEqual(outcomes[0].value, { id: 1, title: 'one', created_at: 'now', updated_at: 'now' });
  // The one with the odd text parts those before it from those behind it.
  assert.deepEqual(calls, ['createEach', 'createEach', 'delete', 'createEach']);
});

test('creates that are too long together for one call cross in parts, in their order', async () => {
  const db = await open();
  const driver = FakeDriver.opened[0];
  const lengths = [];
  const { write } = driver;
  driver.write = (kind, object, first, ...rest) => { lengths.push(first.length); return write.call(driver, kind, object, first, ...rest); };
  const text = 'x'.repeat(800_000);
  const made = await Promise.all(Array.from({ length: 8 }, (_, id) => db.create('story', { id, text })));
  assert.deepEqual(made.map(({ id }) => id), [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.equal(lengths.length, 2);
  assert.ok(lengths.every((length) => length > 4 * text.length && length < 16 << 20), String(lengths));
});

test('what a write takes is read before the call returns', async () => {
  const db = await open();
  const story = { title: 'before' };
  const written = db.create('story', story);
  story.title = 'after';
  assert.equal((await written).title, 'before');
});

test('arguments of the wrong type reject with a code', async () => {
  const db = await open();
  await refuses(db.find(undefined), 'INVALID_NAME');
  await refuses(db.get('story', undefined), 'INVALID_ID');
  await refuses(db.create('story', []), 'INVALID_VALUE');
  await refuses(db.find('story', { where: { owner: undefined } }), 'INVALID_QUERY');
  await refuses(db.resolveConflict('id', 'ours'), 'INVALID_VALUE');
  await refuses(db.discard(7), 'INVALID_ID');
  assert.throws(() => db.on('changed', () => {}), { code: 'INVALID_OPTIONS' });
});

test('each handle has its own listeners, and one that throws disturbs nobody', async () => {
  const [one, two] = await Promise.all([open(), open()]);
  const seen = [];
  one.on('change', () => { throw new Error('in the app'); });
  const stop = one.on('change', ({ changes }) => seen.push(`one ${changes[0].recordIds}`));
  two.on('change', () => seen.push('two'));
  await one.create('story', { id: 'a' });
  stop();
  await one.create('story', { id: 'b' });
  await two.close();
  await one.create('story', { id: 'c' });
  assert.deepEqual(seen, ['one a', 'two', 'two']);
  assert.deepEqual(reported.map((error) => error.message), ['in the app', 'in the app', 'in the app']);
});

test('an error event carries an error of this package', async () => {
  const db = await open();
  const seen = [];
  db.on('error', (error) => seen.push(error));
  FakeDriver.opened[0].hooks.event('error', '{"code":"QUOTA_EXCEEDED","message":"no room"}');
  await settle();
  assert.equal(seen[0].name, 'StorageError');
  assert.equal(seen[0].message, 'no room');
});

test('headers and fetch are those of the newest handle that has them', async () => {
  const sent = [];
  const sync = (who) => ({ url: '/a', headers: async () => ({ Authorization: who }), fetch: async (url) => sent.push(who + url) });
  const one = await open({ sync: sync('one') });
  const two = await open({ sync: sync('two') });
  const { hooks } = FakeDriver.opened[0];
  assert.deepEqual(await hooks.headers(), { authorization: 'two' });
  await two.close();
  assert.deepEqual(await hooks.headers(), { authorization: 'one' });
  await hooks.fetch('/x', {});
  assert.deepEqual(sent, ['one/x']);
  await one.close();
});

test('onConflict settles what it decides, and leaves the rest parked', async () => {
  const answers = { a: 'mine', b: { title: 'both' }, c: undefined, gone: 'theirs', d: NaN };
  const onConflict = ({ id }) => {
    if (id === 'thrown') throw new Error('in the app');
    return answers[id];
  };
  const db = await open({ onConflict });
  const seen = [];
  db.on('conflict', ({ id }) => seen.push(id));
  const [driver] = FakeDriver.opened;
  for (const id of ['a', 'b', 'c', 'gone', 'd', 'thrown']) {
    driver.hooks.event('conflict', JSON.stringify({ id, objectName: 'story' }));
  }
  await settle();
  assert.deepEqual(seen, ['a', 'b', 'c', 'gone', 'd', 'thrown']);
  assert.deepEqual(driver.answers.map(({ id, resolution }) => [id, resolution]), [['a', 'mine'], ['b', { title: 'both' }], ['gone', 'theirs']]);
  assert.deepEqual(reported.map((error) => error.code ?? error.message).sort(), ['INVALID_VALUE', 'in the app']);
});

test('a conflict that comes while the database opens is decided, too', async () => {
  let go;
  FakeDriver.gate = new Promise((resolve) => { go = resolve; });
  const opening = open({ onConflict: () => 'theirs' });
  await settle();
  FakeDriver.opened[0].hooks.event('conflict', '{"id":"early","objectName":"story"}');
  await settle();
  go();
  await opening;
  await settle();
  assert.deepEqual(FakeDriver.opened[0].answers, [{ id: 'early', resolution: 'theirs' }]);
});

test('a live query gives its first result at once and a new one per turn in which it differs', async () => {
  const db = await open();
  const seen = [];
  const stop = db.liveQuery('story', { where: { status: 'open' } }).subscribe(({ rows }) => seen.push(rows.map((row) => row.id).join()));
  assert.deepEqual(seen, ['']);
  await Promise.all(['a', 'b', 'c'].map((id) => db.create('story', { id, status: 'open' })));
  await settle();
  assert.deepEqual(seen, ['', 'a,b,c']);
  await db.create('story', { id: 'd', status: 'done' });
  await db.create('task', { id: 'e', status: 'open' });
  await settle();
  assert.equal(seen.length, 2);
  stop();
  await db.delete('story', 'a');
  await settle();
  assert.equal(seen.length, 2);
});

test('a live query that cannot run tells so, once', async () => {
  const db = await open();
  const failures = [];
  db.liveQuery('unknown').subscribe(() => assert.fail(), (error) => failures.push(error.code));
  db.liveQuery('unknown').subscribe(() => assert.fail());
  assert.deepEqual(failures, ['UNKNOWN_OBJECT']);
  assert.deepEqual(reported.map((error) => error.code), ['UNKNOWN_OBJECT']);
  assert.throws(() => db.liveQuery('story', { where: { a: undefined } }), { code: 'INVALID_QUERY' });
  await assert.rejects(db.liveQuery('unknown')[Symbol.asyncIterator]().next(), { code: 'UNKNOWN_OBJECT' });
});

test('iterating over a live query skips what is outdated and ends with the database', async () => {
  const db = await open();
  const seen = [];
  const iterating = (async () => {
    for await (const { rows } of db.liveQuery('story')) {
      seen.push(rows.length);
      await settle();
    }
  })();
  await settle();
  for (const id of ['a', 'b', 'c']) await db.create('story', { id });
  await settle();
  await settle();
  await db.close();
  await iterating;
  assert.equal(seen[0], 0);
  assert.equal(seen.at(-1), 3);
});

test('leaving a loop over a live query ends it', async () => {
  const db = await open();
  for await (const { rows } of db.liveQuery('story')) {
    assert.deepEqual(rows, []);
    break;
  }
  assert.deepEqual(FakeDriver.opened[0].lives, []);
});

test('a live query tells what is different, and what is not is the same object', async () => {
  const db = await open();
  const seen = [];
  const told = ({ rows, ...changes }) => {
    const names = Object.entries(changes).filter(([, list]) => list.length > 0);
    seen.push([rows.map(({ id }) => id).join(''), Object.fromEntries(names.map(([name, list]) => [name, list.map(({ id }) => id).join('')]))]);
    last = rows;
  };
  let last;
  for (const id of ['a', 'b', 'c', 'd']) await db.create('story', { id });
  db.liveQuery('story').subscribe(told);
  const [a] = last;
  await db.delete('story', 'b');
  await settle();
  await Promise.all([db.delete('story', 'd'), db.create('story', { id: 'e' })]);
  await settle();
  assert.deepEqual(seen, [['abcd', { added: 'abcd' }], ['acd', { removed: 'b' }], ['ace', { added: 'e', removed: 'd' }]]);
  assert.equal(last[0], a);
  assert.equal(await db.get('story', 'a'), a);
  assert.equal((await db.find('story'))[0], a);
  assert.throws(() => { a.id = 'other'; }, TypeError);
});

test('what is different is found by identity, and what moved by the order of those that stayed', () => {
  const row = (id, value = 0) => ({ id, value });
  const [a, b, c, d, e] = ['a', 'b', 'c', 'd', 'e'].map((id) => row(id));
  const newC = row('c', 1);
  const ids = (result) => Object.fromEntries(Object.entries(result).filter(([name]) => name !== 'rows').map(([name, rows]) => [name, rows.map(({ id }) => id).join('')]));
  for (const [before, after, expected] of [
    [[], [], { added: '', changed: '', removed: '', moved: '' }],
    [[a, b], [a, b], { added: '', changed: '', removed: '', moved: '' }],
    [[a, b, c], [a, newC, b], { added: '', changed: 'c', removed: '', moved: 'c' }],
    [[a, b, c], [a, b, newC], { added: '', changed: 'c', removed: '', moved: '' }],
    [[a, b, c, d, e], [e, a, b, c, d], { added: '', changed: '', removed: '', moved: 'e' }],
    [[a, b, c, d, e], [b, c, d, e, a], { added: '', changed: '', removed: '', moved: 'a' }],
    [[a, b, c], [d, b, e], { added: 'de', changed: '', removed: 'ac', moved: '' }],
    [[a, b, c, d], [d, c, b, a], { added: '', changed: '', removed: '', moved: 'dcb' }],
  ]) {
    const result = changesBetween(before, after);
    assert.equal(result.rows, after);
    assert.deepEqual(ids(result), expected);
  }
});

test('aggregate and distinct hand over what they are asked, in the newer form', async () => {
  const db = await open();
  await db.create('story', { id: 'a', status: 'open', points: 1 });
  await db.create('story', { id: 'b', status: 'open', points: 2 });
  assert.deepEqual(await db.distinct('story', 'status'), ['open']);
  assert.deepEqual(await db.distinct('story', 'points', { id: 'b' }), [2]);
  const [{ object, query }] = await db.aggregate('story', { filters: ['status', '=', 'open'], groupBy: ['status'], skip: 1 });
  assert.deepEqual({ object, query }, { object: 'story', query: { where: { status: { $eq: 'open' } }, groupBy: ['status'], offset: 1 } });
  await refuses(db.distinct('story', 5), 'INVALID_QUERY');
  await refuses(db.aggregate('story', { expand: {} }), 'INVALID_QUERY');
});

test('what is picked from a record has its id, is frozen, and stays the same object', async () => {
  const db = await open();
  await db.create('story', JSON.parse('{"id":"a","title":"A","n":1,"__proto__":{"x":1}}'));
  const [picked] = await db.find('story', { fields: ['title', '__proto__'] });
  assert.deepEqual(Object.entries(picked), [['id', 'a'], ['title', 'A'], ['__proto__', { x: 1 }]]);
  assert.ok(Object.isFrozen(picked));
  const seen = [];
  db.liveQuery('story', { fields: ['title'] }).subscribe(({ rows }) => seen.push(rows[0]));
  await db.create('story', { id: 'b', title: 'B' });
  await settle();
  assert.equal(seen.length, 2);
  assert.equal(seen[0], seen[1]);
  assert.equal((await db.find('story', { fields: ['title'] }))[0], seen[0]);
  await refuses(db.find('story', { fields: 'title' }), 'INVALID_QUERY');
});
