import { PGlite } from '@electric-sql/pglite';
import { live } from '@electric-sql/pglite/live';
import { COLS, toRow } from './sql.js';

export const meta = { title: 'PGlite (idb://)', package: '@electric-sql/pglite', live: true,
  durability: 'a single query awaits the copy of changed files into IndexedDB (relaxed); an awaited transaction() does not: its bulk create was lost' };
const fromRow = (r) => ({ ...r, tags: JSON.parse(r.tags) });
const row = (d) => toRow(d).map((v, i) => (COLS[i] === 'done' ? !!v : v));
const marks = COLS.map((_, i) => '$' + (i + 1)).join(',');

export async function open(name) {
  const db = await PGlite.create('idb://' + name, { extensions: { live } });
  await db.exec(`CREATE TABLE IF NOT EXISTS task(id text PRIMARY KEY, title text, status text, priority int, assignee text, points float8,
    done bool, tags text, notes text, made_at text, due_at text);
    CREATE INDEX IF NOT EXISTS i1 ON task(status); CREATE INDEX IF NOT EXISTS i2 ON task(assignee); CREATE INDEX IF NOT EXISTS i3 ON task(due_at);`);
  const all = async (sql, ...p) => (await db.query(sql, p)).rows.map(fromRow);
  return {
    createOne: (d) => db.query(`INSERT INTO task VALUES (${marks})`, row(d)),
    createMany: (ds) => db.transaction(async (tx) => {
      for (let i = 0; i < ds.length; i += 500) {
        const part = ds.slice(i, i + 500);
        const values = part.map((_, r) => '(' + COLS.map((_, c) => '$' + (r * COLS.length + c + 1)) + ')').join(',');
        await tx.query(`INSERT INTO task VALUES ${values}`, part.flatMap(row));
      }
    }),
    updateOne: (id, patch) => db.query(`UPDATE task SET ${Object.keys(patch).map((k, i) => `${k}=$${i + 1}`)} WHERE id=$${Object.keys(patch).length + 1}`, [...Object.values(patch), id]),
    get: async (id) => (await all('SELECT * FROM task WHERE id=$1', id))[0],
    findWhere: (f, v) => all(`SELECT * FROM task WHERE ${f}=$1`, v),
    findSorted: (f, limit) => all(`SELECT * FROM task ORDER BY ${f} DESC LIMIT $1`, limit),
    count: async (f, v) => (await db.query(`SELECT count(*)::int c FROM task WHERE ${f}=$1`, [v])).rows[0].c,
    scanAll: () => all('SELECT * FROM task'),
    async subscribe(f, v, cb) {
      const q = await db.live.query(`SELECT * FROM task WHERE ${f}=$1`, [v], (r) => cb(r.rows));
      cb(q.initialResults.rows);
      return () => q.unsubscribe();
    },
    close: () => db.close(),
  };
}
export const destroy = (name) => new Promise((ok) => { const r = indexedDB.deleteDatabase('/pglite/' + name); r.onsuccess = r.onerror = r.onblocked = ok; });
