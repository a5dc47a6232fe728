import { createCollection, createLiveQueryCollection, createIndexedDB, indexedDBCollectionOptions, BTreeIndex, eq, queryOnce } from '@tanstack/db';

export const meta = { title: 'TanStack DB (IndexedDB collection)', package: '@tanstack/db', live: true,
  durability: 'awaits tx.isPersisted, an IndexedDB transaction with default durability (relaxed); the data set is held in memory' };

export async function open(name) {
  const idb = await createIndexedDB({ name, version: 1, stores: ['task'] });
  const task = createCollection(indexedDBCollectionOptions({ db: idb, name: 'task', getKey: (d) => d.id, startSync: true }));
  for (const f of ['status', 'assignee', 'due_at']) task.createIndex((r) => r[f], { indexType: BTreeIndex });
  await task.toArrayWhenReady();
  const run = (q) => queryOnce(q);
  const where = (f, v) => (q) => q.from({ t: task }).where(({ t }) => eq(t[f], v));
  return {
    createOne: (d) => task.insert(d).isPersisted.promise,
    createMany: (ds) => task.insert(ds).isPersisted.promise,
    updateOne: (id, patch) => task.update(id, (d) => { Object.assign(d, patch); }).isPersisted.promise,
    get: async (id) => task.get(id),
    findWhere: (f, v) => run(where(f, v)),
    findSorted: (f, limit) => run((q) => q.from({ t: task }).orderBy(({ t }) => t[f], 'desc').limit(limit)),
    count: async (f, v) => (await run(where(f, v))).length,
    scanAll: async () => task.toArray,
    async subscribe(f, v, cb) {
      const c = createLiveQueryCollection({ query: where(f, v), startSync: true });
      cb(await c.toArrayWhenReady());
      const s = c.subscribeChanges(() => cb(c.toArray));
      return () => { s.unsubscribe(); c.cleanup(); };
    },
    async close() { await task.cleanup(); idb.close(); },
  };
}
export const destroy = (name) => new Promise((ok) => { const r = indexedDB.deleteDatabase(name); r.onsuccess = r.onerror = r.onblocked = ok; });
