// Worker mode: the driver in a worker, and everything in the page as it is without one.
import assert from 'node:assert/strict';
import { PAGE } from './parts.mjs';
import { crash, test, until, world } from './harness.mjs';

const KINDS = ['dedicated', 'shared'];
const MODES = [false, ...KINDS];

/** Opens the test's database in a tab, in a mode. */
const open = (tab, worker, options) => tab.evaluate(async ([worker, options]) => { window.db = await openDb({ worker, ...options }); }, [worker, options]);

/** A world with a tab that has the database open. */
async function start(t, worker, options) {
  const all = await world(t);
  const tab = await all.openTab();
  await open(tab, worker, options);
  return { ...all, tab };
}

/** Has the tab keep the workers that it makes from here on, to end one as a browser does. */
const keepWorkers = (tab) => tab.evaluate(() => {
  window.made = [];
  window.Worker = class extends Worker {
    constructor(...args) {
      super(...args);
      made.push(this);
    }
  };
});

for (const worker of KINDS) {
  test(`in a ${worker} worker every call does what it does in the page`, async (t) => {
    const { tab } = await start(t, worker);
    const inPage = await (await world(t)).openTab();
    await open(inPage, false);
    const tour = async () => {
      const told = [];
      const tell = async (promise) => told.push(await promise.catch((error) => [error.constructor.name, error.code, error.message]));
      await tell(db.create('story', { id: 'a', title: 'One', points: 1 }).then(({ id, title }) => [id, title]));
      await tell(db.bulkCreate('story', ['b', 'c', 'd'].map((id, at) => ({ id, title: id, points: at, notes: { deep: [at] } }))).then(({ length }) => length));
      await tell(Promise.all(stories(600).map((story, at) => db.create('task', { id: at, title: story.title, story: 'abcd'[at % 4] }))).then(({ length }) => length));
      await tell(db.update('story', 'a', { status: 'done' }).then(({ status, points }) => [status, points]));
      await tell(db.bulkUpdate('story', [{ id: 'b', data: { title: 'Two' } }]).then(([{ title }]) => title));
      await tell(db.updateMany('story', { points: { $gte: 1 } }, { status: 'open' }));
      await tell(db.upsert('story', { id: 'e', title: 'Five' }).then(({ title }) => title));
      await tell(db.delete('story', 'd'));
      await tell(db.delete('story', 'd'));
      await tell(db.bulkDelete('task', [1, 2, 3]));
      await tell(db.deleteMany('task', { story: 'd' }));
      await tell(db.get('story', 'a').then(({ title }) => title));
      await tell(db.get('story', 'none'));
      await tell(db.find('story', { where: { points: { $gte: 1 } }, orderBy: [{ field: 'title', order: 'desc' }], fields: ['title'] }));
      await tell(db.findOne('story', { where: { id: 'b' } }).then(({ notes }) => notes));
      await tell(db.count('task'));
      await tell(db.distinct('task', 'story'));
      await tell(db.aggregate('task', { groupBy: ['story'], aggregations: [{ function: 'count', alias: 'many' }] }));
      await tell(db.explain('task', { where: { story: 'a' } }));
      await tell(db.find('story', { orderBy: [{ field: 'id' }], expand: { task: { where: { title: { $startsWith: 'Story 1' } }, orderBy: [{ field: 'id' }], limit: 2, expand: { story: { fields: ['title'] } } } } })
        .then((rows) => rows.map(({ id, task }) => [id, task.map(({ id, story }) => [id, story])])));
      await tell(db.create('story', { id: 'a', title: 'again' }));
      await tell(db.update('story', 'none', { title: 'x' }));
      await tell(db.get('nothing', 'a'));
      await tell(db.find('story', { where: { title: { $never: 1 } } }));
      await tell(db.find('task', { expand: { nobody: true } }));
      await tell(Promise.all([db.create('task', { id: 1, title: 'in' }), db.create('task', { id: 4, title: 'out' }).catch(({ code }) => code)]).then(([{ id }, code]) => [id, code]));
      await tell(db.undo());
      await tell(db.redo());
      await tell(db.retry('none'));
      told.push([db.status.state, db.status.pending, db.status.undoable]);
      const [first] = await db.pendingMutations();
      told.push([first.recordId, first.sequence]);
      await db.close();
      await tell(db.get('story', 'a'));
      told.push(db.status.state);
      return told;
    };
    assert.deepEqual(await tab.evaluate(tour), await inPage.evaluate(tour));
  });

  test(`in a ${worker} worker what is read is frozen, and one object as long as it does not change`, async (t) => {
    const { tab } = await start(t, worker);
    assert.deepEqual(await tab.evaluate(async () => {
      await db.bulkCreate('story', stories(1000));
      const once = await db.find('story', { where: { points: { $lt: 500 } } });
      const [again, got] = await Promise.all([db.find('story', { where: { points: { $lt: 500 } } }), db.get('story', once[7].id)]);
      const shaped = () => db.find('story', { where: { points: { $lt: 9 } }, expand: { task: true } });
      const [one, other] = [await shaped(), await shaped()];
      await db.update('story', once[7].id, { title: 'changed' });
      const later = await db.find('story', { where: { points: { $lt: 500 } } });
      return [
        once.length, once.every((row, at) => row === again[at]), once[7] === got, Object.isFrozen(got), one.every((row, at) => row === other[at]),
        later.filter((row, at) => row !== once[at]).map(({ title }) => title), (await db.get('story', once[7].id)) === later[7],
      ];
    }), [500, true, true, true, true, ['changed'], true]);
  });

  test(`in a ${worker} worker a live query follows, also what its rows are related to, and ends when it is told to`, async (t) => {
    const { tab } = await start(t, worker);
    const results = await tab.evaluate(async () => {
      await db.create('story', { id: 'a', title: 'A' });
      await db.create('task', { id: 't', story: 'a' });
      const told = { plain: [], expanded: [], stopped: [], failed: [] };
      const stop = db.liveQuery('story', { orderBy: [{ field: 'id' }], fields: ['title'] }).subscribe(({ rows, added, changed }) => told.plain.push([rows.map(({ title }) => title), added.length, changed.length]));
      db.liveQuery('task', { expand: { story: true } }).subscribe(({ rows }) => told.expanded.push(rows.map(({ story }) => story?.title)));
      db.liveQuery('story').subscribe(({ rows }) => told.stopped.push(rows.length))();
      db.liveQuery('story', { where: { title: { $never: 1 } } }).subscribe(() => told.failed.push('a result'), ({ code }) => told.failed.push(code));
      await until(() => told.plain.length > 0 && told.expanded.length > 0 && told.failed.length > 0, 'the first results');
      const order = [];
      db.on('change', ({ changes, origin }) => order.push([changes[0].objectName, origin, told.plain.length]));
      await db.create('story', { id: 'b', title: 'B' });
      order.push('created');
      await db.update('story', 'a', { title: 'A2' });
      stop();
      await db.update('story', 'b', { title: 'B2' });
      const iterated = [];
      for await (const { rows } of db.liveQuery('story', { where: { title: 'B2' } })) {
        iterated.push(rows.length);
        if (rows.length === 0) break;
        await db.delete('story', 'b');
      }
      return { ...told, order, iterated };
    });
    assert.deepEqual(results.plain, [[['A'], 1, 0], [['A', 'B'], 1, 0], [['A2', 'B'], 0, 1]]);
    assert.deepEqual(results.expanded, [['A'], ['A2']]);
    assert.deepEqual([results.stopped, results.failed, results.iterated], [[], ['INVALID_QUERY'], [1, 0]]);
    // As in the page: the live query first, then the event, then whoever wrote.
    assert.deepEqual(results.order.slice(0, 2), [['story', 'local', 2], 'created']);
  });

  test(`in a ${worker} worker a transaction reads what it wrote, runs again where another tab was first, and is nothing when it fails`, async (t) => {
    const { tab, openTab } = await start(t, worker);
    const other = await openTab();
    await open(other, false);
    await tab.evaluate(() => db.create('story', { id: 'a', title: 'A', points: 1 }));
    await other.evaluate(() => until(() => db.get('story', 'a'), 'the story'));
    await tab.exposeFunction('elsewhere', () => other.evaluate(() => db.update('story', 'a', { points: 10 })));
    const told = await tab.evaluate(async () => {
      let runs = 0;
      const points = await db.transaction(async (tx) => {
        runs++;
        const { points } = await tx.get('story', 'a');
        if (runs === 1) {
          await elsewhere();
          await until(async () => (await db.get('story', 'a')).points === 10, 'the other write');
        }
        await tx.update('story', 'a', { points: points + 1 });
        await tx.create('task', { id: 't', story: 'a' });
        return (await tx.find('task', { expand: { story: true } })).map(({ story }) => story.points);
      });
      const failing = await codeOf(db.transaction(async (tx) => {
        await tx.delete('story', 'a');
        await tx.update('story', 'a', { points: 0 });
      }));
      const left = await db.beginTransaction();
      await left.create('story', { id: 'never', title: 'never' });
      await left.rollback();
      return [runs, points, failing, (await db.get('story', 'a')).points, await db.count('story'), await codeOf(left.find('story'))];
    });
    assert.deepEqual(told, [2, [11], 'NOT_FOUND', 11, 1, 'TRANSACTION_ENDED']);
  });

  test(`in a ${worker} worker a database is exported and imported`, async (t) => {
    const { tab } = await start(t, worker);
    assert.deepEqual(await tab.evaluate(async () => {
      await db.bulkCreate('story', stories(3000));
      const file = await new Response(db.export()).blob();
      await db.deleteMany('story', { points: { $gte: 10 } });
      const imported = await db.import(file);
      await db.create('story', { id: 'extra', title: 'extra' });
      const replaced = await db.import(file, { mode: 'replace' });
      const reader = db.export().getReader();
      await reader.read();
      await reader.cancel();
      return [imported, replaced, await db.count('story'), await codeOf(db.import('{}'))];
    }), [2990, 1, 3000, 'INVALID_FILE']);
  });

  test(`from a ${worker} worker the app's headers go along, and its own fetch sends`, async (t) => {
    const { proxy, server, tab } = await start(t, worker);
    const authorizations = [];
    proxy.rule = (_request, forward, headers) => {
      authorizations.push(headers.authorization);
      return forward();
    };
    const applied = await tab.evaluate(async (worker) => {
      await db.close();
      let token = 0;
      window.db = await openDb({ worker, sync: { headers: async () => ({ authorization: `Bearer ${++token}` }) } });
      await db.create('story', { id: 'a', title: 'A' });
      const { applied } = await db.sync();
      await db.close();
      return applied;
    }, worker);
    assert.deepEqual([applied, authorizations], [1, ['Bearer 1']]);
    const sent = await tab.evaluate(async (worker) => {
      const sent = [];
      const send = async (url, init) => {
        sent.push([url, init.method, init.headers.get('content-type'), init.body instanceof Uint8Array, init.signal instanceof AbortSignal, location.pathname]);
        return fetch(url, init);
      };
      window.db = await openDb({ worker, sync: { fetch: send } });
      await db.create('story', { id: 'b', title: 'B' });
      await db.sync();
      await db.close();
      window.db = await openDb({ worker, sync: { fetch: () => { throw new TypeError('no way'); } } });
      return [sent, await db.sync().catch(({ code, message }) => [code, message.includes('TypeError: no way')])];
    }, worker);
    assert.deepEqual(sent, [[['/api/sync', 'POST', 'application/json', true, true, '/']], ['NETWORK', true]]);
    assert.deepEqual([...(await server.records()).keys()].sort(), ['a', 'b']);
  });

  test(`in a ${worker} worker a conflict is decided by the page, and the page has the events`, async (t) => {
    const { server, openTab, openDevice } = await world(t, { strategy: 'manual' });
    const [mine, theirs] = [await openTab(), await (await openDevice()).openTab()];
    await mine.evaluate(async (worker) => {
      window.events = [];
      window.db = await openDb({ worker, objects: objectsWith({ strategy: 'manual' }).slice(0, 1), onConflict: ({ recordId }) => { events.push(`decide ${recordId}`); return 'mine'; } });
      for (const kind of ['conflict', 'change', 'progress', 'status']) db.on(kind, () => events.push(kind));
      await db.create('story', { id: 'a', title: 'A' });
      await db.sync();
    }, worker);
    await theirs.evaluate(async () => {
      window.db = await openDb({ objects: objectsWith({ strategy: 'manual' }).slice(0, 1) });
      await db.sync();
      await db.update('story', 'a', { title: 'Theirs' });
      await db.sync();
    });
    const told = await mine.evaluate(async () => {
      await db.update('story', 'a', { title: 'Mine' });
      await db.sync();
      await until(() => events.includes('decide a') && db.status.conflicts === 0, 'a decision');
      await db.sync();
      return [[...new Set(events)].sort(), db.status.pending, (await db.conflicts()).length];
    });
    assert.deepEqual(told, [['change', 'conflict', 'decide a', 'progress', 'status'], 0, 0]);
    assert.equal((await server.records()).get('a').title, 'Mine');
  });

  test(`in a ${worker} worker what goes on the disk is sealed, by a key or a passphrase of the page`, async (t) => {
    const { openTab } = await world(t);
    const tab = await openTab();
    assert.deepEqual(await tab.evaluate(async (worker) => {
      const key = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']);
      const told = [];
      for (const given of [key, 'correct horse battery staple']) {
        const db = await openDb({ worker, encryption: { key: given } });
        await db.create('story', { id: 'a', title: 'a planted marker' });
        await db.close();
        const request = indexedDB.open('test');
        await new Promise((resolve) => { request.onsuccess = resolve; });
        const rows = request.result.transaction('log').objectStore('log').getAll();
        await new Promise((resolve) => { rows.onsuccess = resolve; });
        request.result.close();
        told.push(rows.result.length > 0, rows.result.some((row) => new TextDecoder('latin1').decode(row).includes('planted')));
        told.push(await codeOf(openDb({ worker, encryption: { key: 'another' } })));
        const again = await openDb({ worker, encryption: { key: given } });
        told.push((await again.get('story', 'a')).title);
        await again.destroy();
      }
      told.push(await codeOf(openDb({ worker, encryption: { key: 7 } })));
      return told;
    }, worker), [...Array.from({ length: 2 }, () => [true, false, 'WRONG_KEY', 'a planted marker']).flat(), 'INVALID_OPTIONS']);
  });

  test(`a tab with a ${worker} worker and one without are two tabs of one database`, async (t) => {
    const { server, tab, openTab } = await start(t, worker);
    const other = await openTab();
    await open(other, false);
    for (const page of [tab, other]) {
      await page.evaluate(() => {
        window.seen = [];
        db.liveQuery('story', { orderBy: [{ field: 'id' }] }).subscribe(({ rows }) => { window.seen = rows.map(({ id }) => id); });
      });
    }
    await tab.evaluate(() => db.create('story', { id: 'a', title: 'A' }));
    await other.evaluate(() => db.create('story', { id: 'b', title: 'B' }));
    for (const page of [tab, other]) await page.evaluate(() => until(() => seen.join() === 'a,b', 'both'));
    assert.deepEqual([await tab.evaluate(() => db.status.leader), await other.evaluate(() => db.status.leader)], [true, false]);
    await tab.evaluate(() => db.close());
    await other.evaluate(() => until(() => db.status.leader, 'the lead'));
    await other.evaluate(() => db.sync());
    assert.deepEqual([...(await server.records()).keys()].sort(), ['a', 'b']);
  });

  test(`with a ${worker} worker the page itself loads no wasm and opens no database, under a strict policy`, async (t) => {
    const { proxy, openTab } = await world(t);
    const headers = { 'content-security-policy': "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' 'unsafe-inline'; worker-src 'self'; connect-src 'self'; img-src data:" };
    proxy.files.set('/strict', { headers, body: PAGE });
    const tab = await openTab('/strict');
    const told = await tab.evaluate(async (worker) => {
      const used = [];
      for (const [where, name] of [[WebAssembly, 'instantiateStreaming'], [WebAssembly, 'instantiate'], [IDBFactory.prototype, 'open']]) {
        const own = where[name];
        where[name] = function (...args) {
          used.push(name);
          return own.apply(this, args);
        };
      }
      window.db = await openDb({ worker });
      await db.create('story', { id: 'a', title: 'A' });
      const { title } = await db.get('story', 'a');
      const { kind, durability, pending } = await db.storage();
      await db.destroy();
      return [title, kind, durability, pending, used, (await indexedDB.databases()).map(({ name }) => name).filter((name) => name === 'test')];
    }, worker);
    assert.deepEqual(told, ['A', 'indexeddb', 'strict', 1, [], []]);
  });

  test(`a ${worker} worker that cannot be started is an error that says what to do, and one that can be is started then`, async (t) => {
    const { proxy, openTab } = await world(t);
    const tab = await openTab();
    proxy.files.set('/broken.js', { headers: { 'content-type': 'text/javascript' }, body: 'import "./not-there.js";' });
    for (const workerUrl of ['/not-there.js', '/broken.js']) {
      const { code, message } = await tab.evaluate(([worker, workerUrl]) => openDb({ worker, workerUrl }).catch(({ code, message }) => ({ code, message })), [worker, workerUrl]);
      assert.equal(code, 'WASM_FAILED');
      assert.match(message, /from \/(not-there|broken)\.js.*objectql-offline\/worker.*workerUrl.*worker-src/s);
    }
    const wasm = await tab.evaluate((worker) => openDb({ worker, wasm: '/not-there.wasm' }).catch(({ code, message }) => [code, message]), worker);
    assert.equal(wasm[0], 'WASM_FAILED');
    assert.match(wasm[1], /not-there\.wasm/);
    assert.equal(await tab.evaluate(async (worker) => (await openDb({ worker, workerUrl: '/pkg/dist/worker.js', wasm: 'pkg/wasm/objectql_offline_bg.wasm' })).status.durable, worker), true);
  });

  test(`two handles of a page share the driver in a ${worker} worker, and must agree on it`, async (t) => {
    const { tab } = await start(t, worker);
    assert.deepEqual(await tab.evaluate(async (worker) => {
      const other = await openDb({ worker });
      await db.create('story', { id: 'a', title: 'A' });
      const isSame = (await other.get('story', 'a')) === (await db.get('story', 'a'));
      const refused = await codeOf(openDb());
      await db.close();
      const closed = await codeOf(db.get('story', 'a'));
      const left = (await other.get('story', 'a')).title;
      await other.close();
      const direct = await openDb();
      return [isSame, refused, closed, left, (await direct.get('story', 'a')).title];
    }, worker), [true, 'INVALID_OPTIONS', 'CLOSED', 'A', 'A']);
  });

  test(`many records come from a ${worker} worker in parts, each as it is`, async (t) => {
    const { tab } = await start(t, worker);
    assert.deepEqual(await tab.evaluate(async () => {
      const texts = ['"],[{', '\\', '\\"', '}{', '\u2028 é 😀', ''];
      const all = Array.from({ length: 6000 }, (_, at) => ({ id: at, title: texts[at % texts.length] + 'x'.repeat(200), notes: { list: [[at], { '"': ',' }] } }));
      for (let at = 0; at < all.length; at += 2000) await db.bulkCreate('story', all.slice(at, at + 2000));
      const [found, other] = await Promise.all([db.find('story', { orderBy: [{ field: 'id' }] }), db.find('story', { where: { id: { $lt: 3 } } })]);
      const [live] = await new Promise((resolve) => db.liveQuery('story', { orderBy: [{ field: 'id' }] }).subscribe(({ rows }) => resolve([rows])));
      return [found.length, found.every(({ id, title, notes }, at) => JSON.stringify([id, title, notes]) === JSON.stringify([all[at].id, all[at].title, all[at].notes])),
        other.length, found.every((row, at) => row === live[at] && Object.isFrozen(row.notes.list))];
    }), [6000, true, 3, true]);
  });
}

