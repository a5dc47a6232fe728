import Loki from 'lokijs';
import LokiIndexedAdapter from 'lokijs/src/incremental-indexeddb-adapter.js';

export const meta = { title: 'LokiJS (incremental IndexedDB)', package: 'lokijs', live: false,
  durability: 'the write is in memory when it returns; auto-save every 500 ms' };

const out = (d) => d; // LokiJS returns its own stored objects
export async function open(name) {
  const db = new Loki(name, { adapter: new LokiIndexedAdapter(), env: 'BROWSER' });
  await new Promise((ok, no) => db.loadDatabase({}, (e) => (e ? no(e) : ok())));
  const task = db.getCollection('task') ?? db.addCollection('task', { unique: ['id'], indices: ['status', 'assignee', 'due_at'], disableMeta: false });
  db.autosaveInterval = 500; db.autosaveEnable();
  const save = () => new Promise((ok, no) => db.saveDatabase((e) => (e ? no(e) : ok())));
  return {
    createOne: async (d) => { task.insert({ ...d }); },
    createMany: async (ds) => { task.insert(ds.map((d) => ({ ...d }))); },
    updateOne: async (id, patch) => { task.update({ ...task.by('id', id), ...patch }); },
    get: async (id) => task.by('id', id),
    findWhere: async (f, v) => task.find({ [f]: v }),
    findSorted: async (f, limit) => task.chain().simplesort(f, true).limit(limit).data(),
    count: async (f, v) => task.count({ [f]: v }),
    scanAll: async () => task.find(),
    flush: save,
    async close() { db.autosaveDisable(); await save(); await new Promise((ok) => db.close(ok)); },
  };
}
export const destroy = (name) => new Promise((ok) => { const r = indexedDB.deleteDatabase(name); r.onsuccess = r.onerror = r.onblocked = ok; });
