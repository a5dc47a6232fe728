// SQLite in a dedicated worker; one request at a time, prepared statements cached by SQL text.
import * as SQLite from '@journeyapps/wa-sqlite';
import { INSERT } from './sql.js';

const DDL = `CREATE TABLE IF NOT EXISTS task(id TEXT PRIMARY KEY, title TEXT, status TEXT, priority INTEGER, assignee TEXT, points REAL,
  done INTEGER, tags TEXT, notes TEXT, made_at TEXT, due_at TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS i1 ON task(status); CREATE INDEX IF NOT EXISTS i2 ON task(assignee); CREATE INDEX IF NOT EXISTS i3 ON task(due_at);`;

export function serveSqlite(loadVfs) {
  let sqlite3, db, vfs;
  const cache = new Map();
  async function prepare(sql) {
    let s = cache.get(sql);
    if (!s) {
      for await (const stmt of sqlite3.statements(db, sql, { unscoped: true })) { s = stmt; break; }
      cache.set(sql, s);
    }
    return s;
  }
  const ops = {
    async open(name) {
      const { factory, makeVfs, pragmas } = await loadVfs();
      const module = await factory();
      sqlite3 = SQLite.Factory(module);
      vfs = await makeVfs(name, module);
      sqlite3.vfs_register(vfs, true);
      db = await sqlite3.open_v2(name);
      await sqlite3.exec(db, pragmas + DDL);
    },
    async run(sql, params = []) {
      const s = await prepare(sql);
      sqlite3.bind_collection(s, params);
      const rows = [];
      let cols;
      try {
        while ((await sqlite3.step(s)) === SQLite.SQLITE_ROW) {
          cols ??= sqlite3.column_names(s);
          const r = sqlite3.row(s);
          const o = {};
          for (let i = 0; i < cols.length; i++) o[cols[i]] = r[i];
          rows.push(o);
        }
      } finally { await sqlite3.reset(s); }
      return rows;
    },
    async insertMany(rows) {
      await ops.run('BEGIN');
      for (const r of rows) await ops.run(INSERT, r);
      await ops.run('COMMIT');
    },
    async close() {
      for (const s of cache.values()) await sqlite3.finalize(s);
      await sqlite3.close(db);
      await vfs.close?.();
    },
  };
  let queue = Promise.resolve();
  self.onmessage = ({ data: [id, op, args] }) => {
    queue = queue.then(async () => {
      try { self.postMessage([id, null, await ops[op](...args)]); } catch (e) { self.postMessage([id, String(e.message || e)]); }
    });
  };
}
