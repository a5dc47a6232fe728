// One line per peer: the key names its folder in dist/ and its columns in the results.
import { fileURLToPath } from 'node:url';

export const PEERS = {
  driver: { adapter: 'adapters/driver.js', alias: { 'objectql-offline': fileURLToPath(new URL('../pkg/dist/index.js', import.meta.url)) } },
  'raw-idb': { adapter: 'adapters/raw-idb.js', extra: ['limits'] },
  'raw-log': { adapter: 'adapters/raw-log.js' },
  dexie: { pkg: 'dexie', adapter: 'adapters/dexie.js' },
  rxdb: { pkg: 'rxdb', adapter: 'adapters/rxdb.js' },
  pouchdb: { pkg: 'pouchdb-browser', adapter: 'adapters/pouchdb.js' },
  tinybase: { pkg: 'tinybase', adapter: 'adapters/tinybase.js' },
  replicache: { pkg: 'replicache', adapter: 'adapters/replicache.js' },
  'wa-sqlite-idb': { pkg: '@journeyapps/wa-sqlite', adapter: 'adapters/wa-sqlite-idb.js' },
  'wa-sqlite-opfs': { pkg: '@journeyapps/wa-sqlite', adapter: 'adapters/wa-sqlite-opfs.js' },
  'powersync-idb': { pkg: '@powersync/web', adapter: 'adapters/powersync-idb.js', copy: { 'node_modules/@powersync/web/dist/worker': 'powersync' } },
  'powersync-opfs': { pkg: '@powersync/web', adapter: 'adapters/powersync-opfs.js', copy: { 'node_modules/@powersync/web/dist/worker': 'powersync' } },
  // about 0.1 s per awaited write: fewer repeats, or the run would take an hour for this peer alone
  pglite: { pkg: '@electric-sql/pglite', adapter: 'adapters/pglite.js', repeats: 2 },
  lokijs: { pkg: 'lokijs', adapter: 'adapters/lokijs.js' },
  watermelondb: { pkg: '@nozbe/watermelondb', adapter: 'adapters/watermelondb.js' },
  'tanstack-db': { pkg: '@tanstack/db', adapter: 'adapters/tanstack-db.js' },
};