test('a tab that is killed leaves the shared worker to the others, one of which takes over', async (t) => {
  const { openTab, server } = await world(t);
  // The worker is in the process of the tab that asks for it first.
  const [stays, killed] = [await openTab(), await openTab()];
  await open(stays, 'shared', { name: 'other' });
  await open(killed, 'shared');
  await killed.evaluate(async () => {
    await until(() => db.status.leader, 'the lead');
    await db.create('story', { id: 'last', title: 'Last' });
  });
  await open(stays, 'shared');
  assert.equal(await stays.evaluate(() => db.status.leader), false);
  await crash(killed);
  await stays.evaluate(async () => {
    await until(() => db.status.leader, 'the lead');
    await db.create('story', { id: 'next', title: 'Next' });
    await db.sync();
  });
  assert.deepEqual([...(await server.records()).keys()].sort(), ['last', 'next']);
});

test('when the process with the shared worker is killed, the other tabs are told so and open the database again', async (t) => {
  const { openTab } = await world(t);
  const [killed, stays] = [await openTab(), await openTab()];
  for (const tab of [killed, stays]) await open(tab, 'shared');
  await stays.evaluate(async () => {
    await db.create('story', { id: 'kept', title: 'Kept' });
    window.ended = new Promise((resolve) => db.on('error', ({ code }) => resolve(code)));
  });
  await crash(killed);
  assert.deepEqual(await stays.evaluate(async () => {
    const codes = [await ended, await codeOf(db.get('story', 'kept'))];
    await db.close();
    window.db = await openDb({ worker: 'shared' });
    return [...codes, (await db.get('story', 'kept')).title];
  }), ['WASM_FAILED', 'WASM_FAILED', 'Kept']);
});

