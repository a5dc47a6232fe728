// Writes before the wasm is there: on the disk at once, made once and in order by whichever tab opens the database next.
import assert from 'node:assert/strict';
import { test, until, world } from './harness.mjs';

const WASM = '/pkg/wasm/objectql_offline_bg.wasm';

/** A world whose wasm is held back until `release` is called. */
async function start(t) {
  const all = await world(t);
  let release;
  all.proxy.beforeWasm = new Promise((resolve) => { release = resolve; });
  t.after(release);
  return { ...all, release };
}

/** How many rows a database has on the disk, looked at around the driver; none where it is not there. */
const rowsOf = (tab) => tab.evaluate(async () => ((await indexedDB.databases()).some(({ name }) => name === 'test') ? countRows() : 0));
const whenThere = (tab, count) => until(async () => (await rowsOf(tab)) >= count, `${count} rows on the disk`);

test('a write is on the disk before the wasm is there, and made when it is', async (t) => {
  const { openTab, server, release } = await start(t);
  const tab = await openTab();
  const before = await tab.evaluate(() => {
    window.db = startDb();
    window.created = db.create('story', { id: 'a', title: 'Early' });
    return db.status.state;
  });
  assert.equal(before, 'opening');
  await whenThere(tab, 1);
  release();
  const { created, found, state } = await tab.evaluate(async () => ({ created: await created, found: await db.find('story'), state: db.status.state }));
  assert.deepEqual(found, [created]);
  assert.equal(created.title, 'Early');
  assert.notEqual(state, 'opening');
  await tab.evaluate(() => db.sync());
  assert.deepEqual([...(await server.records()).keys()], ['a']);
});

test('what a killed browser wrote before the wasm was there is made at the next opening, once, and pushed once', async (t) => {
  const { openBrowser, ledger, proxy, server } = await start(t);
  const browser = await openBrowser();
  const first = await browser.openTab();
  await first.evaluate(() => {
    window.db = startDb();
    db.create('story', { title: 'Early' });
    db.create('task', { id: 't', title: 'Early' });
    db.update('task', 't', { title: 'Changed' });
  });
  await whenThere(first, 3);
  await browser.kill();
  proxy.beforeWasm = Promise.resolve();
  await browser.start();
  for (const round of [1, 2]) {
    const tab = await browser.openTab();
    await ledger.watch(tab);
    const titles = await tab.evaluate(async () => {
      window.db = await openDb();
      await db.sync();
      return [...(await db.find('story')), ...(await db.find('task'))].map(({ title }) => title);
    });
    assert.deepEqual(titles, ['Early', 'Changed'], `opening ${round}`);
    await tab.close();
  }
  assert.equal((await server.records()).size, 1);
  assert.equal((await server.records('task')).get('t').title, 'Changed');
  // A server that compares versions only is sent the update again, as the mutation that it is.
  assert.equal(new Set(proxy.batches.flat().map(({ id }) => id)).size, 3);
});

test('two tabs that open at once make what each wrote once', async (t) => {
  const { openTab, server, release } = await start(t);
  const tabs = [await openTab(), await openTab()];
  for (const [at, tab] of tabs.entries()) {
    await tab.evaluate((at) => {
      window.db = startDb();
      window.created = Promise.all([1, 2, 3].map((n) => db.create('story', { title: `${at} ${n}` })));
    }, at);
  }
  // The creates of a task are one row.
  await whenThere(tabs[0], 2);
  release();
  const made = await Promise.all(tabs.map((tab) => tab.evaluate(async () => (await created).map(({ id }) => id))));
  await until(async () => (await tabs[0].evaluate(() => db.count('story'))) === 6, 'all are there');
  const found = await tabs[0].evaluate(async () => (await db.find('story')).map(({ id }) => id));
  assert.deepEqual(found.sort(), made.flat().sort());
  await tabs[0].evaluate(() => db.sync());
  assert.equal((await server.records()).size, 6);
});

