// The three that are compared, behind one surface: the driver, raw IndexedDB written as one would by hand, and Dexie.
// All of them write durably (strict), and have an index on `status` and on `due` where they have indexes.
import Dexie from '/dexie.mjs';
import { openDatabase } from '/pkg/dist/index.js';

const OBJECTS = [{ name: 'record', fields: { title: { type: 'text' }, status: { type: 'text' }, points: { type: 'number' } }, sync: { enabled: true } }];

/** The driver, with its log of mutations: what an app that syncs pays. */
async function driver(name) {
  const db = await openDatabase({ name, objects: OBJECTS, sync: { url: '/api/sync', auto: false } });
  return {
    create: (record) => db.create('record', record),
    createMany: (records) => db.bulkCreate('record', records),
    get: (id) => db.get('record', id),
    withStatus: (status) => db.find('record', { where: { status } }),
    newest: (limit) => db.find('record', { orderBy: [{ field: 'due', order: 'desc' }], limit }),
    sync: () => db.sync(),
    close: () => db.close(),
  };
}

async function rawIdb(name) {
  const opening = indexedDB.open(name, 1);
  opening.onupgradeneeded = () => {
    const store = opening.result.createObjectStore('record', { keyPath: 'id' });
    store.createIndex('status', 'status');
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
  db.version(1).stores({ record: 'id, status, due' });
  await db.open();
  return {
    create: (record) => db.record.add(record),
    createMany: (records) => db.record.bulkAdd(records),
    get: (id) => db.record.get(id),
    withStatus: (status) => db.record.where('status').equals(status).toArray(),
    newest: (limit) => db.record.orderBy('due').reverse().limit(limit).toArray(),
    close: async () => db.close(),
  };
}

export const PEERS = { driver, 'raw IndexedDB': rawIdb, Dexie: dexie };

function done(request) {
  return new Promise((resolve, reject) => Object.assign(request, { onsuccess: () => resolve(request.result), onerror: () => reject(request.error) }));
}
