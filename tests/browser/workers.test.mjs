// The package in the three kinds of workers: each is one more tab of the database, which may be all that is left of the app.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test, until, world } from './harness.mjs';

const JAVASCRIPT = { 'content-type': 'text/javascript' };
const KINDS = ['dedicated', 'shared', 'service'];

/** A world whose proxy serves `worker.js`, and a page without the package at `/bare`. */
async function start(t, options) {
  const all = await world(t, options);
  const { files } = all.proxy;
  files.set('/worker.js', { headers: JAVASCRIPT, body: readFileSync(new URL('worker.js', import.meta.url)) });
  files.set('/bare', { body: '<!doctype html><title>ready</title><link rel="icon" href="data:,">' });
  return all;
}

/** Starts a worker from a tab, or joins the one that runs. */
const startWorker = (tab, kind) => tab.evaluate(async (kind) => {
  const options = { type: 'module' };
  const starts = {
    dedicated: () => new Worker('/worker.js', options),
    shared: () => new SharedWorker('/worker.js', options).port,
    service: async () => {
      await navigator.serviceWorker.register('/worker.js', { ...options, scope: '/' });
      return (await navigator.serviceWorker.ready).active;
    },
  };
  window.worker = await starts[kind]();
}, kind);

/** Runs a function in the tab's worker. */
async function inWorker(tab, task, argument) {
  const { value, error } = await tab.evaluate(([task, argument]) => new Promise((resolve, reject) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => resolve(data);
    // Of a worker whose script fails nothing else is heard.
    worker.onerror = ({ message }) => reject(new Error(`the worker: ${message}`));
    worker.postMessage([task, argument], [port2]);
  }), [String(task), argument]);
  if (error) throw new Error(error);
  return value;
}

const openInPage = (tab, sync) => tab.evaluate(async (sync) => { window.db = await openDb({ sync }); }, sync);
const definitions = (tab) => tab.evaluate(() => objectsWith());

/** Opens the database in the tab's worker, which leads. */
async function openInWorker(tab, objects, sync) {
  await inWorker(tab, async ({ objects, sync }) => { self.db = await openDb(objects, sync); }, { objects, sync });
  await inWorker(tab, () => until(() => db.status.leader, 'the lead'));
}

const titlesIn = (server) => async () => [...(await server.records()).values()].map(({ title }) => title).sort();

