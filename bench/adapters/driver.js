import { openDatabase } from 'objectql-offline';

export const meta = { title: 'objectql-offline', package: null, live: true, durability: 'awaits transaction complete, strict: it survives a power cut' };
const TASK = { name: 'task', fields: { status: { type: 'text' }, assignee: { type: 'text' }, due_at: { type: 'datetime' } },
  indexes: { s: { fields: ['status'] }, a: { fields: ['assignee'] }, d: { fields: ['due_at'] } } };
export async function open(name) {
  return operations(await openDatabase({ name, objects: [TASK], durability: 'strict' }));
}
/** One that has its server at `/api/sync`, and syncs when it is told to. */
export async function openSynced(name) {
  const objects = [{ ...TASK, sync: { enabled: true } }];
  const db = await openDatabase({ name, objects, durability: 'strict', sync: { url: '/api/sync', auto: false } });
  return { ...operations(db), sync: () => db.sync(), queued: async () => (await db.pendingMutations()).length };
}
function operations(db) {
  return {
    createOne: (doc) => db.create('task', doc),
    createMany: (docs) => db.bulkCreate('task', docs),
    updateOne: (id, patch) => db.update('task', id, patch),
    get: (id) => db.get('task', id),
    findWhere: (field, value) => db.find('task', { where: { [field]: value } }),
    findSorted: (field, limit) => db.find('task', { orderBy: [{ field, order: 'desc' }], limit }),
    count: (field, value) => db.count('task', { [field]: value }),
    scanAll: () => db.find('task', {}),
    subscribe: (field, value, cb) => db.liveQuery('task', { where: { [field]: value } }).subscribe(({ rows }) => cb(rows)),
    close: () => db.close(),
  };
}
export const destroy = async (name) => { const db = await openDatabase({ name, objects: [TASK] }); await db.destroy(); };