test('a tab that is closed or goes elsewhere lets go of its driver in the shared worker, after its last write', async (t) => {
  const { openTab } = await world(t);
  const [stays, closes, goes] = [await openTab(), await openTab(), await openTab()];
  for (const tab of [stays, closes, goes]) await open(tab, 'shared');
  await closes.evaluate(() => { void db.create('story', { id: 'closing', title: 'Closing' }); });
  await closes.close();
  await goes.evaluate(() => { void db.create('story', { id: 'going', title: 'Going' }); });
  await goes.goto('about:blank');
  await stays.evaluate(() => until(async () => (await db.get('story', 'closing')) && (await db.get('story', 'going')), 'both writes'));
  // A database that another driver has open cannot be destroyed.
  await stays.evaluate(() => until(async () => (await navigator.locks.query()).held.filter(({ name }) => name.startsWith('objectql-offline-page')).length === 1, 'the other pages are gone'));
  assert.equal(await stays.evaluate(() => codeOf(db.destroy())), 'none');
});

test('a dedicated worker that is ended rejects what waits, and the next opening has another one', async (t) => {
  const { openTab } = await world(t);
  const tab = await openTab();
  await keepWorkers(tab);
  await open(tab, 'dedicated', {});
  const told = await tab.evaluate(async () => {
    await db.create('story', { id: 'kept', title: 'Kept' });
    window.events = [];
    db.on('error', ({ code }) => events.push(code));
    db.on('status', ({ state }) => events.push(state));
    const failures = [];
    db.liveQuery('story').subscribe(() => undefined, ({ code }) => failures.push(code));
    const transaction = await db.beginTransaction();
    // The first keeps the worker busy, so that it answers none before it is ended.
    const waiting = [db.bulkCreate('task', stories(20_000)), db.create('story', { id: 'unknown', title: 'Unknown' }), db.update('story', 'kept', { points: 1 }), db.get('story', 'kept'), db.find('story'), db.sync(), transaction.find('story')].map(codeOf);
    made[0].terminate();
    const codes = await Promise.all(waiting);
    const later = await Promise.all([db.create('story', { title: 'x' }), db.get('story', 'kept'), db.count('story'), transaction.commit(), db.beginTransaction()].map(codeOf));
    await until(() => events.includes('closed'), 'the events');
    const { state } = db.status;
    const next = await openDb({ worker: 'dedicated' });
    const kept = (await next.get('story', 'kept')).title;
    await db.close();
    await next.create('story', { id: 'next', title: 'Next' });
    return { codes, later, failures, state, kept, events: events.filter((event) => event === 'closed' || event === 'WASM_FAILED'), made: made.length };
  });
  assert.deepEqual(told, {
    codes: ['STORAGE_UNKNOWN', 'STORAGE_UNKNOWN', 'STORAGE_UNKNOWN', ...Array.from({ length: 4 }, () => 'WASM_FAILED')],
    later: Array.from({ length: 5 }, () => 'WASM_FAILED'),
    failures: ['WASM_FAILED'],
    state: 'closed',
    kept: 'Kept',
    events: ['closed', 'WASM_FAILED'],
    made: 2,
  });
});