for (const kind of KINDS) {
  test(`a ${kind} worker reads, writes, follows queries and syncs, and a page beside it sees the same`, async (t) => {
    const { server, openTab, openDevice } = await start(t);
    const tab = await openTab();
    await tab.evaluate(async () => {
      const db = await openDb();
      await db.create('story', { id: 'before', title: 'Before', points: 1 });
      await db.close();
    });
    await startWorker(tab, kind);
    // It is the first of the origin to open one that was closed, and so renews Chromium's journal.
    await inWorker(tab, () => {
      self.opened = [];
      const { open } = IDBFactory.prototype;
      IDBFactory.prototype.open = function (name, ...rest) {
        opened.push(name);
        return open.call(this, name, ...rest);
      };
    });
    await openInWorker(tab, await definitions(tab));
    await until(() => inWorker(tab, () => opened.length > 1), 'the journal is renewed');
    assert.deepEqual(await inWorker(tab, () => opened), ['test', 'test:journal']);
    await openInPage(tab);
    assert.equal(await tab.evaluate(() => db.status.leader), false, 'what is synced, the worker syncs');

    await tab.evaluate(() => {
      window.results = [];
      db.liveQuery('story', { where: { points: { $gte: 1 } }, orderBy: [{ field: 'id' }] }).subscribe(({ rows }) => results.push(rows.map(({ title }) => title)));
    });
    const found = await inWorker(tab, async () => {
      self.results = [];
      db.liveQuery('story', { where: { points: { $gte: 1 } }, orderBy: [{ field: 'id' }] }).subscribe(({ rows }) => results.push(rows.map(({ title }) => title)));
      await db.create('story', { id: 'worker', title: 'Worker', points: 2 });
      await db.transaction(async (tx) => {
        await tx.update('story', 'worker', { points: (await tx.get('story', 'worker')).points + 1 });
        await tx.create('task', { id: 'child', story: 'worker' });
      });
      return (await db.find('task', { expand: { story: true } })).map(({ story }) => story.points);
    });
    assert.deepEqual(found, [3]);
    await tab.evaluate(() => until(() => results.at(-1).includes('Worker'), 'the page follows'));
    await tab.evaluate(() => db.create('story', { id: 'page', title: 'Page', points: 3 }));
    await inWorker(tab, () => until(() => results.at(-1).includes('Page'), 'the worker follows'));

    const report = await inWorker(tab, () => db.sync());
    assert.equal(report.applied, 5);
    assert.deepEqual(await titlesIn(server)(), ['Before', 'Page', 'Worker']);
    const other = await (await openDevice()).openTab();
    await openInPage(other);
    await other.evaluate(async () => {
      await db.sync();
      await db.create('story', { id: 'away', title: 'Away', points: 4 });
      await db.sync();
    });
    await tab.evaluate(() => db.sync());
    for (const told of [await inWorker(tab, () => results), await tab.evaluate(() => results)]) {
      assert.deepEqual([told[0], told.at(-1)], [['Before'], ['Away', 'Before', 'Page', 'Worker']]);
    }
    assert.deepEqual(await inWorker(tab, () => db.find('story')), await tab.evaluate(() => db.find('story')));
    assert.deepEqual(await inWorker(tab, () => errors), []);
  });

  test(`what a page wrote beside a ${kind} worker is pushed by the worker, by itself`, async (t) => {
    const { proxy, server, openTab } = await start(t);
    const tab = await openTab();
    await startWorker(tab, kind);
    await openInWorker(tab, await definitions(tab), { auto: true });
    await openInPage(tab, { auto: true });
    await tab.evaluate(() => db.create('story', { id: 'a', title: 'Page' }));
    await tab.evaluate(() => until(() => db.status.pending === 0, 'drained'));
    assert.deepEqual(await titlesIn(server)(), ['Page']);
    proxy.isDown = true;
    await inWorker(tab, () => { db.on('error', ({ code }) => { self.failure = code; }); });
    await tab.evaluate(() => db.create('story', { id: 'b', title: 'Offline' }));
    assert.equal(await inWorker(tab, () => until(() => self.failure, 'a failure')), 'NETWORK');
    proxy.isDown = false;
    await tab.evaluate(() => until(() => db.status.pending === 0, 'drained again'));
    assert.deepEqual(await titlesIn(server)(), ['Offline', 'Page']);
    assert.equal(await tab.evaluate(() => db.status.leader), false);
    assert.deepEqual(await inWorker(tab, () => errors), []);
  });
}

test('two tabs that share a worker have one database in it, which lives on when one of them is closed', async (t) => {
  const { server, openTab } = await start(t);
  const [one, two] = [await openTab(), await openTab('/bare')];
  const objects = await definitions(one);
  const open = async (objects) => {
    self.opening ??= openDb(objects);
    self.db = await opening;
    return born;
  };
  for (const tab of [one, two]) await startWorker(tab, 'shared');
  const workers = await Promise.all([one, two].map((tab) => inWorker(tab, open, objects)));
  assert.equal(workers[0], workers[1]);
  await inWorker(one, () => {
    self.seen = [];
    db.liveQuery('story', { orderBy: [{ field: 'id' }] }).subscribe(({ rows }) => seen.push(rows.map(({ id }) => id)));
  });
  const write = (tab, name) => inWorker(tab, async (name) => {
    for (let at = 0; at < 10; at++) await db.create('story', { id: `${name}${at}`, title: name });
  }, name);
  await Promise.all([write(one, 'a'), write(two, 'b')]);
  await one.close();
  const { seen, sequences } = await inWorker(two, async () => {
    await db.update('story', 'a0', { title: 'still there' });
    return { seen, sequences: (await db.pendingMutations()).map(({ sequence }) => sequence) };
  });
  assert.equal(seen.at(-1).length, 20);
  assert.deepEqual(sequences, Array.from({ length: 21 }, (_, at) => at + 1));
  await inWorker(two, () => db.sync());
  assert.equal((await server.records()).get('a0').title, 'still there');
  assert.deepEqual(await inWorker(two, () => errors), []);
});

test('a service worker syncs what a page wrote that was closed, when another page asks', async (t) => {
  const { proxy, server, openTab } = await start(t);
  const page = await openTab();
  proxy.files.set('/objects.json', { body: JSON.stringify(await definitions(page)) });
  await startWorker(page, 'service');
  const clientId = await page.evaluate(async () => {
    window.db = await openDb();
    await db.create('story', { id: 'left', title: 'Left behind' });
    return db.status.clientId;
  });
  await page.close();
  assert.deepEqual(proxy.batches, []);
  const asking = await openTab('/bare');
  const report = await asking.evaluate(async () => (await fetch('/sync-now')).json());
  assert.equal(report.applied, 1);
  assert.deepEqual(proxy.batches.map((batch) => batch.map(({ recordId, clientId }) => [recordId, clientId])), [[['left', clientId]]]);
  assert.deepEqual(await titlesIn(server)(), ['Left behind']);
});

