// The real engine of ObjectQL in a page, with this package's driver on IndexedDB, bundled as an app would be. Goal: what the engine does is in
// the log on disk, and there after a reload. What all it can do is tested in Node.js (pkg/test/objectql-engine.test.js).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { launch, newFolder, openPage, Proxy, reload, removeFolder } from './parts.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const ENTRY = `${ROOT}an-app.js`;

/** What the page has: the engine, the driver, and how it opens both. */
const APP = `
  import { ObjectQL } from '@objectstack/objectql/core';
  import { OfflineDriver } from 'objectql-offline/driver';

  const silent = Object.fromEntries(['debug', 'info', 'warn', 'error', 'fatal'].map((level) => [level, () => undefined]));
  const objects = {
    person: { fields: { name: { type: 'text', required: true } } },
    story: {
      fields: {
        title: { type: 'text', required: true },
        status: { type: 'select', options: [{ label: 'Open', value: 'open' }, { label: 'Done', value: 'done' }], defaultValue: 'open' },
        points: { type: 'number' },
        due: { type: 'datetime' },
        owner: { type: 'lookup', reference: 'person' },
      },
    },
  };
  window.start = async () => {
    window.driver = new OfflineDriver({ name: 'crm', objects: [{ name: 'story', sync: { enabled: true } }] });
    window.engine = new ObjectQL({ logger: silent });
    engine.registry.logLevel = 'silent';
    engine.registerDriver(driver, true);
    await engine.init();
    for (const [name, object] of Object.entries(objects)) engine.registry.registerObject({ name, label: name, ...object });
    await engine.syncSchemas();
  };
  document.title = 'ready';
`;

/**
 * What the engine remembers a transaction in while that runs, so that its own reads go into it. Pages have nothing that follows
 * what is asynchronous, so this one holds for all that happens meanwhile: it is for pages that do one thing at a time.
 */
const ASYNC_HOOKS = `
  export class AsyncLocalStorage {
    run(store, task, ...rest) {
      const before = this.store;
      this.store = store;
      let result;
      try {
        return (result = task(...rest));
      } finally {
        Promise.resolve(result).catch(() => undefined).then(() => { this.store = before; });
      }
    }
    getStore() {
      return this.store;
    }
  }
`;

/** The modules of Node.js that the engine names. In a page it uses the first only. */
const MODULES = { async_hooks: ASYNC_HOOKS, crypto: 'module.exports = {};', module: 'module.exports = {};', path: 'module.exports = {};' };

/** The files of the app by path. */
async function bundle() {
  const app = {
    name: 'an-app',
    enforce: 'pre',
    resolveId: (id) => (id === 'an-app.js' ? ENTRY : Object.hasOwn(MODULES, id) ? `\0${id}` : undefined),
    load: (id) => (id === ENTRY ? APP : MODULES[id.slice(1)]),
  };
  const { output } = await build({
    root: ROOT,
    configFile: false,
    logLevel: 'error',
    publicDir: false,
    plugins: [app],
    build: { write: false, minify: false, target: 'es2022', modulePreload: false, rollupOptions: { input: 'an-app.js' } },
  });
  const files = new Map(output.map(({ fileName, code, source }) => [`/${fileName}`, { body: code ?? source }]));
  const [script] = [...files.keys()].filter((path) => path.endsWith('.js'));
  files.set('/', { body: `<!doctype html><title>test</title><link rel="icon" href="data:,"><script type="module" src="${script}"></script>` });
  return files;
}

let folder;
let context;
let proxy;

before(async () => {
  folder = newFolder();
  // There is no server: nothing of this is synced.
  proxy = new Proxy(undefined);
  await proxy.listen();
  [context] = await Promise.all([launch(folder), bundle().then((files) => { proxy.files = files; })]);
});
after(async () => {
  await context?.close();
  await proxy.close();
  removeFolder(folder);
});

