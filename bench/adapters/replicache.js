import { dropDatabase, TEST_LICENSE_KEY } from 'replicache';
// the class behind Replicache, for persist(): the public API cannot wait for its idle-time persistence
import { ReplicacheImpl as Replicache } from 'replicache/impl';

export const meta = { title: 'Replicache', package: 'replicache', live: true,
  durability: 'the mutation is in memory when it returns; persisted to IndexedDB later, when the page is idle' };

const mutators = {
  create: (tx, d) => tx.set('task/' + d.id, d),
  createMany: async (tx, ds) => { for (const d of ds) await tx.set('task/' + d.id, d); },
  update: async (tx, { id, patch }) => tx.set('task/' + id, { ...(await tx.get('task/' + id)), ...patch }),
};

export async function open(name) {
  const rep = new Replicache({
    name, licenseKey: TEST_LICENSE_KEY, mutators, pullInterval: null, logLevel: 'error',
    indexes: Object.fromEntries(['status', 'assignee', 'due_at'].map((f) => [f, { prefix: 'task/', jsonPointer: '/' + f }])),
  });
  const where = (f, v) => (tx) => tx.scan({ indexName: f, prefix: v }).values().toArray();
  await rep.query((tx) => tx.has('x'));
  return {
    createOne: (d) => rep.mutate.create(d),
    createMany: (ds) => rep.mutate.createMany(ds),
    updateOne: (id, patch) => rep.mutate.update({ id, patch }),
    get: (id) => rep.query((tx) => tx.get('task/' + id)),
    findWhere: (f, v) => rep.query(where(f, v)),
    // scans have no descending order: all index entries are walked
    findSorted: (f, limit) => rep.query(async (tx) => {
      const keep = [];
      for await (const v of tx.scan({ indexName: f }).values()) { keep.push(v); if (keep.length > limit) keep.shift(); }
      return keep.reverse();
    }),
    count: (f, v) => rep.query(async (tx) => (await tx.scan({ indexName: f, prefix: v }).keys().toArray()).length),
    scanAll: () => rep.query((tx) => tx.scan({ prefix: 'task/' }).values().toArray()),
    subscribe: (f, v, cb) => rep.subscribe(where(f, v), cb),
    flush: () => rep.persist(),
    close: () => rep.close(),
  };
}
export async function destroy(name) { for (const d of await indexedDB.databases()) if (d.name.includes(`:${name}:`)) await dropDatabase(d.name, { logLevel: 'error' }); }
