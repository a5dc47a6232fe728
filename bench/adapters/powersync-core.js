import { PowerSyncDatabase, Schema, Table, column } from '@powersync/web';
import { toRow, fromRow, INSERT } from './sql.js';

const { text, integer, real } = column;
const schema = new Schema({
  task: new Table(
    { title: text, status: text, priority: integer, assignee: text, points: real, done: integer, tags: text, notes: text, made_at: text, due_at: text },
    { indexes: { i1: ['status'], i2: ['assignee'], i3: ['due_at'] } },
  ),
});
// the worker is the package's own pre-built one, copied to /powersync/ by build.mjs
export async function openPowerSync(name, options) {
  const db = new PowerSyncDatabase({ schema, database: { dbFilename: name + '.db', worker: '/powersync/worker.js', ...options }, sync: { worker: '/powersync/worker.js' } });
  await db.init();
  const all = async (sql, ...p) => (await db.getAll(sql, p)).map(fromRow);
  return {
    createOne: (d) => db.execute(INSERT, toRow(d)),
    createMany: (ds) => db.writeTransaction(async (tx) => { await tx.executeBatch(INSERT, ds.map(toRow)); }),
    updateOne: (id, patch) => db.execute(`UPDATE task SET ${Object.keys(patch).map((k) => k + '=?')} WHERE id=?`, [...Object.values(patch), id]),
    get: async (id) => (await all('SELECT * FROM task WHERE id=?', id))[0],
    findWhere: (f, v) => all(`SELECT * FROM task WHERE ${f}=?`, v),
    findSorted: (f, limit) => all(`SELECT * FROM task ORDER BY ${f} DESC LIMIT ?`, limit),
    count: async (f, v) => (await db.get(`SELECT count(*) c FROM task WHERE ${f}=?`, [v])).c,
    scanAll: () => all('SELECT * FROM task'),
    subscribe(f, v, cb) {
      const ctl = new AbortController();
      db.watch(`SELECT * FROM task WHERE ${f}=?`, [v], { onResult: (r) => cb(r.rows.map ? r.rows : r.rows._array), onError: (e) => console.error(e) }, { signal: ctl.signal });
      return () => ctl.abort();
    },
    close: () => db.close(),
  };
}
