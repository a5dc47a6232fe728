// The workloads. Each returns milliseconds, and checks what it got: a peer that loses or mixes records does not count.
import { PEERS } from './peers.js';

const STATUSES = ['open', 'doing', 'waiting', 'done', 'cancelled'];
const WORDS = 'call review contract renewal invoice meeting proposal draft budget quarter pipeline ticket demo pricing order'.split(' ');

/** Records of ten fields and about 420 bytes, the same each time. */
function records(count, from = 0) {
  return Array.from({ length: count }, (_, index) => {
    const at = from + index;
    const text = (words, step) => Array.from({ length: words }, (_, word) => WORDS[(at * step + word * 7) % WORDS.length]).join(' ');
    return {
      id: `record-${String(at).padStart(8, '0')}`,
      title: `${text(5, 3)} ${at}`,
      status: STATUSES[(at * 7919) % 5],
      assignee: `user-${at % 100}`,
      points: (at * 31) % 1000 / 10,
      priority: 1 + (at % 5),
      done: at % 3 === 0,
      tags: [text(1, 5), text(1, 11)],
      notes: text(22, 13),
      due: new Date(Date.UTC(2024, 0, 1) + at * 60_000).toISOString(),
    };
  });
}

/** One repeat of everything but reopening, on a new database. */
export async function run(peer) {
  return onNewDatabase(peer, everything);
}

/** What `npm test` compares with raw IndexedDB: little of everything, in some seconds. */
export async function compare(peer) {
  return onNewDatabase(peer, async (db, measure) => {
    const many = await writes(db, measure);
    await gets(db, measure, many);
    await measure('equality, 1% of 11,201 (20)', times(20, async () => check((await db.of('user-7')).length >= 110, 'equality')));
    await measure('all of 11,201 (3)', times(3, async () => check((await db.all()).filter(({ title }) => title.length > 0).length === 11_201, 'all')));
  });
}

/** Runs `task` with a database and with what takes the time of its steps; returns the times. */
async function onNewDatabase(peer, task) {
  const name = `bench-${crypto.randomUUID()}`;
  const db = await PEERS[peer](name);
  const results = {};
  await task(db, async (step, measured) => {
    const from = performance.now();
    const outcome = await measured();
    results[step] = performance.now() - from;
    return outcome;
  });
  await db.close();
  indexedDB.deleteDatabase(name);
  return results;
}

/** What is too short for the clock is done many times over. */
function times(count, task) {
  return async () => {
    let outcome;
    for (let time = 0; time < count; time++) outcome = await task();
    return outcome;
  };
}

/** One by one, at once, in bulk; returns the records of the last. */
async function writes(db, measure) {
  await db.create(records(1, 1e7)[0]);
  const single = records(200, 2e7);
  await measure('create, one by one (200)', async () => { for (const record of single) await db.create(record); });
  const together = records(1_000, 3e7);
  await measure('create, 1,000 at once', () => Promise.all(together.map((record) => db.create(record))));
  const many = records(10_000);
  await measure('bulk create, 10,000', () => db.createMany(many));
  return many;
}

async function gets(db, measure, many) {
  await measure('get by id (1,000)', async () => {
    for (let at = 0; at < 1_000; at++) {
      const { id } = many[(at * 7919) % many.length];
      check((await db.get(id))?.id === id, 'get');
    }
  });
}

async function everything(db, measure) {
  const many = await writes(db, measure);
  await gets(db, measure, many);
  await measure('get by id again (1,000)', async () => {
    for (let at = 0; at < 1_000; at++) check((await db.get(many[(at * 7919) % many.length].id)) !== undefined, 'get');
  });
  for (const [again, count] of [['', 1], [', 20 times again', 20]]) {
    const found = await measure(`equality, 2,240 of 11,201${again}`, times(count, () => db.withStatus('done')));
    check(found.length >= 2_000 && found.every(({ status }) => status === 'done'), 'equality');
    const few = await measure(`equality, 112 of 11,201${again}`, times(count, () => db.of('user-7')));
    check(few.length >= 110 && few.every(({ assignee }) => assignee === 'user-7'), 'equality');
    const newest = await measure(`top 20 of 11,201${again}`, times(count, () => db.newest(20)));
    check(newest.length === 20 && newest.every((record, at) => at === 0 || record.due <= newest[at - 1].due), 'top 20');
    const counted = await measure(`count${again}`, times(count, () => db.count('done')));
    check(counted === found.length, 'count');
    const expensive = await measure(`without an index, 112 of 11,201${again}`, times(count, () => db.expensive(98.9)));
    check(expensive.length > 50 && expensive.every(({ points }) => points > 98.9), 'without an index');
  }
}

