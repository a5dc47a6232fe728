// One line per peer: the key names its folder in dist/ and its row in the results. Further properties: `counts`, how many operations
// make a sample where the usual number takes minutes; `sync`, for an adapter with `openSynced`; `extra`, for one with steps of its own.
// `npm run bench:peers -- --add name` makes an adapter and its line here.
import { fileURLToPath } from 'node:url';

export const PEERS = {
  driver: { label: 'objectql-offline', adapter: 'adapters/driver.js', alias: { 'objectql-offline': fileURLToPath(new URL('../pkg/dist/index.js', import.meta.url)) }, sync: true },
  'raw-idb': { label: 'raw IndexedDB', adapter: 'adapters/raw-idb.js', extra: ['limits'] },
  'raw-log': { label: 'raw log (sketch)', adapter: 'adapters/raw-log.js' },
  dexie: { label: 'Dexie', pkg: 'dexie', adapter: 'adapters/dexie.js' },
  rxdb: { label: 'RxDB', pkg: 'rxdb', adapter: 'adapters/rxdb.js' },
  pouchdb: { label: 'PouchDB', pkg: 'pouchdb-browser', adapter: 'adapters/pouchdb.js' },
  tinybase: { label: 'TinyBase', pkg: 'tinybase', adapter: 'adapters/tinybase.js' },
  replicache: { label: 'Replicache', pkg: 'replicache', adapter: 'adapters/replicache.js' },
  'wa-sqlite-idb': { label: 'SQLite (IDB)', pkg: '@journeyapps/wa-sqlite', adapter: 'adapters/wa-sqlite-idb.js' },
  'wa-sqlite-opfs': { label: 'SQLite (OPFS)', pkg: '@journeyapps/wa-sqlite', adapter: 'adapters/wa-sqlite-opfs.js' },
  'powersync-idb': { label: 'PowerSync (IDB)', pkg: '@powersync/web', adapter: 'adapters/powersync-idb.js', copy: { 'node_modules/@powersync/web/dist/worker': 'powersync' } },
  'powersync-opfs': { label: 'PowerSync (OPFS)', pkg: '@powersync/web', adapter: 'adapters/powersync-opfs.js', copy: { 'node_modules/@powersync/web/dist/worker': 'powersync' } },
  // It writes its files after every query, reads included: 0.1 s a write, 0.04 s a get, and 100 live queries run again at each write.
  pglite: { label: 'PGlite', pkg: '@electric-sql/pglite', adapter: 'adapters/pglite.js', counts: { creates: 50, updates: 50, gets: 100, liveWrites: 5 } },
  lokijs: { label: 'LokiJS', pkg: 'lokijs', adapter: 'adapters/lokijs.js' },
  watermelondb: { label: 'WatermelonDB', pkg: '@nozbe/watermelondb', adapter: 'adapters/watermelondb.js' },
  'tanstack-db': { label: 'TanStack DB', pkg: '@tanstack/db', adapter: 'adapters/tanstack-db.js' },
};
