import type { Database } from '../database.js';
import { openDatabase } from '../open.js';
import type { AnySchema, OpenOptions, SchemaOf, SyncOptions } from '../types.js';
import { TestServer, type TestServerOptions } from './server.js';

/** What `openTestPair` takes. */
export interface TestPairOptions extends Omit<OpenOptions, 'name' | 'storage' | 'sync'> {
  /** How the clients sync. `auto` is false where it is not given: a test says when. */
  sync?: Omit<SyncOptions, 'url' | 'fetch' | 'realtime'>;
  /** How the server is made, but for the objects, which are the clients'. */
  server?: Omit<TestServerOptions, 'objects'>;
}

/** A test server and the databases of its clients. */
export interface TestPair<Schema extends SchemaOf<Schema> = AnySchema> {
  /** The first client. */
  readonly db: Database<Schema>;
  readonly server: TestServer;
  /**
   * Opens the database of another client, with the same options. A name that is open gives another handle on that database, and one
   * that was closed what it held.
   */
  openClient(name?: string): Promise<Database<Schema>>;
  /** Closes all databases and deletes what they held. */
  close(): Promise<void>;
}

const URL = 'http://test.invalid/api/sync';

let names = 0;

/**
 * Opens a database in memory, and a server for it to sync with.
 *
 * # Errors
 * As `openDatabase`.
 *
 * ```ts
 * const { db, server, openClient, close } = await openTestPair<Schema>({ objects });
 * await db.create('story', { id: 's1', title: 'Ship it' });
 * await db.sync();
 * const other = await openClient();
 * await other.sync();
 * assert.equal((await other.get('story', 's1'))?.title, 'Ship it');
 * await close();
 * ```
 */
export async function openTestPair<Schema extends SchemaOf<Schema> = AnySchema>(options: TestPairOptions): Promise<TestPair<Schema>> {
  const { sync, server: serverOptions, ...rest } = options;
  const server = new TestServer({ ...serverOptions, objects: options.objects });
  const opened = new Set<Database<Schema>>();
  const openClient = async (name = `test-${++names}`) => {
    const { fetch } = server;
    const db = await openDatabase<Schema>({ ...rest, name, storage: 'memory', sync: { auto: false, ...sync, url: URL, fetch } });
    opened.add(db);
    return db;
  };
  const close = async () => {
    await Promise.all([...opened].map((db) => db.destroy()));
    opened.clear();
  };
  return { db: await openClient(), server, openClient, close };
}
