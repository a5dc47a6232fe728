// Hand-written IndexedDB: one object store, one row per record, three indexes. The physical limit of that layout.
import { makeDocs } from '../harness/data.js';

export const meta = { title: 'raw IndexedDB', package: null, live: false,
  durability: 'awaits transaction complete, default durability (relaxed: handed to the OS, no fsync)' };

const req = (r) => new Promise((ok, no) => { r.onsuccess = () => ok(r.result); r.onerror = () => no(r.error); });
const done = (tx) => new Promise((ok, no) => { tx.oncomplete = () => ok(); tx.onabort = tx.onerror = () => no(tx.error); });

export async function open(name) {
  const r = indexedDB.open(name, 1);
  r.onupgradeneeded = () => {
    const s = r.result.createObjectStore('task', { keyPath: 'id' });
    for (const f of ['status', 'assignee', 'due_at']) s.createIndex(f, f);
  };
  const db = await req(r);
  const read = () => db.transaction('task').objectStore('task');
  const createOne = (doc) => {
    const tx = db.transaction('task', 'readwrite');
    tx.objectStore('task').add(doc);
    tx.commit();
    return done(tx);
  };
  return {
    createOne,
    createMany(docs) {
      const tx = db.transaction('task', 'readwrite');
      const s = tx.objectStore('task');
      for (const d of docs) s.add(d);
      tx.commit();
      return done(tx);
    },
    updateOne(id, patch) {
      const tx = db.transaction('task', 'readwrite');
      const s = tx.objectStore('task');
      s.get(id).onsuccess = (e) => { s.put({ ...e.target.result, ...patch }); tx.commit(); };
      return done(tx);
    },
    get: (id) => req(read().get(id)),
    findWhere: (f, v) => req(read().index(f).getAll(v)),
    findSorted(f, limit) {
      return new Promise((ok, no) => {
        const out = [];
        const c = read().index(f).openCursor(null, 'prev');
        c.onerror = () => no(c.error);
        c.onsuccess = () => {
          const cur = c.result;
          if (!cur || out.length === limit) return ok(out);
          out.push(cur.value);
          out.length === limit ? ok(out) : cur.continue();
        };
      });
    },
    count: (f, v) => req(read().index(f).count(v)),
    scanAll: () => req(read().getAll()),
    async close() { db.close(); },
  };
}
export async function destroy(name) { await req(indexedDB.deleteDatabase(name)); }

// ---- limits of other layouts ----
async function openStore(name, opts, indexes = []) {
  const r = indexedDB.open(name, 1);
  r.onupgradeneeded = () => {
    const s = r.result.createObjectStore('s', opts);
    for (const f of indexes) s.createIndex(f, f);
  };
  return req(r);
}
const med = (a) => [...a].sort((x, y) => x - y)[a.length >> 1];
const p99 = (a) => [...a].sort((x, y) => x - y)[Math.min(a.length - 1, Math.floor(a.length * 0.99))];

// A worker from a string, to time OPFS appends and the message round trip a worker-hosted engine pays.
const WORKER = `
const p = (a) => { a.sort((x, y) => x - y); return [a[a.length >> 1], a[Math.floor(a.length * 0.99)]]; };
onmessage = async ({ data }) => {
  if (data.echo !== undefined) { postMessage(data.echo); return; }
  const dir = await navigator.storage.getDirectory();
  const h = await (await dir.getFileHandle('limit.log', { create: true })).createSyncAccessHandle();
  h.truncate(0);
  const out = {};
  for (const [label, bytes, flush] of [['1rec_flush', data.one, true], ['1rec_noflush', data.one, false], ['100rec_flush', data.hundred, true]]) {
    const ts = [];
    for (let i = 0; i < 220; i++) {
      const t = performance.now();
      h.write(bytes, { at: h.getSize() });
      if (flush) h.flush();
      if (i >= 20) ts.push(performance.now() - t);
    }
    [out['opfs_append_' + label + '_p50'], out['opfs_append_' + label + '_p99']] = p(ts);
  }
  h.truncate(0); h.write(data.all, { at: 0 }); h.flush();
  const ts = [];
  for (let i = 0; i < 5; i++) { const b = new Uint8Array(data.all.length); const t = performance.now(); h.read(b, { at: 0 }); ts.push(performance.now() - t); }
  out.opfs_read_all = p(ts)[0];
  h.close();
  await dir.removeEntry('limit.log');
  postMessage(out);
};`;