/** What 100 live queries add to a write, in milliseconds: the medians of 100 writes with none, with one and with 100. */
export async function watchWrites() {
  const db = await PEERS.driver(`bench-live-${crypto.randomUUID()}`);
  await db.createMany(records(10_000));
  const medians = {};
  for (const lives of [0, 1, 100]) {
    const stops = Array.from({ length: lives }, (_, at) => db.live(`user-${at}`, () => undefined));
    const times = [];
    for (let at = 0; at < 100; at++) {
      const from = performance.now();
      await db.update(records(1, at * 100)[0].id, { points: at });
      times.push(performance.now() - from);
    }
    medians[lives] = times.sort((one, other) => one - other)[50];
    for (const stop of stops) stop();
  }
  await db.close();
  return medians;
}

/** Fills a database that is opened again in another page. */
export async function fill(peer, name, count) {
  const db = await PEERS[peer](name);
  for (let at = 0; at < count; at += 5_000) await db.createMany(records(Math.min(5_000, count - at), at));
  await db.close();
}

/** Opens it, until the first query is answered. */
export async function reopen(peer, name, count) {
  const from = performance.now();
  const db = await PEERS[peer](name);
  const [newest] = await db.newest(1);
  const ms = performance.now() - from;
  check(newest.id === records(1, count - 1)[0].id, 'reopen');
  await db.close();
  return ms;
}

/** Keeps a database that is not synced open until it has folded its rows into segments, as it does beside an app's work. */
export async function letCompact(name) {
  const db = await PEERS.local(name);
  await db.newest(1);
  const request = (asked) => new Promise((resolve, reject) => Object.assign(asked, { onsuccess: () => resolve(asked.result), onerror: () => reject(asked.error) }));
  const database = await request(indexedDB.open(name));
  while ((await request(database.transaction('log').objectStore('log').count())) > 1) await new Promise((resolve) => setTimeout(resolve, 100));
  database.close();
  await db.close();
}

/** Opens it, and how long it takes until the first record is there, and the first query answered. */
export async function beginAgain(name, count) {
  const from = performance.now();
  const db = await PEERS.local(name);
  const last = records(1, count - 1)[0];
  check((await db.get(last.id))?.id === last.id, 'the first get');
  const get = performance.now() - from;
  check((await db.newest(1))[0].id === last.id, 'the first query');
  const query = performance.now() - from;
  await db.close();
  return { get, query };
}

/** What this tab has open beside others. */
let joined;
const clock = () => performance.timeOrigin + performance.now();

/** Opens a database that other tabs have open, too, and notes when it sees what they write. */
export async function join(name) {
  const db = await PEERS.driver(name);
  const seen = {};
  db.live('everybody', (rows) => { for (const { id } of rows) seen[id] ??= clock(); });
  joined = { db, seen };
}

/** 100 writes, one by one: how long each took, and when it was durable. */
export async function writeBesideOthers(from) {
  const writes = [];
  for (const record of records(100, from)) {
    const began = performance.now();
    await joined.db.create({ ...record, assignee: 'everybody' });
    writes.push({ id: record.id, ms: performance.now() - began, at: clock() });
  }
  return writes;
}

/** When this tab saw what others wrote. */
export async function whenSeen(ids) {
  while (ids.some((id) => joined.seen[id] === undefined)) await new Promise((resolve) => setTimeout(resolve, 10));
  return joined.seen;
}

/** How many read-write transactions 1,000 writes made at once cost. */
export async function countTransactions() {
  const db = await PEERS.driver('bench-transactions');
  const { transaction } = IDBDatabase.prototype;
  let count = 0;
  IDBDatabase.prototype.transaction = function (stores, mode, ...rest) {
    if (mode === 'readwrite') count++;
    return transaction.call(this, stores, mode, ...rest);
  };
  await Promise.all(records(1_000).map((record) => db.create(record)));
  IDBDatabase.prototype.transaction = transaction;
  await db.close();
  return count;
}

/** 1,000 queued mutations, at the default batch size, to the server. */
export async function drain() {
  const db = await PEERS.driver('bench-drain');
  await db.createMany(records(1_000));
  const from = performance.now();
  const { requests, applied } = await db.sync();
  const ms = performance.now() - from;
  check(applied === 1_000, 'drain');
  await db.close();
  return { requests, ms };
}

function check(isRight, what) {
  if (!isRight) throw new Error(`${what}: the result is wrong`);
}