test('a tab that is open makes what another one wrote that was closed before it had the wasm', async (t) => {
  const { openTab, proxy } = await world(t);
  const open = await openTab();
  await open.evaluate(async () => { window.db = await openDb(); });
  let release;
  proxy.beforeWasm = new Promise((resolve) => { release = resolve; });
  t.after(() => release());
  const early = await openTab();
  const session = await early.context().newCDPSession(early);
  await session.send('Network.setCacheDisabled', { cacheDisabled: true });
  await early.reload();
  await early.evaluate(() => until(() => window.startDb, 'the page'));
  const before = await rowsOf(early);
  await early.evaluate(() => { startDb().create('story', { id: 'a' }); });
  await whenThere(early, before + 1);
  await early.close();
  await open.evaluate(async () => {
    await db.create('story', { id: 'b' });
    await until(async () => (await db.count('story')) === 2, 'both are there');
  });
  assert.deepEqual(await open.evaluate(async () => (await db.find('story')).map(({ id }) => id).sort()), ['a', 'b']);
});

test('writes take effect in the order of the calls, those that wait for the driver among them', async (t) => {
  const { openTab, release } = await start(t);
  const tab = await openTab();
  await tab.evaluate(() => {
    window.db = startDb();
    window.calls = [
      db.create('story', { id: 'a', points: 0 }),
      db.update('story', 'a', { points: 1 }),
      db.upsert('story', { id: 'a', points: 2 }),
      db.bulkUpdate('story', [{ id: 'a', data: { points: 3 } }]),
      db.updateMany('story', { id: 'a' }, { points: 4 }),
    ];
  });
  await whenThere(tab, 3);
  release();
  const points = await tab.evaluate(async () => {
    await db.opened;
    calls.push(db.update('story', 'a', { points: 5 }));
    await Promise.all(calls);
    return (await db.pendingMutations()).map(({ data }) => data.points);
  });
  assert.deepEqual(points, [0, 1, 2, 3, 4, 5]);
});

test('each promise is kept with what became of its write', async (t) => {
  const { openTab, release } = await start(t);
  const tab = await openTab();
  await tab.evaluate(() => {
    const objects = [{ name: 'story', fields: { title: { type: 'text', unique: true }, points: { type: 'number', defaultValue: 3 } }, sync: { enabled: true } }];
    window.db = startDb({ objects });
    window.errors = [];
    db.on('error', ({ code }) => errors.push(code));
    const value = (promise) => promise.then(({ id, title, points } = {}) => [id, title, points], ({ code }) => code);
    window.outcomes = Promise.all([
      value(db.create('story', { id: 'a', title: 'A' })),
      value(db.create('story', { id: 'b', title: 'A' })),
      value(db.create('story', { id: 'a' })),
      value(db.update('story', 'a', { title: 'B' })),
      value(db.update('story', 'nobody', { title: 'C' })),
      value(db.update('story', 'a', { title: 1n })),
      value(db.create('unknown', {})),
      db.delete('story', 'nobody'),
      db.updateMany('story', {}, { points: 4 }),
    ]);
  });
  await whenThere(tab, 3);
  release();
  assert.deepEqual(await tab.evaluate(() => outcomes), [
    ['a', 'A', 3], 'UNIQUE_VIOLATION', 'ALREADY_EXISTS', ['a', 'B', 3], 'NOT_FOUND', 'INVALID_VALUE', 'UNKNOWN_OBJECT', false, 1,
  ]);
  assert.deepEqual(await tab.evaluate(() => errors), [], 'who waits hears of it');
});

test('what is refused when nobody waits for it any more is told', async (t) => {
  const { openTab, release } = await start(t);
  const early = await openTab();
  await early.evaluate(() => { startDb().update('story', 'nobody', { title: 'New' }); });
  await whenThere(early, 1);
  await early.close();
  release();
  const tab = await openTab();
  const code = await tab.evaluate(() => new Promise((resolve) => {
    window.db = startDb();
    db.on('error', ({ code }) => resolve(code));
  }));
  assert.equal(code, 'NOT_FOUND');
});

