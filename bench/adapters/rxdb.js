import { createRxDatabase, removeRxDatabase } from 'rxdb/plugins/core';
import { getRxStorageDexie } from 'rxdb/plugins/storage-dexie';

export const meta = { title: 'RxDB (Dexie storage)', package: 'rxdb', live: true,
  durability: 'awaits the Dexie transaction, default durability (relaxed)' };

const str = (maxLength) => ({ type: 'string', maxLength });
const schema = {
  version: 0, primaryKey: 'id', type: 'object',
  properties: {
    id: str(36), title: { type: 'string' }, status: str(20), priority: { type: 'number' }, assignee: str(20),
    points: { type: 'number' }, done: { type: 'boolean' }, tags: { type: 'array', items: { type: 'string' } },
    notes: { type: 'string' }, made_at: str(30), due_at: str(30),
  },
  required: ['id', 'status', 'assignee', 'due_at'],
  indexes: ['status', 'assignee', 'due_at'],
};

export async function open(name) {
  const db = await createRxDatabase({ name, storage: getRxStorageDexie(), multiInstance: false, eventReduce: true });
  const { task } = await db.addCollections({ task: { schema } });
  return {
    createOne: (doc) => task.insert(doc),
    async createMany(docs) { const r = await task.bulkInsert(docs); if (r.error.length) throw r.error[0]; },
    async updateOne(id, patch) { const d = await task.findOne(id).exec(); await d.incrementalPatch(patch); },
    get: (id) => task.findOne(id).exec(),
    findWhere: (f, v) => task.find({ selector: { [f]: v } }).exec(),
    findSorted: (f, limit) => task.find({ selector: {}, sort: [{ [f]: 'desc' }], limit }).exec(),
    count: (f, v) => task.count({ selector: { [f]: v } }).exec(),
    // the limit differs per call so that RxDB's query cache does not answer
    scanAll: (i = 0) => task.find({ selector: {}, limit: 1_000_000 + i }).exec(),
    subscribe(f, v, cb) { const s = task.find({ selector: { [f]: v } }).$.subscribe(cb); return () => s.unsubscribe(); },
    close: () => db.close(),
  };
}
export const destroy = (name) => removeRxDatabase(name, getRxStorageDexie(), false);
