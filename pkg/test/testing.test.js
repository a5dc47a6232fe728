// The helpers for the tests of apps: the test server answers as the real one, and two databases that sync with it agree.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { after, decide, timeOf } from '../dist/testing/decide.js';
import { openTestPair, TestServer } from '../dist/testing/index.js';

const conformance = new URL('../../tests/conformance/', import.meta.url);
const readJson = (name) => JSON.parse(readFileSync(new URL(name, conformance), 'utf8'));

const fields = { title: { type: 'text', required: true }, status: { type: 'select', options: ['open', { value: 'done' }] }, n: { type: 'number' } };
const object = (name, sync) => ({ name, fields, sync: { enabled: true, ...sync } });
const objects = [
  object('story', {}),
  object('price', { conflict_fields: ['n'] }),
  object('note', { strategy: 'crdt' }),
  object('contract', { strategy: 'manual' }),
  object('reading', { direction: 'push-only' }),
  object('catalog', { direction: 'pull-only' }),
];

const NOW = Date.parse('2026-11-22T00:00:00.000Z');
const at = (seconds) => new Date(NOW + seconds * 1000).toISOString();

/** A server whose clock stands still. */
const serverWith = (options = {}) => new TestServer({ objects, now: () => NOW, ...options });

async function post(server, body, init = {}) {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const response = await server.fetch('/api/sync', { method: 'POST', headers: { 'content-type': 'application/json' }, body: text, ...init });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** A client that numbers its mutations and keeps no records. */
class Client {
  checkpoint = null;
  sequence = 0;

  constructor(server, id = 'a') {
    this.server = server;
    this.id = id;
  }

  mutation(operation, recordId, data, more = {}) {
    this.sequence += 1;
    const id = `01a2008d-7400-7000-8000-${Buffer.from(this.id).toString('hex').padStart(4, '0')}${String(this.sequence).padStart(8, '0')}`;
    const rest = { timestamp: at(-60 + this.sequence), clientId: this.id, sequence: this.sequence, baseVersion: null };
    return { id, objectName: 'story', recordId, operation, ...(data && { data }), ...rest, ...more };
  }

  request(mutations) {
    return { clientId: this.id, mutations, lastCheckpoint: this.checkpoint };
  }

  async push(...mutations) {
    const { status, text } = await post(this.server, this.request(mutations));
    assert.equal(status, 200, text);
    const answer = JSON.parse(text);
    this.checkpoint = answer.checkpoint;
    return answer;
  }
}

const statuses = ({ results }) => results.map(({ status, serverVersion }) => (status === 'applied' ? serverVersion : status));

/** The names that a golden file has for checkpoints, and what the server calls them. */
class Checkpoints {
  #known = new Map();

  name(golden, actual) {
    if (golden.checkpoint === undefined) return actual;
    const known = this.#known.get(golden.checkpoint) ?? actual.checkpoint;
    this.#known.set(golden.checkpoint, known);
    assert.equal(actual.checkpoint, known, `the checkpoint ${golden.checkpoint}`);
    return { ...actual, checkpoint: golden.checkpoint };
  }

  replaced(request) {
    const { lastCheckpoint } = request;
    return lastCheckpoint === undefined ? request : { ...request, lastCheckpoint: this.#known.get(lastCheckpoint) ?? lastCheckpoint };
  }
}

for (const file of readdirSync(new URL('exchanges/', conformance)).sort()) {
  test(`the golden exchanges of ${file} are answered as by the real server`, async () => {
    const golden = readJson(`exchanges/${file}`);
    const server = new TestServer({ objects: golden.objects, pageSize: golden.pageSize, now: () => Date.parse(golden.now) });
    const checkpoints = new Checkpoints();
    for (const [number, { request, status, answer }] of golden.exchanges.entries()) {
      const reply = await post(server, checkpoints.replaced(request));
      assert.equal(reply.status, status, `exchange ${number}: ${reply.text}`);
      const actual = checkpoints.name(answer, JSON.parse(reply.text));
      if (status === 200) assert.deepEqual(actual, answer, `exchange ${number}`);
      else for (const [name, expected] of Object.entries(answer)) assert.deepEqual(actual[name], expected, `exchange ${number}: ${name}`);
    }
    assert.ok(golden.exchanges.length > 0);
  });
}

test('the golden mutations are taken, and those that are none are rejected each by itself', async () => {
  let count = 0;
  for (const { type, accepted = [], refused = [] } of readJson('values.json')) {
    if (type !== 'MutationLogEntry') continue;
    for (const [cases, isRefused] of [[accepted, false], [refused, true]]) {
      for (const { json } of cases) {
        const { status, text } = await post(serverWith(), `{"clientId":"a","mutations":[${json}],"lastCheckpoint":null}`);
        assert.equal(status, 200, json);
        assert.equal(JSON.parse(text).results[0].reason?.startsWith('INVALID_MUTATION: ') ?? false, isRefused, `${json}: ${text}`);
        count += 1;
      }
    }
  }
  assert.ok(count > 10, `only ${count} mutations`);
});

test('the golden requests that are none get 400, and those that are get an answer', async () => {
  for (const { type, accepted = [], refused = [] } of readJson('values.json')) {
    if (type !== 'SyncPushRequest') continue;
    for (const { json } of refused) assert.equal((await post(serverWith(), json)).status, 400, json);
    for (const { json } of accepted) assert.notEqual((await post(serverWith(), json)).status, 400, json);
  }
});

test('every answer says what the server does', async () => {
  const server = serverWith({ maxMutationsPerRequest: 7 });
  for (const body of ['', '{"clientId":"a","mutations":[]}']) {
    const { headers } = await post(server, body);
    assert.equal(headers.get('objectql-sync-features'), 'idempotent,chains,echoes,paged,snapshot,strategies');
    assert.equal(headers.get('objectql-sync-max-mutations'), '7');
    assert.equal(headers.get('objectql-sync-time'), String(NOW));
  }
});

test('what is wrong with a request is a problem with a code, and applies nothing', async () => {
  const server = serverWith({ maxMutationsPerRequest: 1 });
  const client = new Client(server);
  const [one, two] = [client.mutation('create', 1, { title: 'a' }), client.mutation('create', 2, { title: 'b' })];
  const json = { 'content-type': 'application/json' };
  for (const [status, code, body, init] of [
    [413, 'TOO_MANY_MUTATIONS', client.request([one, two])],
    [410, 'CHECKPOINT_UNKNOWN', { ...client.request([one]), lastCheckpoint: 'v1.other.0' }],
    [400, 'INVALID_MESSAGE', '{"clientId":"a","mutations":['],
    [415, 'UNSUPPORTED_MEDIA_TYPE', client.request([one]), { headers: { 'content-type': 'text/plain' } }],
    [405, 'METHOD_NOT_ALLOWED', client.request([one]), { method: 'PUT', headers: json }],
  ]) {
    const reply = await post(server, body, init);
    assert.deepEqual([reply.status, reply.headers.get('content-type'), JSON.parse(reply.text).code], [status, 'application/problem+json', code]);
  }
  assert.deepEqual(server.records('story'), []);
  assert.deepEqual(server.requests.map(({ status }) => status), [413, 410, 400, 415, 405]);
});

test('a sequence that was used for another mutation is a cloned client, and nothing of its request is applied', async () => {
  const server = serverWith();
  const client = new Client(server);
  await client.push(client.mutation('create', 1, { title: 'a' }));
  const fresh = client.mutation('create', 2, { title: 'b' });
  const clone = { ...client.mutation('create', 3, { title: 'c' }), sequence: 1 };
  const twice = { ...client.mutation('create', 4, { title: 'd' }), sequence: fresh.sequence };
  for (const second of [clone, twice]) assert.equal((await post(server, client.request([fresh, second]))).status, 409);
  assert.deepEqual(server.records('story').map(({ id }) => id), [1]);
});

test('a repeat has no effect and gets the first verdict in the same bytes', async () => {
  const server = serverWith();
  const client = new Client(server);
  const first = [client.mutation('create', 1, { title: 'a' }), client.mutation('create', 2, {}), client.mutation('update', 1, { title: 'b' })];
  const body = client.request(first);
  const before = await post(server, body);
  server.write('story', 1, { title: 'theirs' });
  const again = JSON.parse((await post(server, body)).text);
  assert.equal(JSON.stringify(again.results), JSON.stringify(JSON.parse(before.text).results));
  assert.equal(server.record('story', 1).title, 'theirs');
});

test('a conflict comes again on a newer base and is judged anew; on the old one it keeps its verdict', async () => {
  const server = serverWith();
  const client = new Client(server);
  const contract = (operation, data, more) => client.mutation(operation, 1, data, { objectName: 'contract', ...more });
  await client.push(contract('create', { title: 'a' }));
  server.write('contract', 1, { title: 'theirs' });
  const mine = contract('update', { title: 'mine' }, { baseVersion: 1 });
  assert.deepEqual(statuses(await client.push(mine)), ['conflict']);
  assert.deepEqual(statuses(await client.push(mine)), ['conflict']);
  assert.deepEqual(statuses(await client.push({ ...mine, baseVersion: 2 })), [3]);
});

test('a chain of mutations needs no answer in between, also after others have written another field', async () => {
  for (const objectName of ['story', 'note', 'contract']) {
    const server = serverWith();
    const client = new Client(server);
    const chain = [{ title: 'a' }, { title: 'b' }, { title: 'c' }];
    const mutations = chain.map((data, n) => client.mutation(n === 0 ? 'create' : 'update', 1, data, { objectName }));
    assert.deepEqual(statuses(await client.push(...mutations.slice(0, 2))), [1, 2]);
    server.write(objectName, 1, { n: 1 });
    assert.deepEqual(statuses(await client.push(mutations[2])), [4]);
    const { title, n } = server.record(objectName, 1);
    assert.deepEqual({ title, n }, { title: 'c', n: 1 });
  }
});

test('of two writes of a field the later one stays, and under crdt each field goes by itself', async () => {
  for (const [objectName, expected] of [['story', { title: 'late', n: 0 }], ['note', { title: 'late', n: 9 }]]) {
    const server = serverWith();
    const [one, two] = [new Client(server, 'a'), new Client(server, 'b')];
    await one.push(one.mutation('create', 1, { title: 'zero', n: 0 }, { objectName, timestamp: at(-50) }));
    await two.push(two.mutation('update', 1, { title: 'late' }, { objectName, timestamp: at(-10), baseVersion: 1 }));
    await one.push(one.mutation('update', 1, { title: 'early', n: 9 }, { objectName, timestamp: at(-20), clientId: 'a', baseVersion: 1 }));
    const { title, n } = server.record(objectName, 1);
    assert.deepEqual({ title, n }, expected, objectName);
  }
});

test('a clock that runs ahead gains nothing, and updated_at never goes back', async () => {
  const server = serverWith();
  const client = new Client(server);
  await client.push(client.mutation('create', 1, { title: 'a', updated_at: at(900) }, { timestamp: at(900) }));
  assert.equal(server.record('story', 1).updated_at, at(0));
  await client.push(client.mutation('update', 1, { title: 'b', updated_at: at(-5) }, { baseVersion: 1 }));
  assert.deepEqual(server.record('story', 1), { id: 1, title: 'b', updated_at: at(0) });
});

test('fields may be called as what every object has', async () => {
  const server = serverWith();
  const client = new Client(server);
  const data = JSON.parse('{"title":"a","__proto__":{"a":1},"constructor":1}');
  await client.push(client.mutation('create', 1, data));
  await client.push(client.mutation('update', 1, JSON.parse('{"__proto__":2,"toString":3}'), { baseVersion: 1 }));
  const record = server.record('story', 1);
  assert.deepEqual(Object.entries(record), [['id', 1], ['title', 'a'], ['__proto__', 2], ['constructor', 1], ['toString', 3]]);
});

test('a snapshot and the log come in pages, and what happens meanwhile is not missed', async () => {
  const server = serverWith({ pageSize: 2 });
  for (let id = 1; id <= 5; id++) server.write('story', id, { title: `story ${id}` });
  const client = new Client(server);
  const seen = new Map();
  const pull = async () => {
    const answer = await client.push();
    for (const { recordId, operation, data } of answer.serverChanges) {
      if (operation === 'delete') seen.delete(recordId);
      else seen.set(recordId, { ...(operation === 'update' && seen.get(recordId)), ...data });
    }
    assert.ok(answer.serverChanges.length <= 2);
    return answer.hasMore === true;
  };
  assert.equal(await pull(), true);
  server.write('story', 1, { title: 'changed' });
  server.write('story', 2, null);
  server.write('story', 4, null);
  while (await pull());
  const byId = (records) => [...records].sort((a, b) => a.id - b.id);
  assert.deepEqual(byId(seen.values()), byId(server.records('story')));
  for (const title of ['a', 'b', 'c']) server.write('story', 3, { title });
  assert.deepEqual([await pull(), seen.get(3).title], [true, 'b']);
  assert.deepEqual([await pull(), seen.get(3).title], [false, 'c']);
});

test('what is push-only does not come back, and the checkpoint moves on all the same', async () => {
  const server = serverWith();
  const client = new Client(server);
  const before = await client.push();
  const { serverChanges, checkpoint } = await client.push(client.mutation('create', 1, { title: 'a' }, { objectName: 'reading' }));
  assert.deepEqual(serverChanges, []);
  assert.notEqual(checkpoint, before.checkpoint);
  assert.equal(server.record('reading', 1).title, 'a');
});

test('after a restore every earlier checkpoint is unknown, and a snapshot has all', async () => {
  const server = serverWith();
  server.write('story', 1, { title: 'a' });
  const client = new Client(server);
  await client.push();
  server.forgetCheckpoints();
  assert.equal((await post(server, client.request([]))).status, 410);
  client.checkpoint = null;
  assert.deepEqual((await client.push()).serverChanges.map(({ recordId }) => recordId), [1]);
});

test('a test writes as somebody else, within what the server takes', () => {
  const server = serverWith();
  assert.deepEqual(server.write('story', 1, { title: 'a', due: new Date(NOW) }), { created_at: at(0), updated_at: at(0), title: 'a', due: at(0), id: 1 });
  assert.equal(server.write('story', 1, { title: 'b' }).title, 'b');
  assert.equal(server.write('story', 1, null), undefined);
  assert.equal(server.write('story', 1, null), undefined);
  assert.equal(server.write('catalog', 'x', { title: 'only pulled' }).id, 'x');
  assert.throws(() => server.write('stories', 1, { title: 'a' }), { code: 'UNKNOWN_OBJECT' });
  assert.throws(() => server.write('story', 2, { status: 'open' }), { code: 'INVALID_VALUE', message: /"title" is required/ });
  assert.throws(() => server.write('story', 2, { title: 'a', status: 'lost' }), { code: 'INVALID_VALUE' });
  assert.throws(() => server.write('story', '', { title: 'a' }), { code: 'INVALID_ID' });
  assert.deepEqual(server.records('story'), []);
  assert.throws(() => server.records('stories'), { code: 'UNKNOWN_OBJECT' });
});

test('what is read of the server is a copy', () => {
  const server = serverWith();
  server.write('story', 1, { title: 'a', tags: ['x'] });
  server.record('story', 1).tags.push('y');
  server.records('story')[0].title = 'b';
  const { title, tags } = server.record('story', 1);
  assert.deepEqual([title, tags], ['a', ['x']]);
});

test('a rule of the test rejects with its reason, until it is taken back', async () => {
  const server = serverWith();
  const client = new Client(server);
  const stop = server.reject(({ operation }) => operation === 'create', 'FORBIDDEN: no more stories');
  const refused = client.mutation('create', 1, { title: 'a' });
  assert.deepEqual((await client.push(refused)).results, [{ status: 'rejected', reason: 'FORBIDDEN: no more stories' }]);
  stop();
  assert.deepEqual(statuses(await client.push(refused, client.mutation('create', 2, { title: 'b' }))), ['rejected', 1]);
});

test('a rule that throws leaves no trace', async () => {
  const server = serverWith();
  const client = new Client(server);
  server.reject(({ recordId }) => { if (recordId === 2) throw new Error('a mistake in the test'); return false; });
  const mutations = [client.mutation('create', 1, { title: 'a' }), client.mutation('create', 2, { title: 'b' })];
  await assert.rejects(post(server, client.request(mutations)), /a mistake in the test/);
  assert.deepEqual(server.records('story'), []);
});

// Decisions: the cases of server/src/decide/tests.rs

const CLOCK = 1_000_000;
const STRATEGIES = ['last-write-wins', 'crdt', 'manual'];

function proposal(operation, clientId, time, baseVersion, data) {
  const timestamp = new Date(time).toISOString();
  return { objectName: 'story', recordId: 1, operation, ...(data && { data }), timestamp, clientId, baseVersion };
}
const create = (client, time, data) => proposal('create', client, time, null, data);
const update = (client, time, base, data) => proposal('update', client, time, base, data);
const remove = (client, time, base) => proposal('delete', client, time, base);

/** One record on a server, with a count of all writes to it as the version. */
class OneRecord {
  record = undefined;
  writes = 0;

  constructor(strategy, ...conflict_fields) {
    this.sync = { enabled: true, strategy, conflict_fields };
  }

  take(mutation) {
    const decision = decide(this.record, mutation, this.sync, CLOCK);
    if (decision.kind === 'write') {
      this.writes += 1;
      const write = { version: this.writes, timestamp: timeOf(mutation, CLOCK), clientId: mutation.clientId };
      this.record = after(this.record, decision.effect, write);
    }
    return decision;
  }

  /** This record after all of these, which must all be written. */
  with(...mutations) {
    for (const mutation of mutations) assert.equal(this.take(mutation).kind, 'write', JSON.stringify(mutation));
    return this;
  }
}

/** Made by `a` at 10 as version 1, and changed by `b` at 50 as version 2. */
const contested = (strategy, ...asked) =>
  new OneRecord(strategy, ...asked).with(create('a', 10, { t: 'old', n: 1 }), update('b', 50, 1, { t: 'theirs' }));

const written = (data) => ({ kind: 'write', effect: { operation: 'update', data } });
const deleted = { kind: 'write', effect: { operation: 'delete' } };
const settled = { kind: 'settled' };
const isRefused = ({ kind, reason }, code) => assert.deepEqual([kind, reason.split(':')[0]], ['refused', code]);
/** The same fields in the same order. */
function same(actual, expected, message) {
  assert.deepEqual(actual, expected, message);
  assert.equal(JSON.stringify(actual), JSON.stringify(expected), message);
}

test('what is not concurrent, does not overlap or is the same is applied whatever its clock says', () => {
  for (const strategy of STRATEGIES) {
    const known = contested(strategy);
    same(known.take(update('a', 1, 2, { t: 'new' })), written({ t: 'new' }), strategy);
    same(known.record.data, { id: 1, t: 'new', n: 1 }, strategy);
    const other = contested(strategy);
    same(other.take(update('a', 1, 1, { n: 2 })), written({ n: 2 }), strategy);
    same(other.take(update('a', 1, 1, { x: null })), written({ x: null }), strategy);
    same(other.take(update('a', 90, 1, { t: 'theirs' })), written({ t: 'theirs' }), strategy);
  }
});

test('own writes are known to a client, and those that overtook them are not', () => {
  for (const strategy of STRATEGIES) {
    const server = new OneRecord(strategy).with(create('a', 10, { t: 0 }));
    for (let t = 1; t < 10; t++) same(server.take(update('a', 10 - t, null, { t })), written({ t }), strategy);
    server.take(update('b', 500, server.writes, { t: 'b' }));
    assert.notEqual(server.take(update('a', 400, 1, { t: 'a' })).kind, 'write', strategy);
  }
});

test('under last-write-wins the later mutation wins as a whole, and conflict fields ask', () => {
  const patch = { t: 'mine', n: 7 };
  for (const [client, time, expected] of [
    ['a', 51, written(patch)],
    ['a', 49, settled],
    // Ties go by client id: a comes before b, c after it.
    ['a', 50, settled],
    ['c', 50, written(patch)],
  ]) same(contested('last-write-wins').take(update(client, time, 1, patch)), expected);
  for (const [time, t] of [[49, 'theirs'], [51, 'mine']]) {
    const server = contested('last-write-wins', 't');
    same(server.take(update('a', time, 1, patch)), { kind: 'conflict', fields: ['t'], suggestion: { id: 1, t, n: 7 } });
    same(server.take(update('a', time, 1, { n: 7 })), written({ n: 7 }));
    same(server.take(update('a', time, 1, { t: 'theirs' })), written({ t: 'theirs' }));
  }
  same(contested('last-write-wins', 'n').take(update('a', 51, 1, patch)), written(patch));
});

test('under crdt the later write of each field wins, under manual any overlap asks', () => {
  const server = new OneRecord('crdt').with(create('a', 10, { t: 'old', n: 1 }), update('b', 50, 1, { t: 'b' }), update('b', 20, 2, { n: 2 }));
  same(server.take(update('a', 40, 1, { t: 'a', n: 3 })), written({ n: 3 }));
  same(server.take(update('a', 45, 1, { t: 'a' })), settled);
  same(server.take(update('a', 60, 1, { t: 'a' })), written({ t: 'a' }));
  for (const time of [1, 99]) {
    const { kind, fields, suggestion } = contested('manual').take(update('a', time, 1, { t: 'mine', n: 7 }));
    assert.deepEqual([kind, fields, typeof suggestion], ['conflict', ['t'], 'object']);
  }
});

test("the driver's own fields never conflict and never go back, and a clock that runs ahead gains nothing", () => {
  for (const strategy of STRATEGIES) {
    const server = new OneRecord(strategy).with(
      create('a', 10_000, { t: 1, created_at: '1970-01-01T00:00:10.000Z', updated_at: '1970-01-01T00:00:10.000Z' }),
      update('b', 50_000, 1, { t: 2, updated_at: '1970-01-01T00:00:50.000Z' }),
    );
    const earlier = { n: 1, id: 1, created_at: '1970-01-01T00:00:01.000Z', updated_at: '1970-01-01T00:00:30.000Z' };
    same(server.take(update('a', 30_000, 1, earlier)), written({ n: 1 }), strategy);
    same(server.take(update('a', 30_000, 1, { updated_at: '1970-01-01T00:00:40.000Z' })), settled, strategy);
    const touched = { updated_at: '1970-01-01T00:00:51.000Z' };
    same(server.take(update('a', 30_000, 1, touched)), written(touched), strategy);
    const future = update('a', 60_000, 1, { n: 2, updated_at: '2099-01-01T00:00:00.000Z' });
    same(server.take(future), written({ n: 2, updated_at: '1970-01-01T00:16:40.000Z' }), strategy);
  }
  const server = new OneRecord('last-write-wins').with(create('a', 10, { t: 0 }), update('b', CLOCK * 9, 1, { t: '2099' }));
  assert.equal(server.record.last.timestamp, CLOCK);
  same(server.take(update('c', CLOCK, 1, { t: 'now' })), written({ t: 'now' }));
});

test('a delete wins over an update in either order; under manual it asks', () => {
  for (const strategy of ['last-write-wins', 'crdt']) {
    const server = contested(strategy, 't');
    same(server.take(remove('a', 1, 1)), deleted, strategy);
    isRefused(server.take(update('b', 99, 2, { t: 1 })), 'RECORD_DELETED');
    assert.equal(server.record.data, null);
  }
  const server = contested('manual');
  same(server.take(remove('a', 99, 1)), { kind: 'conflict', fields: ['t'], suggestion: { id: 1, t: 'theirs', n: 1 } });
  same(server.take(remove('a', 99, 2)), deleted);
  same(server.take(update('b', 99, 2, { t: 1, updated_at: 'x' })), { kind: 'conflict', fields: ['t'] });
  // Whoever knew of the delete gets no second chance.
  isRefused(server.take(update('b', 99, 3, { t: 1 })), 'RECORD_DELETED');
  isRefused(server.take(update('a', 99, 2, { t: 1 })), 'RECORD_DELETED');
});

test('what is not there cannot be updated and need not be deleted', () => {
  for (const strategy of STRATEGIES) {
    const server = new OneRecord(strategy);
    isRefused(server.take(update('a', 1, 1, { t: 1 })), 'RECORD_NOT_FOUND');
    same(server.take(remove('a', 1, 1)), settled);
    same(server.with(create('a', 1, { t: 1 }), remove('a', 2, 1)).take(remove('b', 1, 1)), settled);
  }
});

test('a create of what is there is an update that knew nothing', () => {
  const server = (strategy, ...asked) => new OneRecord(strategy, ...asked).with(create('b', 50, { id: 1, t: 'theirs', n: 1 }));
  const mine = (time) => create('a', time, { id: 1, t: 'mine', n: 1, x: 2 });
  same(server('last-write-wins').take(mine(49)), settled);
  same(server('last-write-wins').take(mine(51)), written({ t: 'mine', n: 1, x: 2 }));
  same(server('crdt').take(mine(49)), written({ x: 2 }));
  same(server('manual').take(mine(49)), { kind: 'conflict', fields: ['t'], suggestion: { id: 1, t: 'theirs', n: 1, x: 2 } });
  assert.equal(server('last-write-wins', 't').take(mine(51)).kind, 'conflict');
});

test('a create of what was deleted begins a new life, which those who saw only the earlier one do not reach', () => {
  for (const strategy of STRATEGIES) {
    for (const again of [create('a', 1, { t: 3 }), create('b', 1, { t: 3 }), create('c', 99, { t: 3 })]) {
      const server = new OneRecord(strategy).with(create('a', 10, { t: 1, n: 1 }), remove('b', 50, 1));
      same(server.take(again), { kind: 'write', effect: { operation: 'create', data: { id: 1, t: 3 } } }, strategy);
      assert.equal(server.record.last.version, 3);
    }
  }
  const twice = (strategy) => new OneRecord(strategy).with(create('a', 10, { t: 1 }), remove('b', 50, 1), create('b', 60, { t: 2 }));
  for (const strategy of ['last-write-wins', 'crdt']) {
    const server = twice(strategy);
    isRefused(server.take(update('c', 99, 1, { n: 9 })), 'RECORD_DELETED');
    same(server.take(remove('c', 99, 1)), settled, strategy);
    same(server.record.data, { id: 1, t: 2 }, strategy);
    // Its own new life is in its chain.
    same(server.take(update('b', 99, 1, { n: 9 })), written({ n: 9 }), strategy);
  }
  for (const mutation of [update('c', 99, 1, { t: 9 }), remove('c', 99, 1)]) assert.equal(twice('manual').take(mutation).kind, 'conflict');
});

test('a base from before a restore counts as none, and no record outgrows what clients take', () => {
  assert.equal(new OneRecord('manual').with(create('b', 10, { t: 1 })).take(update('a', 99, 77, { t: 9 })).kind, 'conflict');
  const half = 'x'.repeat(1 << 19);
  const server = new OneRecord('crdt').with(create('a', 10, { x: half }));
  isRefused(server.take(update('a', 11, 1, { y: half })), 'VALUE_TOO_LARGE');
  same(server.take(update('a', 12, 1, { z: 1 })), written({ z: 1 }));
});

// Faults

test('offline: nothing comes in, and fetch rejects as in a browser', async () => {
  const server = serverWith();
  const client = new Client(server);
  server.faults.offline = true;
  await assert.rejects(post(server, client.request([client.mutation('create', 1, { title: 'a' })])), TypeError);
  assert.deepEqual([server.records('story'), server.requests], [[], []]);
  server.faults.offline = false;
  assert.equal((await post(server, client.request([]))).status, 200);
});

test('a lost answer: applied, and nobody is told', async () => {
  const server = serverWith();
  const client = new Client(server);
  const body = client.request([client.mutation('create', 1, { title: 'a' })]);
  server.faults.next(1, { loseAnswers: true });
  await assert.rejects(post(server, body), TypeError);
  assert.equal(server.record('story', 1).title, 'a');
  assert.deepEqual(server.requests.map(({ status, body }) => [status, body.mutations.length]), [[200, 1]]);
  assert.deepEqual(statuses(JSON.parse((await post(server, body)).text)), [1]);
});

test('another status instead, with the time to come back', async () => {
  const server = serverWith();
  const client = new Client(server);
  const body = client.request([client.mutation('create', 1, { title: 'a' })]);
  server.faults.next(1, { status: 503, retryAfterSeconds: 7 });
  const reply = await post(server, body);
  assert.deepEqual([reply.status, reply.headers.get('retry-after'), JSON.parse(reply.text).code], [503, '7', 'BUSY']);
  for (const status of [200, 204, 302, 304, 404, 410, 429, 599]) {
    server.faults.status = status;
    assert.equal((await post(server, body)).status, status);
  }
  assert.deepEqual(server.records('story'), []);
});

test('unauthorized: 401, and nothing is applied', async () => {
  const server = serverWith();
  const client = new Client(server);
  server.faults.unauthorized = true;
  assert.equal((await post(server, client.request([client.mutation('create', 1, { title: 'a' })]))).status, 401);
  assert.deepEqual(server.records('story'), []);
});

test('a body that is cut: applied, and not to be read', async () => {
  const server = serverWith();
  const client = new Client(server);
  server.faults.garble = true;
  const { status, text } = await post(server, client.request([client.mutation('create', 1, { title: 'a' })]));
  assert.equal(status, 200);
  assert.throws(() => JSON.parse(text));
  assert.equal(server.record('story', 1).title, 'a');
});

test('a request that is given up while it is under way does not come in', async () => {
  const server = serverWith();
  server.faults.delayMs = 60_000;
  const controller = new AbortController();
  const reply = post(server, '{"clientId":"a","mutations":[]}', { signal: controller.signal });
  controller.abort();
  await assert.rejects(reply, { name: 'AbortError' });
  server.faults.next(1, { delayMs: 1 });
  assert.equal((await post(server, '{"clientId":"a","mutations":[]}')).status, 200);
  assert.equal(server.requests.length, 1);
});

test('faults for the next requests come in order, over what stays on, and clear ends all', async () => {
  const server = serverWith();
  const status = async () => (await post(server, '{"clientId":"a","mutations":[]}').catch(() => ({ status: 'none' }))).status;
  server.faults.status = 500;
  server.faults.next(2, { status: 503 });
  server.faults.next(1, { offline: true });
  assert.deepEqual([await status(), await status(), await status(), await status()], [503, 503, 'none', 500]);
  server.faults.next(5, { offline: true });
  server.faults.clear();
  assert.equal(await status(), 200);
});

// Databases

let pairs = [];
afterEach(async () => {
  await Promise.all(pairs.map((pair) => pair.close()));
  pairs = [];
});

async function open(options = {}) {
  const pair = await openTestPair({ objects, ...options });
  pairs.push(pair);
  return pair;
}

const rowsOf = async (db, name) => (await db.find(name, { orderBy: [{ field: 'id' }] })).map((row) => ({ ...row }));

test('what one client writes another one reads', async () => {
  const { db, server, openClient } = await open();
  const made = await db.create('story', { id: 's1', title: 'Ship it' });
  await db.sync();
  assert.deepEqual(server.record('story', 's1'), made);
  const other = await openClient();
  await other.sync();
  assert.deepEqual({ ...(await other.get('story', 's1')) }, made);
  server.write('story', 's1', { title: 'Ship it today' });
  await other.sync();
  assert.equal((await other.get('story', 's1')).title, 'Ship it today');
});

test('a client that is closed and opened again by its name has what it had', async () => {
  const { server, openClient } = await open();
  const first = await openClient('phone');
  await first.create('story', { id: 's1', title: 'a' });
  await first.close();
  const again = await openClient('phone');
  assert.equal(again.status.pending, 1);
  await again.sync();
  assert.equal(server.record('story', 's1').title, 'a');
});

test('two clients agree after lost answers, cut ones, errors, a conflict and a rejection', async () => {
  const { db, server, openClient } = await open({ server: { pageSize: 2 } });
  const other = await openClient();
  const clients = [db, other];
  await db.bulkCreate('story', [1, 2, 3, 4, 5].map((id) => ({ id, title: `story ${id}` })));
  await db.create('contract', { id: 'c', title: 'draft' });
  server.faults.next(1, { loseAnswers: true });
  await assert.rejects(db.sync(), { code: 'NETWORK' });
  await db.sync();
  await other.sync();

  server.reject(({ recordId }) => recordId === 5, 'FORBIDDEN: story 5 stays');
  await db.update('story', 1, { title: 'mine', status: 'open' });
  await other.update('story', 1, { points: 3 });
  await db.delete('story', 2);
  await other.update('story', 2, { title: 'too late' });
  await other.delete('story', 5);
  await db.update('contract', 'c', { title: 'ours' });
  await other.update('contract', 'c', { title: 'yours' });
  for (const [client, fault, code] of [
    [db, { garble: true }, 'INVALID_ANSWER'],
    [db, { status: 503, retryAfterSeconds: 1 }, 'HTTP_STATUS'],
    [db, { unauthorized: true }, 'UNAUTHORIZED'],
    [other, { offline: true }, 'NETWORK'],
    [other, { loseAnswers: true }, 'NETWORK'],
  ]) {
    server.faults.next(2, fault);
    await assert.rejects(client.sync(), { code });
    server.faults.clear();
  }
  for (const client of clients) await client.sync();

  assert.equal((await db.rejected()).length, 0);
  assert.deepEqual((await other.rejected()).map(({ recordId, reason }) => [recordId, reason]).sort(), [
    [2, 'RECORD_DELETED: the record was deleted'],
    [5, 'FORBIDDEN: story 5 stays'],
  ]);
  const [conflict] = await other.conflicts();
  assert.deepEqual([conflict.objectName, conflict.conflictingFields, conflict.serverRecord.title], ['contract', ['title'], 'ours']);
  await other.resolveConflict(conflict.id, 'mine');
  for (const { id } of await other.rejected()) await other.discard(id);
  for (const client of [other, db]) await client.sync();

  const stories = server.records('story');
  assert.deepEqual(stories.map(({ id, title, status, points }) => ({ id, title, status, points })), [
    { id: 1, title: 'mine', status: 'open', points: 3 },
    ...[3, 4, 5].map((id) => ({ id, title: `story ${id}`, status: undefined, points: undefined })),
  ]);
  assert.equal(server.record('contract', 'c').title, 'yours');
  for (const client of clients) {
    assert.deepEqual(await rowsOf(client, 'story'), stories);
    assert.deepEqual(await rowsOf(client, 'contract'), server.records('contract'));
    assert.deepEqual(await client.pendingMutations(), []);
  }
});

test('nothing is applied twice, however often the answer is lost', async () => {
  const { db, server } = await open();
  // Only now does the client know that this server takes repeats.
  await db.sync();
  await db.create('story', { id: 1, title: 'a' });
  for (let n = 0; n < 3; n++) {
    server.faults.next(1, { loseAnswers: true });
    await assert.rejects(db.sync(), { code: 'NETWORK' });
  }
  await db.sync();
  const ids = server.requests.flatMap(({ body }) => body.mutations.map(({ id }) => id));
  assert.deepEqual([ids.length, new Set(ids).size], [4, 1]);
  const { serverChanges } = await new Client(server).push();
  assert.deepEqual(serverChanges.map(({ recordId, serverVersion }) => [recordId, serverVersion]), [[1, 1]]);
});

test('whatever three clients do and whatever goes wrong, in the end all have what the server has', async () => {
  // The seed repeats what is done, not the ids and times: those are the driver's.
  for (let seed = 1; seed <= 10; seed++) {
    const random = randomOf(seed);
    const pick = (choices) => choices[Math.floor(random() * choices.length)];
    const { db, server, openClient } = await open({ server: { pageSize: 3, maxMutationsPerRequest: 5 }, onConflict: () => pick(['mine', 'theirs', null]) });
    const clients = [db, await openClient(), await openClient()];
    const rejecting = server.reject(({ data }) => data?.n === 4, 'FORBIDDEN: no 4');
    for (let step = 0; step < 120; step++) {
      const [client, name, id] = [pick(clients), pick(['story', 'price', 'note', 'contract']), pick([1, 2, 3, '1'])];
      const values = { title: pick(['a', 'b', 'c']), n: pick([1, 2, 3, 4]) };
      const field = pick(['title', 'n']);
      const fault = pick([{ offline: true }, { loseAnswers: true }, { garble: true }, { status: 503 }, { status: 413 }, { unauthorized: true }]);
      await pick([
        () => client.upsert(name, { id, ...values }),
        () => client.update(name, id, { [field]: values[field] }),
        () => client.delete(name, id),
        () => server.write(name, id, pick([values, null])),
        () => client.sync(),
        () => server.faults.next(1, fault),
        () => random() < 0.1 && server.forgetCheckpoints(),
      ])()?.catch?.(({ code }) => assert.match(code, /^(NOT_FOUND|NETWORK|HTTP_STATUS|INVALID_ANSWER|UNAUTHORIZED)$/));
    }
    server.faults.clear();
    rejecting();
    for (let round = 0; round < 10; round++) {
      for (const client of clients) {
        await client.sync();
        for (const { id } of await client.conflicts()) await client.resolveConflict(id, 'theirs').catch(({ code }) => assert.equal(code, 'UNKNOWN_MUTATION'));
        for (const { id } of await client.rejected()) await client.discard(id).catch(({ code }) => assert.equal(code, 'UNKNOWN_MUTATION'));
      }
    }
    const sorted = (rows) => rows.map((row) => ({ ...row })).sort((a, b) => (JSON.stringify(a.id) < JSON.stringify(b.id) ? -1 : 1));
    for (const [at, client] of clients.entries()) {
      for (const name of ['story', 'price', 'note', 'contract']) {
        assert.deepEqual(sorted(await client.find(name)), sorted(server.records(name)), `seed ${seed}, client ${at}, ${name}`);
      }
      assert.deepEqual(await client.pendingMutations(), [], `seed ${seed}, client ${at}`);
    }
  }
});

/** Random numbers that are the same for the same seed (mulberry32). */
function randomOf(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let bits = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

test('a client whose checkpoint is forgotten takes a snapshot and keeps what it has not sent', async () => {
  const { db, server } = await open();
  server.write('story', 1, { title: 'a' });
  await db.sync();
  server.forgetCheckpoints();
  server.write('story', 1, null);
  server.write('story', 2, { title: 'b' });
  await db.create('story', { id: 3, title: 'c' });
  await db.sync();
  assert.deepEqual((await rowsOf(db, 'story')).map(({ id }) => id), [2, 3]);
  assert.equal(server.record('story', 3).title, 'c');
});

test('an app that does not ask for the helpers has none of them', () => {
  const dist = new URL('../dist/', import.meta.url);
  const modules = readdirSync(dist).filter((name) => name.endsWith('.js'));
  const importing = modules.filter((name) => /from '\.\/testing\//.test(readFileSync(new URL(name, dist), 'utf8')));
  assert.ok(modules.includes('index.js'));
  assert.deepEqual(importing, []);
});

test('the example of docs/testing.md does what it says', () => {
  const page = readFileSync(new URL('../../docs/testing.md', import.meta.url), 'utf8');
  const [, example] = /^```js\n([\s\S]*?)^```/m.exec(page);
  const [cwd, env] = [fileURLToPath(new URL('..', import.meta.url)), { ...process.env }];
  // Otherwise it would report to the runner of this file instead.
  delete env.NODE_TEST_CONTEXT;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', example], { cwd, env, encoding: 'utf8', timeout: 30_000 });
  assert.match(output, /^# pass 3$|^ℹ pass 3$/m);
});