test('a page without Web Locks finds out that its worker was ended because that does not answer', async (t) => {
  const { openTab } = await world(t);
  const tab = await openTab();
  await keepWorkers(tab);
  assert.deepEqual(await tab.evaluate(async () => {
    Object.defineProperty(navigator, 'locks', { value: undefined });
    watchTimers(15_000);
    window.db = await openDb({ worker: 'dedicated' });
    const alive = [];
    for (let times = 0; times < 4; times++) {
      const answered = new Promise((resolve) => made[0].addEventListener('message', resolve, { once: true }));
      elapse();
      await answered;
      alive.push(await codeOf(db.get('story', 'a')));
    }
    made[0].terminate();
    const waiting = [db.get('story', 'a'), db.delete('story', 'a')].map(codeOf);
    for (let times = 0; times < 3; times++) elapse();
    return [alive, await Promise.all(waiting), db.status.state];
  }), [['none', 'none', 'none', 'none'], ['WASM_FAILED', 'STORAGE_UNKNOWN'], 'closed']);
});

test('a dedicated worker keeps what is in memory as long as the page lives; a shared one is not asked to', async (t) => {
  const { openTab } = await world(t);
  const tab = await openTab();
  assert.deepEqual(await tab.evaluate(async () => {
    const first = await openDb({ worker: 'dedicated', storage: 'memory' });
    await first.create('story', { id: 'a', title: 'A' });
    await first.close();
    const second = await openDb({ worker: 'dedicated', storage: 'memory' });
    const { title } = await second.get('story', 'a');
    const { durable } = second.status;
    await second.destroy();
    const third = await openDb({ worker: 'dedicated', storage: 'memory' });
    const module = await WebAssembly.compileStreaming(fetch('/pkg/wasm/objectql_offline_bg.wasm'));
    return [title, durable, await third.count('story'), ...(await Promise.all([{ storage: 'memory' }, { fallback: 'memory' }, { wasm: module }].map((options) => codeOf(openDb({ name: 'other', worker: 'shared', ...options })))))];
  }), ['A', false, 0, 'INVALID_OPTIONS', 'INVALID_OPTIONS', 'INVALID_OPTIONS']);
});