test('a service worker syncs what a page wrote that was closed, when the browser says so and no page is left', async (t) => {
  const { proxy, server, origin, openTab } = await start(t);
  const page = await openTab();
  proxy.files.set('/objects.json', { body: JSON.stringify(await definitions(page)) });
  // A page of no origin, to which the browser's tools are bound.
  const session = await page.context().newCDPSession(await page.context().newPage());
  const registrations = new Map();
  session.on('ServiceWorker.workerRegistrationUpdated', ({ registrations: updated }) => {
    for (const { registrationId, scopeURL } of updated) registrations.set(scopeURL, registrationId);
  });
  await session.send('ServiceWorker.enable');
  await startWorker(page, 'service');
  await page.evaluate(async () => {
    window.db = await openDb();
    await db.create('story', { id: 'left', title: 'Left behind' });
  });
  const registrationId = await until(() => registrations.get(`${origin}/`), 'the registration');
  await page.close();
  await session.send('ServiceWorker.dispatchSyncEvent', { origin, registrationId, tag: 'objectql', lastChance: false });
  await until(async () => (await titlesIn(server)()).length === 1, 'it is pushed');
  assert.deepEqual(await titlesIn(server)(), ['Left behind']);
});

/** Ends a tab's worker as a browser does: with its page, or to save memory. */
const endWorker = {
  dedicated: (tab) => tab.evaluate(() => worker.terminate()),
  shared: (tab) => tab.close(),
  service: async (tab) => {
    const session = await tab.context().newCDPSession(tab);
    await session.send('ServiceWorker.enable');
    await session.send('ServiceWorker.stopAllWorkers');
    await session.detach();
  },
};

for (const kind of KINDS) {
  test(`when a ${kind} worker that syncs is ended with a request under way, a page takes over, and a new worker has all of it`, async (t) => {
    const { proxy, server, openTab } = await start(t);
    const [page, owner] = [await openTab(), await openTab('/bare')];
    const objects = await definitions(page);
    await startWorker(owner, kind);
    await openInWorker(owner, objects);
    await openInPage(page);
    const { checkpoint } = await server.changesSince();
    const ended = await inWorker(owner, async () => {
      await db.create('story', { id: 'sent', title: 'Sent' });
      return born;
    });
    // The server has it, and its answer never arrives.
    const answered = new Promise((resolve) => {
      proxy.faults.push(async (_request, forward) => {
        await forward();
        resolve();
        return new Promise(() => {});
      });
    });
    await inWorker(owner, () => { void db.sync().catch(() => {}); });
    await answered;
    assert.equal(await page.evaluate(() => db.status.leader), false);
    await endWorker[kind](owner);
    await page.evaluate(() => until(() => db.status.leader, 'the lead'));
    await page.evaluate(async () => {
      await db.create('story', { id: 'own', title: 'Own' });
      await db.sync();
    });
    const { changes } = await server.changesSince(checkpoint);
    assert.deepEqual(changes.map(({ recordId }) => recordId), ['sent', 'own']);
    await startWorker(page, kind);
    const seen = await inWorker(page, async (objects) => {
      self.db = await openDb(objects);
      return { born, ids: (await db.find('story')).map(({ id }) => id), pending: db.status.pending };
    }, objects);
    assert.notEqual(seen.born, ended);
    assert.deepEqual([seen.ids, seen.pending], [['sent', 'own'], 0]);
  });
}

test('the server rings for workers of all kinds', async (t) => {
  for (const kind of KINDS) {
    const { openTab, openDevice } = await start(t, { serverArgs: ['--realtime'] });
    const [tab, other] = [await openTab(), await (await openDevice()).openTab()];
    await startWorker(tab, kind);
    await openInWorker(tab, await definitions(tab), { auto: true, pollIntervalMs: 0, realtime: true });
    await inWorker(tab, () => until(() => db.status.realtime, 'the socket'));
    await openInPage(other);
    await other.evaluate(async () => {
      await db.create('story', { id: 'away', title: 'Away' });
      await db.sync();
    });
    await inWorker(tab, () => until(() => db.get('story', 'away'), 'it was rung for'));
  }
});