test('a write for which there is no room on the disk is refused with a code', async (t) => {
  const { openTab, origin, release } = await start(t);
  const tab = await openTab();
  const session = await tab.context().newCDPSession(tab);
  await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 100_000 });
  await tab.evaluate(() => {
    const below = randomFrom(1);
    const title = Array.from({ length: 250_000 }, () => String.fromCharCode(33 + below(90))).join('');
    window.db = startDb();
    window.code = codeOf(db.create('story', { title }));
  });
  release();
  assert.equal(await tab.evaluate(() => code), 'QUOTA_EXCEEDED');
  assert.equal(await tab.evaluate(() => db.count('story')), 0);
});

test('where the wasm cannot be loaded, everything rejects, and what was written is made at the next opening', async (t) => {
  const { openTab, proxy, release } = await start(t);
  proxy.files.set(WASM, { body: 'no wasm' });
  const tab = await openTab();
  await tab.evaluate(() => {
    window.db = startDb();
    window.codes = Promise.all([db.create('story', { id: 'a' }), db.opened, db.find('story'), db.bulkUpdate('story', [])].map(codeOf));
  });
  await whenThere(tab, 1);
  release();
  const codes = await tab.evaluate(async () => [...(await codes), await codeOf(db.create('story', { id: 'b' })), db.status.state, db.status.error.code]);
  assert.deepEqual(codes, ['STORAGE_UNKNOWN', 'WASM_FAILED', 'WASM_FAILED', 'WASM_FAILED', 'WASM_FAILED', 'closed', 'WASM_FAILED']);
  proxy.files.delete(WASM);
  const found = await tab.evaluate(async () => {
    await db.close();
    window.db = await openDb();
    return (await db.find('story')).map(({ id }) => id);
  });
  assert.deepEqual(found, ['a']);
});

test('where the disk is held up besides, everything rejects all the same, and nothing waits for it', async (t) => {
  const { openTab, proxy, release } = await start(t);
  proxy.files.set(WASM, { body: 'no wasm' });
  const [holder, tab] = [await openTab(), await openTab()];
  await holder.evaluate(() => { window.db = startDb(); db.opened.catch(() => undefined); db.create('story', { id: 'first' }).catch(() => undefined); });
  await whenThere(holder, 1);
  // As a tab does that was frozen in the midst of a transaction.
  await holder.evaluate(() => new Promise((resolve) => {
    indexedDB.open('test').onsuccess = ({ target }) => {
      const log = target.result.transaction('log', 'readwrite').objectStore('log');
      const hold = () => { log.count().onsuccess = () => (window.isFree ? target.result.close() : hold()); };
      hold();
      resolve();
    };
  }));
  await tab.evaluate(() => {
    const { transaction } = IDBDatabase.prototype;
    const isAsked = new Promise((resolve) => {
      IDBDatabase.prototype.transaction = function (...args) {
        if (this.name === 'test') resolve();
        return transaction.apply(this, args);
      };
    });
    window.db = startDb();
    window.codes = Promise.all([db.create('story', { id: 'held' }), db.opened].map(codeOf));
    return isAsked;
  });
  release();
  const codes = await tab.evaluate(async () => [...(await codes), await codeOf(db.close())]);
  assert.deepEqual(codes, ['STORAGE_UNKNOWN', 'WASM_FAILED', 'none']);
  await holder.evaluate(() => { window.isFree = true; });
  proxy.files.delete(WASM);
  const found = await tab.evaluate(async () => {
    window.db = await openDb();
    return (await db.find('story')).map(({ id }) => id);
  });
  assert.deepEqual(found, ['first', 'held'], 'it was made after all');
});

