import PouchDB from 'pouchdb-browser';
import indexeddb from 'pouchdb-adapter-indexeddb';
import find from 'pouchdb-find';
PouchDB.plugin(indexeddb).plugin(find);

export const meta = { title: 'PouchDB (indexeddb adapter)', package: 'pouchdb-browser', live: true, liveInitial: false,
  durability: 'awaits transaction complete, default durability (relaxed)',
  note: 'live query is the changes feed with a selector (events, not a maintained result set)' };

const inn = ({ id, ...d }) => ({ _id: id, ...d });
const out = ({ _id, _rev, ...d }) => ({ id: _id, ...d });

export async function open(name) {
  const db = new PouchDB(name, { adapter: 'indexeddb', auto_compaction: true });
  for (const f of ['status', 'assignee', 'due_at']) await db.createIndex({ index: { fields: [f], name: f, ddoc: 'ix-' + f } });
  const find = async (q) => (await db.find(q)).docs.map(out);
  return {
    createOne: (doc) => db.put(inn(doc)),
    createMany: (docs) => db.bulkDocs(docs.map(inn)),
    async updateOne(id, patch) { const d = await db.get(id); await db.put({ ...d, ...patch }); },
    get: async (id) => out(await db.get(id)),
    findWhere: (f, v) => find({ selector: { [f]: v }, limit: 1e9 }),
    findSorted: (f, limit) => find({ selector: { [f]: { $gt: null } }, sort: [{ [f]: 'desc' }], limit }),
    count: async (f, v) => (await db.find({ selector: { [f]: v }, fields: ['_id'], limit: 1e9 })).docs.length,
    scanAll: async () => (await db.allDocs({ include_docs: true })).rows.filter((r) => r.id[0] !== '_').map((r) => out(r.doc)),
    subscribe(f, v, cb) {
      const c = db.changes({ since: 'now', live: true, include_docs: true, selector: { [f]: v } });
      c.setMaxListeners?.(0); db.setMaxListeners?.(0);
      c.on('change', (e) => cb([out(e.doc)]));
      return () => c.cancel();
    },
    close: () => db.close(),
  };
}
export const destroy = (name) => new PouchDB(name, { adapter: 'indexeddb' }).destroy();