async function workerLimits(docs, timed) {
  const enc = new TextEncoder();
  const w = new Worker(URL.createObjectURL(new Blob([WORKER], { type: 'text/javascript' })));
  const ask = (m, transfer = []) => new Promise((ok, no) => { w.onmessage = (e) => ok(e.data); w.onerror = no; w.postMessage(m, transfer); });
  const json = (d) => enc.encode(JSON.stringify(d));
  const out = await ask({ one: json(docs[0]), hundred: json(docs.slice(0, 100)), all: json(docs) });
  for (let i = 0; i < 200; i++) await ask({ echo: 1 });
  for (let i = 0; i < 200; i++) await timed('worker_round_trip', () => ask({ echo: 1 }));
  for (const k of [100, 2000, 10000]) {
    const part = docs.slice(0, k);
    for (let i = 0; i < 5; i++) await timed(`worker_round_trip_${k}_objects_both_ways`, () => ask({ echo: part }));
  }
  w.terminate();
  return out;
}

export const extra = {
  async limits({ n, withWrites }) {
    const out = {};
    const docs = makeDocs(n, 3);
    const now = () => performance.now();
    const timed = async (k, fn) => { const t = now(); const v = await fn(); (out[k] ??= []).push(now() - t); return v; };
    const rw = (db, durability) => db.transaction('s', 'readwrite', { durability });

    if (withWrites) {
      for (const [k, v] of Object.entries(await workerLimits(docs, timed))) out[k] = [v];
      // one put per transaction, per durability, without and with the three indexes
      for (const durability of ['relaxed', 'strict']) {
        for (const idx of [[], ['status', 'assignee', 'due_at']]) {
          const name = `l-${durability}-${idx.length}`;
          const db = await openStore(name, { keyPath: 'id' }, idx);
          const ts = [];
          for (let i = 0; i < 220; i++) {
            const t = now();
            const tx = rw(db, durability); tx.objectStore('s').put(docs[i]); tx.commit(); await done(tx);
            if (i >= 20) ts.push(now() - t);
          }
          out[`put1_${durability}_${idx.length}idx_p50`] = [med(ts)];
          out[`put1_${durability}_${idx.length}idx_p99`] = [p99(ts)];
          const rest = docs.slice(300, 1300);
          await timed(`put1000_parallel_tx_${durability}_${idx.length}idx`, () => Promise.all(rest.map((d) => {
            const tx = rw(db, durability); tx.objectStore('s').put(d); tx.commit(); return done(tx);
          })));
          db.close(); await destroy(name);
        }
      }
      // a group commit as one appended row: a batch of k records in one JSON string or one Uint8Array
      for (const durability of ['relaxed', 'strict']) {
        for (const k of [1, 10, 100, 1000]) {
          const db = await openStore(`l-log`, { autoIncrement: true });
          const bytes = new TextEncoder().encode(JSON.stringify(docs.slice(0, k)));
          const ts = [];
          for (let i = 0; i < 60; i++) {
            const t = now();
            const tx = rw(db, durability); tx.objectStore('s').add(bytes); tx.commit(); await done(tx);
            if (i >= 10) ts.push(now() - t);
          }
          out[`log_append_${k}rec_${durability}_p50`] = [med(ts)];
          out[`log_append_${k}rec_${durability}_p99`] = [p99(ts)];
          db.close(); await destroy('l-log');
        }
      }
      // n puts in one transaction
      for (const [label, idx] of [['0idx', []], ['3idx', ['status', 'assignee', 'due_at']]]) {
        const db = await openStore('l-bulk', { keyPath: 'id' }, idx);
        await timed(`put${n}_one_tx_${label}`, () => { const tx = rw(db, 'relaxed'); const s = tx.objectStore('s'); for (const d of docs) s.put(d); tx.commit(); return done(tx); });
        db.close(); await destroy('l-bulk');
      }
      const dbj = await openStore('l-bulkj', {});
      await timed(`put${n}_json_strings_one_tx`, () => { const tx = rw(dbj, 'relaxed'); const s = tx.objectStore('s'); for (const d of docs) s.put(JSON.stringify(d), d.id); tx.commit(); return done(tx); });
      dbj.close(); await destroy('l-bulkj');
    }

    // reading n records in several layouts
    const enc = new TextEncoder(); const dec = new TextDecoder();
    const db = await openStore('l-read', {});
    const put = (v, k) => { const tx = rw(db, 'relaxed'); tx.objectStore('s').put(v, k); tx.commit(); return done(tx); };
    const get = (k) => req(db.transaction('s').objectStore('s').get(k));
    const runs = n > 50_000 ? 2 : 3;

    let json;
    await timed('json_stringify_all', () => { json = JSON.stringify(docs); });
    let bytes;
    await timed('text_encode_all', () => { bytes = enc.encode(json); });
    out.json_bytes = [bytes.length];
    for (let i = 0; i < runs; i++) {
      await timed('one_row_string_put', () => put(json, 'str'));
      await timed('one_row_bytes_put', () => put(bytes, 'bin'));
      await timed('one_row_string_get', async () => { out.tmp = await get('str'); });
      await timed('one_row_string_parse', () => { if (JSON.parse(out.tmp).length !== n) throw 0; });
      await timed('one_row_bytes_get', async () => { out.tmp = await get('bin'); });
      await timed('one_row_bytes_decode_parse', () => { if (JSON.parse(dec.decode(out.tmp)).length !== n) throw 0; });
      delete out.tmp;
      await timed('one_row_array_of_objects_put', () => put(docs, 'arr'));
      await timed('one_row_array_of_objects_get', async () => { if ((await get('arr')).length !== n) throw 0; });
    }
    // the same bytes in rows of 1,000 records (a compacted log) and of 100 records (group commits)
    for (const per of [1000, 100]) {
      const d2 = await openStore('l-seg' + per, { autoIncrement: true });
      const segs = [];
      for (let i = 0; i < n; i += per) segs.push(enc.encode(JSON.stringify(docs.slice(i, i + per))));
      await timed(`rows_of_${per}_put_one_tx`, () => { const tx = rw(d2, 'relaxed'); const s = tx.objectStore('s'); for (const b of segs) s.add(b); tx.commit(); return done(tx); });
      for (let i = 0; i < runs; i++) {
        await timed(`rows_of_${per}_getAll`, async () => { if ((await req(d2.transaction('s').objectStore('s').getAll())).length !== segs.length) throw 0; });
        await timed(`rows_of_${per}_getAll_parse`, async () => {
          let c = 0; for (const b of await req(d2.transaction('s').objectStore('s').getAll())) c += JSON.parse(dec.decode(b)).length;
          if (c !== n) throw 0;
        });
      }
      d2.close(); await destroy('l-seg' + per);
    }
    db.close(); await destroy('l-read');

    // one row per record: structured-clone objects against JSON strings
    const fill = async (name, opts, f) => {
      const d = await openStore(name, opts);
      for (let i = 0; i < n; i += 10_000) { const tx = rw(d, 'relaxed'); const s = tx.objectStore('s'); for (const x of docs.slice(i, i + 10_000)) f(s, x); tx.commit(); await done(tx); }
      return d;
    };
    const dObj = await fill('l-obj', { keyPath: 'id' }, (s, x) => s.put(x));
    const dStr = await fill('l-str', {}, (s, x) => s.put(JSON.stringify(x), x.id));
    const dBin = await fill('l-bin', {}, (s, x) => s.put(enc.encode(JSON.stringify(x)), x.id));
    for (let i = 0; i < runs; i++) {
      await timed('getAll_objects', async () => { if ((await req(dObj.transaction('s').objectStore('s').getAll())).length !== n) throw 0; });
      await timed('getAll_strings', async () => { if ((await req(dStr.transaction('s').objectStore('s').getAll())).length !== n) throw 0; });
      await timed('getAll_strings_parse', async () => { let c = 0; for (const s of await req(dStr.transaction('s').objectStore('s').getAll())) c += JSON.parse(s).title.length; if (!c) throw 0; });
      await timed('getAll_bytes_parse', async () => { let c = 0; for (const s of await req(dBin.transaction('s').objectStore('s').getAll())) c += JSON.parse(dec.decode(s)).title.length; if (!c) throw 0; });
      await timed('getAllKeys', async () => { if ((await req(dObj.transaction('s').objectStore('s').getAllKeys())).length !== n) throw 0; });
      await timed('cursor_objects', () => new Promise((ok) => {
        let c = 0; const r = dObj.transaction('s').objectStore('s').openCursor();
        r.onsuccess = () => { if (r.result) { c++; r.result.continue(); } else ok(c); };
      }));
    }
    for (const [d, nm] of [[dObj, 'l-obj'], [dStr, 'l-str'], [dBin, 'l-bin']]) { d.close(); await destroy(nm); }
    return out;
  },
};