test('in a dedicated worker where IndexedDB cannot be opened, the app is told so, or goes on in memory and sees that it does', async (t) => {
  const { proxy, openTab, server } = await world(t);
  const body = `import '/pkg/dist/worker.js';
    IDBFactory.prototype.open = () => { throw new DOMException('It did not allow mutations.', 'InvalidStateError'); };`;
  proxy.files.set('/without.js', { headers: { 'content-type': 'text/javascript' }, body });
  const tab = await openTab();
  const seen = await tab.evaluate(async () => {
    const options = { worker: 'dedicated', workerUrl: '/without.js' };
    const refused = await codeOf(openDb(options));
    window.db = await openDb({ ...options, fallback: 'memory' });
    await db.create('story', { id: 'a', title: 'In memory' });
    const { durable } = db.status;
    const { kind, durability, pending } = await db.storage();
    await db.sync();
    await db.close();
    return { refused, durable, kind, durability, pending };
  });
  assert.deepEqual(seen, { refused: 'STORAGE_FAILED', durable: false, kind: 'memory', durability: 'none', pending: 1 });
  assert.deepEqual((await server.changesSince()).changes.map(({ recordId }) => recordId), ['a']);
});

test('a tab that is looked at again has its driver in a worker sync', async (t) => {
  const { proxy, openTab } = await world(t);
  const tab = await openTab();
  await open(tab, 'dedicated', { sync: { auto: true, pollIntervalMs: 0 } });
  await tab.evaluate(() => until(() => db.status.lastSyncedAt, 'the first sync'));
  proxy.isDown = true;
  await tab.evaluate(async () => {
    await db.create('story', { id: 'a', title: 'A' });
    await until(() => db.status.state === 'retrying', 'a failure');
  });
  proxy.isDown = false;
  await tab.evaluate(async () => {
    dispatchEvent(new Event('focus'));
    await until(() => db.status.pending === 0, 'it is pushed', 4_000);
  });
});

