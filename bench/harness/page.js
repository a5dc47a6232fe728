// Runs inside the page. Every function returns plain JSON; node decides what to run and when.
import { makeDocs, STATUSES, ASSIGNEES } from './data.js';

const now = () => performance.now();
const median = (a) => [...a].sort((x, y) => x - y)[a.length >> 1];
let sink = 0;
const touch = (rows) => { for (const r of rows) sink += r.title.length; return rows.length; };
const check = (got, want, what) => { if (got !== want) throw new Error(`${what}: got ${got}, want ${want}`); };
const timed = async (fn) => { const t = now(); const v = await fn(); return [now() - t, v]; };
const concurrent = (db, docs) => db.createConcurrent ? db.createConcurrent(docs) : Promise.all(docs.map((d) => db.createOne(d)));
const flush = (db) => db.flush ? db.flush() : undefined;
const countBy = (docs, f, v) => docs.reduce((n, d) => n + (d[f] === v), 0);

export function start(adapter) {
  const { open, destroy } = adapter;
  const scriptStart = window.__t0;

  async function warmup() {
    const docs = makeDocs(300, 999);
    const db = await open('warmup');
    for (let i = 0; i < 30; i++) await db.createOne(docs[i]);
    await concurrent(db, docs.slice(30, 100));
    await db.createMany(docs.slice(100));
    for (let i = 0; i < 30; i++) await db.updateOne(docs[i].id, { title: 'warm ' + i });
    for (let i = 0; i < 100; i++) await db.get(docs[i].id);
    for (let i = 0; i < 5; i++) {
      touch(await db.findWhere('status', STATUSES[i]));
      touch(await db.findSorted('due_at', 20 + i));
      await db.count('status', STATUSES[i]);
      touch(await db.scanAll(i));
    }
    await flush(db);
    await db.close();
    await destroy('warmup');
  }

  const bench = {
    meta: adapter.meta,

    // workload 1
    async cold() {
      const [doc] = makeDocs(1, 5);
      const t0 = now();
      const db = await open('cold');
      const t1 = now();
      await db.createOne(doc);
      const t2 = now();
      await flush(db);
      const t3 = now();
      await db.close();
      return { open: t1 - t0, firstWrite: t2 - t0, firstWriteFromScript: t2 - scriptStart, firstWritePersisted: t3 - t0 };
    },

    // workloads 2 and 3
    async writes({ creates = 200 } = {}) {
      await warmup();
      const out = {};
      let db = await open('w2');
      let docs = makeDocs(creates, 11);
      out.create = [];
      for (const d of docs) out.create.push((await timed(() => db.createOne(d)))[0]);
      out.createFlush = (await timed(() => flush(db)))[0];
      check(await db.count('status', 'open'), countBy(docs, 'status', 'open'), 'w2 count');
      await db.close(); await destroy('w2');

      db = await open('w3');
      docs = makeDocs(1000, 12);
      const t = now();
      await concurrent(db, docs);
      out.concurrent = now() - t;
      await flush(db);
      out.concurrentPersisted = now() - t;
      check((await db.scanAll(0)).length, 1000, 'w3 scan');
      await db.close(); await destroy('w3');
      return out;
    },

    // workloads 4 to 10 and 12, on a database left behind for the reopen test
    async main({ n, updates = 200, gets = 1000, liveWrites = 20 }) {
      await warmup();
      const out = {};
      const docs = makeDocs(n, 1);
      const db = await open('main');
      let t = now();
      await db.createMany(docs);
      out.bulk = now() - t;
      await flush(db);
      out.bulkPersisted = now() - t;

      // The very first query after the load: lazy indexes are built here.
      const [firstQ, firstRows] = await timed(async () => touch(await db.findWhere('status', STATUSES[0])));
      out.firstQueryAfterLoad = firstQ;
      check(firstRows, countBy(docs, 'status', STATUSES[0]), 'status query');

      const ids = Array.from({ length: gets }, (_, i) => docs[(i * 7) % n].id);
      t = now();
      for (const id of ids) sink += (await db.get(id)).title.length;
      out.getUs = ((now() - t) / ids.length) * 1000;

      const each = async (times, fn) => {
        const ts = [];
        for (let i = 0; i < times; i++) ts.push((await timed(() => fn(i)))[0]);
        return median(ts);
      };
      let rows = 0;
      out.eq20 = await each(4, async (i) => { rows = touch(await db.findWhere('status', STATUSES[i + 1])); });
      check(rows, countBy(docs, 'status', STATUSES[4]), 'eq20');
      out.eq1 = await each(15, async (i) => { rows = touch(await db.findWhere('assignee', ASSIGNEES[i])); });
      check(rows, countBy(docs, 'assignee', ASSIGNEES[14]), 'eq1');
      let top;
      out.sorted = await each(9, async (i) => { top = await db.findSorted('due_at', 20 + i); touch(top); });
      const want = [...docs].sort((a, b) => (a.due_at < b.due_at ? 1 : -1)).slice(0, 28).map((d) => d.due_at).join();
      check(top.map((d) => d.due_at).join(), want, 'sorted');
      let c;
      out.count = await each(5, async (i) => { c = await db.count('status', STATUSES[i]); });
      check(c, countBy(docs, 'status', STATUSES[4]), 'count');
      out.scan = await each(3, async (i) => { rows = touch(await db.scanAll(i)); });
      check(rows, n, 'scan');

      out.update = [];
      for (let i = 0; i < updates; i++) {
        const id = docs[(i * 37 + 5) % n].id;
        const patch = { title: `updated ${i}`, priority: 9, due_at: new Date(Date.UTC(2026, 0, 1) + i * 1000).toISOString() };
        out.update.push((await timed(() => db.updateOne(id, patch)))[0]);
      }
      const u = await db.get(docs[5].id);
      check(u.priority, 9, 'update');
      check(u.notes, docs[5].notes, 'update kept other fields');
      out.updateFlush = (await timed(() => flush(db)))[0];

      if (db.subscribe) {
        // When the last write was on the disk, as IndexedDB says; of peers that write elsewhere, or later, that is not known.
        let durableAt = 0;
        const { transaction } = IDBDatabase.prototype;
        IDBDatabase.prototype.transaction = function (stores, mode, options) {
          const made = transaction.call(this, stores, mode, options);
          if (mode === 'readwrite') made.addEventListener('complete', () => { durableAt = now(); });
          return made;
        };
        const extra = makeDocs(liveWrites * 2 + 10, 77);
        const live = async (subs, base) => {
          let waiting = null;
          let firsts = 0;
          const seen = new Set();
          const unsubs = [];
          for (let i = 0; i < subs; i++) {
            unsubs.push(await db.subscribe('assignee', ASSIGNEES[i], (rows) => {
              if (!seen.has(i)) { seen.add(i); firsts++; }
              if (waiting && waiting.sub === i && rows.some((r) => r.id === waiting.id)) { const w = waiting; waiting = null; w.resolve(now()); }
            }));
          }
          const deadline = now() + (adapter.meta.liveInitial === false ? 0 : 20_000);
          while (firsts < subs && now() < deadline) await new Promise((r) => setTimeout(r, 10));
          const lat = [];
          const after = [];
          for (let i = 0; i < liveWrites; i++) {
            const sub = (i * 13) % subs;
            const doc = { ...extra[base + i], assignee: ASSIGNEES[sub] };
            const t0 = now();
            const seenAt = new Promise((resolve) => { waiting = { id: doc.id, sub, resolve }; });
            const p = db.createOne(doc);
            const at = await seenAt;
            lat.push(at - t0);
            if (durableAt > t0) after.push(at - durableAt);
            await p;
            await new Promise((r) => setTimeout(r, 5));
          }
          for (const u of unsubs) await u();
          return [lat, after];
        };
        [out.live1, out.live1Durable] = await live(1, 0);
        [out.live100, out.live100Durable] = await live(100, liveWrites);
        IDBDatabase.prototype.transaction = transaction;
      }
      await db.close();
      return out;
    },

    async load({ name, n, chunk = 10_000 }) {
      const docs = makeDocs(n, 1);
      const db = await open(name);
      const t = now();
      for (let i = 0; i < n; i += chunk) await db.createMany(docs.slice(i, i + chunk));
      const load = now() - t;
      await flush(db);
      const persisted = now() - t;
      await db.findWhere('assignee', ASSIGNEES[3]); // builds lazy indexes, as an app that ran before would have
      // What a peer does in the background after a load (a save, a compaction) an app gives it the time for.
      await new Promise((resolve) => setTimeout(resolve, 6_000));
      await db.close();
      return { load, persisted };
    },

    // workload 11. Leaves the database open so that node can measure memory afterwards.
    async reopen({ name, id }) {
      const t0 = now();
      const db = await open(name);
      const t1 = now();
      const doc = await db.get(id);
      const t2 = now();
      const rows = await db.findWhere('assignee', ASSIGNEES[3]);
      touch(rows);
      const t3 = now();
      if (!doc) throw new Error('record lost');
      window.__keep = db;
      return { script: t0 - scriptStart, open: t1 - t0, firstGet: t2 - scriptStart, firstQuery: t3 - scriptStart, rows: rows.length };
    },

    async memory() {
      const r = await performance.measureUserAgentSpecificMemory();
      return { bytes: r.bytes };
    },

    // What the origin's storage takes on the disk, IndexedDB and OPFS together.
    async disk() {
      return (await navigator.storage.estimate()).usage;
    },

    // Workload 14, of adapters with `openSynced`: what was written without a network, until the server has all of it and the client
    // has written down that it has.
    async drain({ name, n, seed }) {
      const db = await adapter.openSynced(name);
      await concurrent(db, makeDocs(n, seed));
      check(await db.queued(), n, 'queued');
      const [ms, { requests, bytes }] = await timed(() => db.sync());
      check(await db.queued(), 0, 'still queued');
      await db.close();
      return { ms, requests, bytes };
    },
    async fillServer({ n, chunk = 10_000 }) {
      const docs = makeDocs(n, 1);
      const db = await adapter.openSynced('filler');
      for (let i = 0; i < n; i += chunk) { await db.createMany(docs.slice(i, i + chunk)); await db.sync(); }
      check(await db.queued(), 0, 'still queued');
      await db.close();
    },
    // Workload 15: the first pull of an empty client. Opened again, it must have all of it.
    async pull({ name, n }) {
      let db = await adapter.openSynced(name);
      const [ms, { requests, bytes }] = await timed(() => db.sync());
      await db.close();
      db = await adapter.openSynced(name);
      check((await db.scanAll(0)).length, n, 'pulled');
      await db.close();
      return { ms, requests, bytes };
    },

    // Crash test: after the awaited write, block the main thread until node has killed the process.
    async crashWrite({ bulk }) {
      const docs = makeDocs(51, 21);
      const db = await open('crash');
      await db.createMany(docs.slice(0, 50));
      if (!bulk) {
        await flush(db);
        await db.createOne(docs[50]);
      }
      const x = new XMLHttpRequest();
      x.open('GET', '/__crash', false);
      x.send();
      return 'not crashed';
    },
    async crashCheck() {
      const docs = makeDocs(51, 21);
      const db = await open('crash');
      const hits = [];
      for (const d of docs) hits.push(!!(await Promise.resolve(db.get(d.id)).catch(() => null)));
      await db.close();
      return { earlier: hits.slice(0, 50).filter(Boolean).length, last: hits[50] };
    },

    // Counts what one operation asks of IndexedDB (main thread only).
    async probe() {
      const docs = makeDocs(300, 31);
      const log = { tx: {}, req: {} };
      const bump = (o, k) => { o[k] = (o[k] || 0) + 1; };
      const tx = IDBDatabase.prototype.transaction;
      IDBDatabase.prototype.transaction = function (s, mode = 'readonly', opt) {
        const t = tx.call(this, s, mode, opt);
        bump(log.tx, `${mode === 'readonly' ? 'r' : 'rw'}${mode === 'readonly' ? '' : '/' + (opt?.durability ?? 'default')}`);
        return t;
      };
      for (const C of [IDBObjectStore, IDBIndex]) {
        for (const m of ['get', 'getAll', 'getAllKeys', 'getKey', 'getAllRecords', 'put', 'add', 'delete', 'clear', 'openCursor', 'openKeyCursor', 'count']) {
          const f = C.prototype[m];
          if (f) C.prototype[m] = function (...a) { bump(log.req, m); return f.apply(this, a); };
        }
      }
      const db = await open('probe');
      await db.createMany(docs);
      await flush(db);
      const quiet = () => new Promise((r) => setTimeout(r, 300));
      const out = {};
      const op = async (name, fn) => {
        await quiet();
        log.tx = {}; log.req = {};
        const a = log;
        await fn();
        out[name] = { tx: { ...a.tx }, req: { ...a.req } };
        await quiet();
        out[name].later = { tx: { ...a.tx }, req: { ...a.req } };
      };
      await op('createOne', () => db.createOne(makeDocs(1, 41)[0]));
      await op('updateOne', () => db.updateOne(docs[3].id, { priority: 7 }));
      await op('get', () => db.get(docs[9].id));
      await op('findWhere', () => db.findWhere('assignee', docs[2].assignee));
      await op('findSorted', () => db.findSorted('due_at', 20));
      await op('concurrent100', () => concurrent(db, makeDocs(100, 42)));
      await db.close();
      return out;
    },

    ...(adapter.extra || {}), // peer-specific measurements (the raw IndexedDB limits)
  };
  window.bench = bench;
  // timed starts run by themselves (?run=reopen&arg=...) and tell what came of it by a request: what node evaluates in a page comes
  // with 330 KB of Playwright's own script, which is 10 ms of the page's thread
  const q = new URLSearchParams(location.search);
  if (q.get('run')) {
    bench[q.get('run')](JSON.parse(q.get('arg') || 'null'))
      .then((result) => ({ result }), (error) => ({ error: String(error?.message ?? error) }))
      .then((told) => fetch('/__told', { method: 'POST', body: JSON.stringify(told) }));
  }
}
