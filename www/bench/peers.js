// The three that are compared, behind one surface: the driver, raw IndexedDB written as one would by hand, and Dexie.
// All of them write durably (strict), and have indexes on `status`, `assignee` and `due`.
import Dexie from '/dexie.mjs';
import { openDatabase } from '/pkg/dist/index.js';

const OBJECTS = [{
  name: 'record',
  fields: { title: { type: 'text' }, status: { type: 'text' }, assignee: { type: 'text' }, points: { type: 'number' }, due: { type: 'datetime' } },
  indexes: { status: { fields: ['status'] }, assignee: { fields: ['assignee'] }, due: { fields: ['due'] } },
  sync: { enabled: true },
}];

/** The driver, with its log of mutations: what an app that syncs pays. */
async function driver(name, options = { objects: OBJECTS, sync: { url: '/api/sync', auto: false } }) {
  const db = await openDatabase({ name, ...options });
  return {
    create: (record) => db.create('record', record),
    createMany: (records) => db.bulkCreate('record', records),
    get: (id) => db.get('record', id),
    update: (id, patch) => db.update('record', id, patch),
    withStatus: (status) => db.find('record', { where: { status } }),
    of: (assignee) => db.find('record', { where: { assignee } }),
    count: (status) => db.count('record', { status }),
    all: () => db.find('record'),
    expensive: (points) => db.find('record', { where: { points: { $gt: points } } }),
    newest: (limit) => db.find('record', { orderBy: [{ field: 'due', order: 'desc' }], limit }),
    live: (assignee, onRows) => db.liveQuery('record', { where: { assignee } }).subscribe(({ rows }) => onRows(rows)),
    sync: () => db.sync(),
    close: () => db.close(),
  };
}

/** The same with objects that are not synced: nothing waits for a server. */
const local = (name) => driver(name, { objects: OBJECTS.map(({ sync: _, ...object }) => object) });

async function rawIdb(name) {
  const opening = indexedDB.open(name, 1);
  opening.onupgradeneeded = () => {
    const store = opening.result.createObjectStore('record', { keyPath: 'id' });
    store.createIndex('status', 'status');
    store.createIndex('assignee', 'assignee');
    store.createIndex('due', 'due');
  };
  const database = await done(opening);
  const read = () => database.transaction('record').objectStore('record');
  const write = (records) => {
    const transaction = database.transaction('record', 'readwrite', { durability: 'strict' });
    for (const record of records) transaction.objectStore('record').add(record);
    transaction.commit();
    return new Promise((resolve, reject) => Object.assign(transaction, { oncomplete: resolve, onabort: () => reject(transaction.error) }));
  };
  return {
    create: (record) => write([record]),
    createMany: write,
    get: (id) => done(read().get(id)),
    withStatus: (status) => done(read().index('status').getAll(status)),
    of: (assignee) => done(read().index('assignee').getAll(assignee)),
    count: (status) => done(read().index('status').count(status)),
    all: () => done(read().getAll()),
    expensive: async (points) => (await done(read().getAll())).filter((record) => record.points > points),
    newest: (limit) => {
      const rows = [];
      const cursor = read().index('due').openCursor(null, 'prev');
      return new Promise((resolve, reject) => {
        cursor.onerror = () => reject(cursor.error);
        cursor.onsuccess = () => {
          if (!cursor.result || rows.push(cursor.result.value) === limit) resolve(rows);
          else cursor.result.continue();
        };
      });
    },
    close: async () => database.close(),
  };
}

async function dexie(name) {
  const db = new Dexie(name, { chromeTransactionDurability: 'strict' });
  db.version(1).stores({ record: 'id, status, assignee, due' });
  await db.open();
  return {
    create: (record) => db.record.add(record),
    createMany: (records) => db.record.bulkAdd(records),
    get: (id) => db.record.get(id),
    withStatus: (status) => db.record.where('status').equals(status).toArray(),
    of: (assignee) => db.record.where('assignee').equals(assignee).toArray(),
    count: (status) => db.record.where('status').equals(status).count(),
    all: () => db.record.toArray(),
    expensive: (points) => db.record.filter((record) => record.points > points).toArray(),
    newest: (limit) => db.record.orderBy('due').reverse().limit(limit).toArray(),
    close: async () => db.close(),
  };
}

export const PEERS = { driver, local, 'raw IndexedDB': rawIdb, Dexie: dexie };

function done(request) {
  return new Promise((resolve, reject) => Object.assign(request, { onsuccess: () => resolve(request.result), onerror: () => reject(request.error) }));
}