test('the server rings for a driver in a worker', async (t) => {
  const { proxy, openTab, openDevice } = await world(t, { serverArgs: ['--realtime'] });
  const [one, other] = [await openTab(), await (await openDevice()).openTab()];
  await open(one, 'dedicated', { sync: { auto: true, pollIntervalMs: 0, realtime: true } });
  await open(other, false);
  await one.evaluate(() => until(() => db.status.realtime, 'the socket'));
  await other.evaluate(async () => {
    await db.create('story', { id: 'away', title: 'Away' });
    await db.sync();
  });
  await one.evaluate(() => until(() => db.get('story', 'away'), 'it was rung for'));
  assert.equal(proxy.webSocketCount, 1);
});

test('while 100,000 records are read for the first time, other tasks of the page run, wherever the driver is', async (t) => {
  const { openTab } = await world(t);
  const filler = await openTab();
  await open(filler, false);
  await filler.evaluate(async () => {
    for (let at = 0; at < 100_000; at += 10_000) await db.bulkCreate('story', stories(10_000, at).map((story) => ({ ...story, notes: 'x'.repeat(200) })));
    await db.close();
  });
  await filler.close();
  for (const worker of MODES) {
    const tab = await openTab();
    const { count, between, longest } = await tab.evaluate(async (worker) => {
      let longest = 0;
      new PerformanceObserver((list) => { for (const { duration } of list.getEntries()) longest = Math.max(longest, duration); }).observe({ type: 'longtask' });
      window.db = await openDb({ worker });
      const found = await db.find('story', { where: { points: { $lt: 2000 } } });
      let between = 0;
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => port2.postMessage(++between);
      port2.postMessage(0);
      const all = await db.find('story');
      port1.close();
      return { count: [found.length, all.length], between, longest };
    }, worker);
    assert.deepEqual(count, [2000, 100_000]);
    t.diagnostic(`${worker}: ${between} tasks, the longest of all ${longest} ms`);
    // They are some 30 MiB, of which objects are made a MiB at a time.
    assert.ok(between >= 20, `${worker}: ${between} tasks`);
    await tab.close();
  }
});