/** A page with the engine, on an empty database. */
async function start(t) {
  const tab = await openPage(context, proxy.origin);
  t.after(async () => {
    await tab.close();
    assert.deepEqual(tab.errors, [], 'uncaught errors of the page');
  });
  await tab.evaluate(async () => {
    await start();
    await driver.clear();
  });
  return tab;
}

test('what the engine writes is there after a reload, record by record', async (t) => {
  const tab = await start(t);
  const written = await tab.evaluate(async () => {
    const { id } = await engine.insert('person', { name: 'Ann' });
    await engine.insert('story', ['a', 'b', 'c', 'd'].map((title, points) => ({ title, points, owner: id, due: `2026-07-2${points}` })));
    const [first] = await engine.find('story', { where: { title: 'a' } });
    await engine.update('story', { id: first.id, points: 10 });
    await engine.update('story', { status: 'done' }, { where: { points: { $gt: 2 } }, multi: true });
    await engine.delete('story', { where: { title: 'b' }, multi: true });
    return await engine.find('story', { orderBy: [{ field: 'title' }] });
  });
  assert.deepEqual(written.map(({ title, points, status }) => [title, points, status]), [['a', 10, 'done'], ['c', 2, 'open'], ['d', 3, 'done']]);
  await reload(tab);
  const seen = await tab.evaluate(async () => {
    await start();
    const groups = await engine.aggregate('story', { groupBy: ['status'], aggregations: [{ function: 'sum', field: 'points', alias: 'sum' }] });
    const [expanded] = await engine.find('story', { where: { title: 'c' }, expand: { owner: {} } });
    return {
      rows: await engine.find('story', { orderBy: [{ field: 'title' }] }),
      late: await engine.count('story', { where: { due: { $lte: '2026-07-22' } } }),
      groups: groups.map(({ status, sum }) => [status, sum]),
      owner: expanded.owner.name,
      pending: (await driver.database()).status.pending,
    };
  });
  assert.deepEqual(seen.rows, written);
  assert.deepEqual([seen.late, seen.groups, seen.owner], [2, [['done', 13], ['open', 2]], 'Ann']);
  assert.ok(seen.pending > 0, 'the object is synced: its mutations wait for a server');
});

test('a transaction of the engine is on disk as a whole, or not at all', async (t) => {
  const tab = await start(t);
  await tab.evaluate(async () => {
    await engine.transaction(async (context) => {
      const { id } = await engine.insert('person', { name: 'Ann' }, { context });
      await engine.insert('story', { title: 'a', owner: id }, { context });
    });
    await engine.transaction(async (context) => {
      await engine.insert('story', { title: 'never' }, { context });
      throw new Error('mine');
    }).catch(() => undefined);
  });
  await reload(tab);
  assert.deepEqual(await tab.evaluate(async () => {
    await start();
    return [await engine.count('person'), (await engine.find('story')).map(({ title }) => title)];
  }), [1, ['a']]);
});

test('another tab sees what the engine of this one wrote, and hooks run where the write was', async (t) => {
  const tab = await start(t);
  const other = await openPage(context, proxy.origin);
  t.after(() => other.close());
  await other.evaluate(async () => {
    await start();
    window.seen = new Promise(async (resolve) => {
      (await driver.database()).liveQuery('story').subscribe(({ rows }) => rows.length > 0 && resolve(rows.map(({ title }) => title)));
    });
    engine.registerHook('afterInsert', () => { throw new Error('not here'); }, { object: 'story' });
    await driver.database();
  });
  await tab.evaluate(async () => {
    engine.registerHook('beforeInsert', ({ input }) => { input.data.title = input.data.title.toUpperCase(); }, { object: 'story' });
    await engine.insert('story', { title: 'shout' });
  });
  assert.deepEqual(await other.evaluate(() => seen), ['SHOUT']);
  assert.equal(await other.evaluate(() => engine.count('story', { where: { title: 'SHOUT' } })), 1);
});
