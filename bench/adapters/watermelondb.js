import { Database, Model, appSchema, tableSchema, Q } from '@nozbe/watermelondb';
import lokiModule from '@nozbe/watermelondb/adapters/lokijs';
const LokiJSAdapter = lokiModule.default ?? lokiModule; // CommonJS

export const meta = { title: 'WatermelonDB (LokiJS incremental IndexedDB)', package: '@nozbe/watermelondb', live: true,
  durability: 'the write is in memory when it returns; auto-save every 500 ms' };

const string = ['title', 'status', 'assignee', 'tags', 'notes', 'made_at', 'due_at'];
const indexed = new Set(['status', 'assignee', 'due_at']);
const fields = [...string, 'priority', 'points', 'done'];
class Task extends Model { static table = 'task'; }
for (const f of fields) {
  Object.defineProperty(Task.prototype, f, {
    get() { return f === 'tags' ? JSON.parse(this._getRaw(f)) : this._getRaw(f); },
    set(v) { this._setRaw(f, f === 'tags' ? JSON.stringify(v) : v); },
  });
}
const schema = appSchema({ version: 1, tables: [tableSchema({ name: 'task',
  columns: fields.map((name) => ({ name, type: string.includes(name) ? 'string' : name === 'done' ? 'boolean' : 'number', isIndexed: indexed.has(name) })) })] });

export async function open(name) {
  const adapter = new LokiJSAdapter({ schema, dbName: name, useWebWorker: false, useIncrementalIndexedDB: true });
  const db = new Database({ adapter, modelClasses: [Task] });
  const task = db.get('task');
  const raw = (d) => task.prepareCreateFromDirtyRaw({ ...d, tags: JSON.stringify(d.tags) });
  const loki = () => adapter._driver.loki;
  await task.query(Q.where('id', 'x')).fetchCount(); // waits until set up
  return {
    createOne: (d) => db.write(() => db.batch(raw(d))),
    createMany: (ds) => db.write(() => db.batch(ds.map(raw))),
    updateOne: (id, patch) => db.write(async () => (await task.find(id)).update((r) => { Object.assign(r, patch); })),
    get: (id) => task.find(id).catch(() => undefined),
    findWhere: (f, v) => task.query(Q.where(f, v)).fetch(),
    findSorted: (f, limit) => task.query(Q.sortBy(f, Q.desc), Q.take(limit)).fetch(),
    count: (f, v) => task.query(Q.where(f, v)).fetchCount(),
    scanAll: () => task.query().fetch(),
    subscribe(f, v, cb) { const s = task.query(Q.where(f, v)).observe().subscribe(cb); return () => s.unsubscribe(); },
    flush: () => new Promise((ok, no) => loki().saveDatabase((e) => (e ? no(e) : ok()))),
    async close() { loki().autosaveDisable(); await new Promise((ok) => loki().saveDatabase(ok)); await new Promise((ok) => loki().close(ok)); },
  };
}
export const destroy = (name) => new Promise((ok) => { const r = indexedDB.deleteDatabase(name); r.onsuccess = r.onerror = r.onblocked = ok; });