test('nothing is written in plain text where the database is encrypted, with the key or without it', async (t) => {
  const { openTab, proxy } = await world(t);
  const tab = await openTab();
  await tab.evaluate(async () => {
    const db = await openDb({ encryption: { key: 'a passphrase' } });
    await db.create('story', { id: 'a' });
    await db.close();
  });
  // Once everything is sealed that is noted.
  await until(() => tab.evaluate(async () => {
    const wait = (request) => new Promise((resolve) => { request.onsuccess = () => resolve(request.result); });
    const database = await wait(indexedDB.open('test'));
    const sealed = await wait(database.transaction('segments').objectStore('segments').get(-2));
    database.close();
    return sealed !== undefined;
  }), 'all is sealed');
  const rows = await rowsOf(tab);
  const codes = await tab.evaluate(async () => {
    const without = startDb();
    const codes = [await codeOf(without.create('story', { id: 'plain' }))];
    window.db = startDb({ encryption: { key: 'a passphrase' } });
    return [...codes, await codeOf(db.create('story', { id: 'sealed' })), (await db.find('story')).map(({ id }) => id)];
  });
  assert.deepEqual(codes, ['WRONG_KEY', 'none', ['a', 'sealed']]);
  const heads = await tab.evaluate(async () => {
    const wait = (request) => new Promise((resolve) => { request.onsuccess = () => resolve(request.result); });
    const database = await wait(indexedDB.open('test'));
    const values = await wait(database.transaction('log').objectStore('log').getAll());
    database.close();
    return values.map(([first, second]) => String.fromCharCode(first, second));
  });
  // What a leader writes may be among them.
  assert.ok(heads.length > rows && heads.every((head) => head === 'OE'), `${rows} rows before, then ${heads}`);
  assert.equal(proxy.requests.length, 0);
});

for (const worker of ['dedicated', 'shared']) {
  test(`a ${worker} worker makes what its page wrote before it had the wasm`, async (t) => {
    const { openTab, release } = await start(t);
    const tab = await openTab();
    await tab.evaluate((worker) => {
      window.db = startDb({ worker });
      window.created = [db.create('story', { id: 'a' }), db.update('story', 'a', { title: 'Early' })];
    }, worker);
    await whenThere(tab, 2);
    release();
    const [, changed] = await tab.evaluate(() => Promise.all(created));
    assert.equal(changed.title, 'Early');
    assert.equal(await tab.evaluate(() => db.count('story')), 1);
  });
}

test('live queries, reads and events may be asked for before, and are given when it is open', async (t) => {
  const { openTab, release } = await start(t);
  const tab = await openTab();
  await tab.evaluate(() => {
    window.db = startDb();
    window.seen = [];
    db.liveQuery('story', { where: { points: 1 } }).subscribe(({ rows }) => seen.push(rows.length));
    window.states = [];
    db.on('status', ({ state }) => states.push(state));
    window.read = db.get('story', 'nobody');
    db.create('story', { points: 1 });
    window.exported = new Response(db.export()).text();
  });
  await whenThere(tab, 1);
  release();
  await until(() => tab.evaluate(() => seen.at(-1) === 1), 'the live query shows it');
  assert.equal(await tab.evaluate(() => read), undefined);
  assert.equal(await tab.evaluate(async () => JSON.parse((await exported).split('\n')[0]).format), 'objectql-offline');
  assert.ok((await tab.evaluate(() => states)).length > 0);
});

test('a database may be closed or destroyed before it is open', async (t) => {
  const { openTab, release } = await start(t);
  const tab = await openTab();
  await tab.evaluate(() => {
    const first = startDb();
    window.created = codeOf(first.create('story', { id: 'a' }));
    window.closed = first.close();
    window.late = codeOf(first.create('story', { id: 'b' }));
  });
  await whenThere(tab, 1);
  release();
  const found = await tab.evaluate(async () => {
    await closed;
    const outcomes = [await created, await late];
    const opened = await openDb();
    const found = (await opened.find('story')).map(({ id }) => id);
    await opened.close();
    const second = startDb();
    const gone = second.create('story', { id: 'c' }).catch(() => {});
    await second.destroy();
    await gone;
    window.db = await openDb();
    return [outcomes, found, await db.count('story')];
  });
  assert.deepEqual(found, [['none', 'CLOSED'], ['a'], 0]);
});

test('wrong options are refused at once', async (t) => {
  const { openTab } = await world(t);
  const tab = await openTab();
  const code = await tab.evaluate(() => {
    try {
      startDb({ name: '' });
    } catch (error) {
      return error.code;
    }
  });
  assert.equal(code, 'INVALID_OPTIONS');
});
