import { Dexie, liveQuery } from 'dexie';

export const meta = { title: 'Dexie', package: 'dexie', live: true,
  durability: 'awaits transaction complete, default durability (relaxed)' };

export async function open(name) {
  const d = new Dexie(name);
  d.version(1).stores({ task: 'id, status, assignee, due_at' });
  await d.open();
  const t = d.table('task');
  return {
    createOne: (doc) => t.add(doc),
    createMany: (docs) => t.bulkAdd(docs),
    updateOne: (id, patch) => t.update(id, patch),
    get: (id) => t.get(id),
    findWhere: (f, v) => t.where(f).equals(v).toArray(),
    findSorted: (f, limit) => t.orderBy(f).reverse().limit(limit).toArray(),
    count: (f, v) => t.where(f).equals(v).count(),
    scanAll: () => t.toArray(),
    subscribe(f, v, cb) {
      const s = liveQuery(() => t.where(f).equals(v).toArray()).subscribe(cb);
      return () => s.unsubscribe();
    },
    async close() { d.close(); },
  };
}
export const destroy = (name) => Dexie.delete(name);