for (const worker of KINDS) {
  test(`a ${worker} worker knows whether anybody may be looking at one of its pages`, async (t) => {
    const { proxy, openTab } = await world(t);
    const body = `import '/pkg/dist/worker.js';
      addEventListener('visibilitychange', () => new BroadcastChannel('seen').postMessage(self.visibilityState));`;
    proxy.files.set('/seen.js', { headers: { 'content-type': 'text/javascript' }, body });
    const tabs = [await openTab(), await openTab()];
    await tabs[0].evaluate(() => {
      window.seen = [];
      new BroadcastChannel('seen').onmessage = ({ data }) => seen.push(data);
    });
    for (const tab of worker === 'shared' ? tabs : tabs.slice(0, 1)) await open(tab, worker, { workerUrl: '/seen.js' });
    const turn = (tab, state) => tab.evaluate((state) => {
      Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, state);
    const last = (state) => tabs[0].evaluate((state) => until(() => seen.at(-1) === state, state), state);
    await last('visible');
    await turn(tabs[0], 'hidden');
    if (worker === 'shared') {
      await turn(tabs[1], 'hidden');
      await last('hidden');
      await turn(tabs[1], 'visible');
      await last('visible');
      // A page that is gone looks at nothing.
      await tabs[1].close();
    }
    await last('hidden');
    await turn(tabs[0], 'visible');
    await last('visible');
  });
}

test('a worker whose page is hidden for long lets go of its socket, and has one again when somebody looks', async (t) => {
  const { openTab } = await world(t, { serverArgs: ['--realtime'] });
  const tab = await openTab();
  await open(tab, 'dedicated', { sync: { auto: true, realtime: true } });
  await tab.evaluate(() => until(() => db.status.realtime, 'the socket'));
  const turn = (state) => tab.evaluate((state) => {
    Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, state);
  await turn('hidden');
  // A minute later by its clock, of which the network has it look.
  await tab.workers()[0].evaluate(() => {
    const { now } = performance;
    performance.now = () => now.call(performance) + 61_000;
  });
  await tab.evaluate(() => until(() => (dispatchEvent(new Event('online')), !db.status.realtime), 'the end of the socket'));
  await turn('visible');
  await tab.evaluate(() => until(() => db.status.realtime, 'the socket'));
});
