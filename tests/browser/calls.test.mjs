// What an app may do with the driver: wrong arguments, calls from handlers, many at once, opening and closing in any order,
// and the places a page may run it in.
import assert from 'node:assert/strict';
import { held, reload, test, world } from './harness.mjs';

/** A world with the database open in a tab. */
async function start(t, options) {
  const all = await world(t);
  const tab = await all.openTab();
  await tab.evaluate(async (options) => { window.db = await openDb(options); }, options);
  return { ...all, tab };
}

test('wrong input has a code and writes nothing', async (t) => {
  const { tab } = await start(t);
  const { codes, rows, stories } = await tab.evaluate(async () => {
    await db.create('story', { id: 'a', title: 'A' });
    // A tab that begins to lead writes a row of its own.
    await db.sync();
    const rows = await countRows();
    const create = (record) => db.create('story', record);
    const cycle = { title: 'Cycle' };
    cycle.notes = [cycle];
    const nested = (levels) => (levels === 0 ? 1 : [nested(levels - 1)]);
    const calls = {
      loneSurrogate: create({ title: '\ud800' }),
      loneSurrogateName: create({ title: 'A', ['\udc00']: 1 }),
      nul: create({ title: 'a\0b' }),
      notANumber: create({ title: 'A', points: NaN }),
      infinite: create({ title: 'A', notes: [{ deep: -Infinity }] }),
      bigint: create({ title: 'A', points: 1n }),
      function: create({ title: 'A', notes: () => 1 }),
      symbol: create({ title: 'A', notes: Symbol('s') }),
      invalidDate: create({ title: 'A', notes: new Date(NaN) }),
      cycle: create(cycle),
      tooDeep: create({ title: 'A', notes: nested(32) }),
      tooLarge: create({ title: 'x'.repeat(1 << 20) }),
      notARecord: create('story'),
      noRecord: create(undefined),
      list: create([{ title: 'A' }]),
      map: create(new Map([['title', 'A']])),
      emptyId: create({ id: '', title: 'A' }),
      nullId: create({ id: null, title: 'A' }),
      fractionId: create({ id: 1.5, title: 'A' }),
      unsafeId: create({ id: 2 ** 53, title: 'A' }),
      booleanId: create({ id: true, title: 'A' }),
      longId: create({ id: 'x'.repeat(257), title: 'A' }),
      idOfUpdate: db.update('story', '', { points: 1 }),
      idOfDelete: db.delete('story', {}),
      idOfGet: db.get('story', 0.1),
      taken: create({ id: 'a', title: 'A' }),
      missing: db.update('story', 'b', { points: 1 }),
      unknownObject: db.create('nothing', { title: 'A' }),
      prototypeObject: db.create('__proto__', { title: 'A' }),
      oneOfMany: db.bulkCreate('story', [{ title: 'Good' }, { title: NaN }]),
      oneOfManyTaken: db.bulkCreate('story', [{ id: 'new', title: 'Good' }, { id: 'a', title: 'Taken' }]),
      upsertWithoutId: db.upsert('story', { title: 'A' }),
      otherId: db.update('story', 'a', { id: 'b' }),
      operator: db.find('story', { where: { points: { $near: 1 } } }),
      undefinedFilter: db.find('story', { where: { id: undefined } }),
      limit: db.find('story', { limit: -1 }),
      conflict: db.resolveConflict('01890000-0000-7000-8000-000000000000', 'mine'),
      notAnId: db.retry('x'),
    };
    const codes = {};
    for (const [name, call] of Object.entries(calls)) codes[name] = await codeOf(call);
    return { codes, rows: (await countRows()) - rows, stories: (await db.find('story')).length };
  });
  assert.deepEqual(codes, {
    loneSurrogate: 'INVALID_VALUE',
    loneSurrogateName: 'INVALID_VALUE',
    nul: 'INVALID_VALUE',
    notANumber: 'INVALID_VALUE',
    infinite: 'INVALID_VALUE',
    bigint: 'INVALID_VALUE',
    function: 'INVALID_VALUE',
    symbol: 'INVALID_VALUE',
    invalidDate: 'INVALID_VALUE',
    cycle: 'VALUE_TOO_DEEP',
    tooDeep: 'VALUE_TOO_DEEP',
    tooLarge: 'VALUE_TOO_LARGE',
    notARecord: 'INVALID_VALUE',
    noRecord: 'INVALID_VALUE',
    list: 'INVALID_VALUE',
    map: 'INVALID_VALUE',
    emptyId: 'INVALID_ID',
    nullId: 'INVALID_ID',
    fractionId: 'INVALID_ID',
    unsafeId: 'INVALID_ID',
    booleanId: 'INVALID_ID',
    longId: 'INVALID_ID',
    idOfUpdate: 'INVALID_ID',
    idOfDelete: 'INVALID_ID',
    idOfGet: 'INVALID_ID',
    taken: 'ALREADY_EXISTS',
    missing: 'NOT_FOUND',
    unknownObject: 'UNKNOWN_OBJECT',
    prototypeObject: 'UNKNOWN_OBJECT',
    oneOfMany: 'INVALID_VALUE',
    oneOfManyTaken: 'ALREADY_EXISTS',
    upsertWithoutId: 'INVALID_ID',
    otherId: 'INVALID_ID',
    operator: 'INVALID_QUERY',
    undefinedFilter: 'INVALID_QUERY',
    limit: 'INVALID_QUERY',
    conflict: 'UNKNOWN_MUTATION',
    notAnId: 'INVALID_ID',
  });
  assert.deepEqual([rows, stories], [0, 1]);
});

test('values of every kind come back from disk, the server and another device as they were', async (t) => {
  const { tab, server, openDevice } = await start(t);
  const written = await tab.evaluate(async () => {
    const record = JSON.parse('{"title":"\\u00e9 \\ud83d\\ude00 \\u2028 \\"\\\\","points":-0.1,"notes":{"__proto__":{"polluted":true},"constructor":1,"":[],"big":1e300,"small":5e-324,"max":9007199254740991,"nested":[[[]],{}],"null":null,"false":false}}');
    await db.create('story', { id: 'a', ...record });
    await db.create('story', { id: 'b', title: 'Date', notes: new Date(Date.UTC(2026, 0, 2)), points: undefined });
    if ({}.polluted) throw new Error('the prototype was reached');
    return JSON.stringify(await db.find('story'));
  });
  assert.match(written, /"__proto__":\{"polluted":true\}/);
  assert.match(written, /"notes":"2026-01-02T00:00:00.000Z"/);
  await reload(tab);
  const again = await tab.evaluate(async () => {
    window.db = await openDb();
    const text = JSON.stringify(await db.find('story'));
    await db.sync();
    return text;
  });
  assert.equal(again, written);
  assert.deepEqual([...(await server.records()).values()], JSON.parse(written));
  const other = await (await openDevice()).openTab();
  const theirs = await other.evaluate(async () => {
    window.db = await openDb();
    await db.sync();
    return JSON.stringify(await db.find('story'));
  });
  assert.deepEqual(JSON.parse(theirs), JSON.parse(written));
});

test('a handler may call whatever it likes', async (t) => {
  const { tab } = await start(t);
  const seen = await tab.evaluate(async () => {
    const seen = { changes: 0, statuses: 0, codes: [] };
    let left = 5;
    const note = async (promise) => seen.codes.push(await codeOf(promise));
    db.on('change', ({ changes: [{ recordIds }] }) => {
      seen.changes++;
      void db.status;
      note(db.find('story', { where: { id: recordIds[0] } }));
      note(db.count('story'));
      if (left-- > 0) {
        note(db.create('story', { title: 'From a handler' }));
        note(db.update('story', recordIds[0], { points: left }));
        note(db.sync());
        const stop = db.on('change', () => stop());
      }
    });
    db.on('status', () => { seen.statuses++; note(db.pendingMutations()); });
    await db.create('story', { title: 'First' });
    await db.sync();
    await until(() => left < 0 && db.status.pending === 0 && db.status.state === 'idle', 'everything is done');
    return seen;
  });
  assert.deepEqual([...new Set(seen.codes)], ['none']);
  assert.ok(seen.changes >= 6 && seen.statuses > 0, JSON.stringify(seen));
});

test('a handler that throws is reported and disturbs nothing', async (t) => {
  const { tab } = await start(t);
  const reported = await tab.evaluate(async () => {
    const reported = [];
    addEventListener('error', (event) => (event.preventDefault(), reported.push(event.error.message)));
    db.on('change', () => { throw new Error('mine'); });
    await db.create('story', { id: 'a', title: 'A' });
    await db.update('story', 'a', { points: 1 });
    return reported;
  });
  assert.deepEqual(reported, ['mine', 'mine']);
  tab.errors.length = 0;
});

test('a handler may close the database', async (t) => {
  const { tab } = await start(t);
  const codes = await tab.evaluate(async () => {
    let closed;
    db.on('change', () => { closed ??= db.close(); });
    const codes = await Promise.all(stories(5).map((story) => codeOf(db.create('story', story))));
    await closed;
    window.db = await openDb();
    return [...codes, await db.count('story')];
  });
  assert.deepEqual(codes, ['none', 'none', 'none', 'none', 'none', 5]);
});

test('200 mixed calls that overlap all end, in one order that everybody sees', async (t) => {
  const { tab, server } = await start(t);
  const { codes, local } = await tab.evaluate(async () => {
    const below = randomFrom(11);
    const kinds = [
      () => db.create('story', { id: `s${below(30)}`, title: 'Made', points: below(100) }),
      () => db.update('story', `s${below(30)}`, { points: below(100) }),
      () => db.upsert('story', { id: `s${below(30)}`, title: 'Put', points: below(100) }),
      () => db.delete('story', `s${below(30)}`),
      () => db.bulkCreate('task', [{ title: 'One' }, { title: 'Two' }]),
      () => db.get('story', `s${below(30)}`),
      () => db.find('story', { where: { points: { $gt: below(100) } }, orderBy: [{ field: 'points' }], limit: 5 }),
      () => db.count('task'),
      () => db.pendingMutations(),
      () => db.sync(),
    ];
    const calls = [];
    for (let at = 0; at < 200; at++) {
      calls.push(codeOf(kinds[below(kinds.length)]()));
      if (below(10) === 0) await undefined;
      if (below(40) === 0) await calls[below(calls.length)];
    }
    const codes = await Promise.all(calls);
    await db.sync();
    if (db.status.pending !== 0) throw new Error(`${db.status.pending} are left`);
    return { codes: [...new Set(codes)].sort(), local: await db.find('story') };
  });
  assert.deepEqual(codes, ['ALREADY_EXISTS', 'NOT_FOUND', 'none']);
  const byId = (records) => Object.fromEntries([...records].map((record) => [record.id, record]));
  assert.deepEqual(byId((await server.records()).values()), byId(local));
  await reload(tab);
  const again = await tab.evaluate(async () => {
    window.db = await openDb();
    return db.find('story');
  });
  assert.deepEqual(again, local);
});

test('the same name twice is one database in this page', async (t) => {
  const { tab } = await start(t);
  const seen = await tab.evaluate(async () => {
    const { open } = IDBFactory.prototype;
    let opened = 0;
    IDBFactory.prototype.open = function (...args) { return (opened++, open.apply(this, args)); };
    const [two, three] = await Promise.all([openDb(), openDb()]);
    await two.create('story', { id: 'a', title: 'A' });
    const titles = [(await db.get('story', 'a')).title, (await three.get('story', 'a')).title];
    const other = await codeOf(openDb({ sync: { url: '/elsewhere' } }));
    await two.close();
    const codes = [await codeOf(two.find('story')), await codeOf(three.find('story')), await codeOf(db.find('story'))];
    return { opened, titles, other, codes };
  });
  assert.deepEqual(seen, { opened: 0, titles: ['A', 'A'], other: 'INVALID_OPTIONS', codes: ['CLOSED', 'none', 'none'] });
});

test('opening, closing and destroying in any order end well, and what is opened last works', async (t) => {
  const { tab } = await start(t);
  const { codes, names } = await tab.evaluate(async () => {
    const below = randomFrom(5);
    const steps = [];
    for (let step = 0; step < 60; step++) {
      steps.push((async () => {
        const handle = await openDb();
        const codes = [codeOf(handle.create('story', { title: 'A' })), codeOf(handle.find('story'))];
        for (let turns = below(4); turns > 0; turns--) await undefined;
        codes.push(codeOf(below(6) === 0 ? handle.destroy() : handle.close()), codeOf(handle.sync()));
        return Promise.all(codes);
      })());
      if (below(3) === 0) await steps[below(steps.length)];
    }
    const codes = new Set((await Promise.all(steps)).flat());
    await db.close();
    window.db = await openDb();
    await db.create('story', { title: 'Last' });
    await db.destroy();
    return { codes: [...codes].sort(), names: (await indexedDB.databases()).map(({ name }) => name) };
  });
  assert.deepEqual(codes, ['CLOSED', 'none']);
  assert.deepEqual(names, []);
});

test('what is written right before close() is there when the database is opened again', async (t) => {
  const { tab } = await start(t);
  const count = await tab.evaluate(async () => {
    const writing = Promise.all(stories(50).map((story) => db.create('story', story)));
    const closing = db.close();
    await Promise.all([writing, closing]);
    window.db = await openDb();
    return db.count('story');
  });
  assert.equal(count, 50);
});

test('a database that is closed while a request is under way lets go of its connection', async (t) => {
  const { tab, proxy } = await start(t);
  const { fault, answered, release } = held();
  proxy.faults.push(fault);
  await tab.evaluate(async () => {
    await db.create('story', { id: 'a', title: 'A' });
    window.syncing = codeOf(db.sync());
  });
  await answered;
  const code = await tab.evaluate(async () => (await db.close(), syncing));
  assert.equal(code, 'CLOSED');
  release();
  // A connection that is left open would block this.
  const deletion = await tab.evaluate(async () => {
    const request = indexedDB.deleteDatabase('test');
    return new Promise((resolve) => Object.assign(request, { onsuccess: () => resolve('deleted'), onblocked: () => resolve('blocked') }));
  });
  assert.equal(deletion, 'deleted');
});

test('the last write before close() is seen in the other tab', async (t) => {
  const { tab, openTab } = await start(t);
  const other = await openTab();
  await other.evaluate(async () => { window.db = await openDb(); });
  await tab.evaluate(async () => {
    const writing = db.create('story', { id: 'a', title: 'Goodbye' });
    await db.close();
    await writing;
  });
  await other.evaluate(() => until(() => db.get('story', 'a'), 'the other tab sees it', 3_000));
});

test('the memory of the wasm does not grow when a database is opened and closed 50 times', async (t) => {
  const { openTab } = await world(t);
  const tab = await openTab();
  const [early, late] = await tab.evaluate(async () => {
    let memory;
    for (const name of ['instantiate', 'instantiateStreaming']) {
      const { [name]: original } = WebAssembly;
      WebAssembly[name] = async (...args) => {
        const result = await original.apply(WebAssembly, args);
        memory = (result.instance ?? result).exports.memory;
        return result;
      };
    }
    const round = async () => {
      const db = await openDb();
      await db.count('story');
      await db.close();
    };
    const db = await openDb();
    await db.bulkCreate('story', stories(2_000));
    await db.close();
    for (let at = 0; at < 5; at++) await round();
    const early = memory.buffer.byteLength;
    for (let at = 0; at < 50; at++) await round();
    return [early, memory.buffer.byteLength];
  });
  assert.equal(late, early);
});

test('a closed database is garbage, with what it called', async (t) => {
  const { openTab } = await world(t);
  const tab = await openTab();
  const session = await tab.context().newCDPSession(tab);
  await tab.evaluate(() => { window.collected = 0; window.registry = new FinalizationRegistry(() => { window.collected++; }); });
  await tab.evaluate(async () => {
    for (let at = 0; at < 20; at++) {
      // The circle: the driver has the function, which has the handle, which has the driver.
      const db = await openDb({ onConflict: () => db.count('story') });
      registry.register(db);
      await db.count('story');
      await db.close();
    }
  });
  let collected = 0;
  // More than once: a timer of the opening has what it was opened with, for half a second.
  for (const end = Date.now() + 15_000; collected < 19 && Date.now() < end; ) {
    await session.send('HeapProfiler.collectGarbage');
    collected = await tab.evaluate(() => window.collected);
  }
  assert.ok(collected >= 19, `${collected} of 20 closed databases were collected`);
});

test('a page with a strict content security policy can use it', async (t) => {
  const { openTab, proxy } = await world(t);
  const headers = { 'content-security-policy': "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'" };
  proxy.files.set('/strict', { headers: { ...headers, 'content-type': 'text/html' }, body: '<!doctype html><title>strict</title><script type="module" src="/strict.js"></script>' });
  proxy.files.set('/strict.js', {
    body: `import '/page.js';
      addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => { window.violation = violatedDirective + ' ' + blockedURI; });
      window.db = await openDb();
      await db.create('story', { id: 'a', title: 'Strict' });
      await db.sync();
      document.title = 'ready';`,
  });
  const tab = await openTab('/strict');
  assert.deepEqual(await tab.evaluate(async () => [window.violation, db.status.pending, (await db.get('story', 'a')).title]), [undefined, 0, 'Strict']);
});

test('a page whose policy forbids wasm is told so with a code', async (t) => {
  const { openTab, proxy } = await world(t);
  const headers = { 'content-security-policy': "script-src 'self'", 'content-type': 'text/html' };
  proxy.files.set('/none', { headers, body: '<!doctype html><title>none</title><script type="module" src="/none.js"></script>' });
  proxy.files.set('/none.js', { body: `import '/page.js'; window.code = await codeOf(openDb()); document.title = 'ready';` });
  const tab = await openTab('/none');
  assert.equal(await tab.evaluate(() => code), 'WASM_FAILED');
});

test('it works in a worker, and shares the database with the page', async (t) => {
  const { openTab, proxy, server } = await world(t);
  proxy.files.set('/worker.js', {
    headers: { 'content-type': 'text/javascript' },
    body: `import { openDatabase } from '/pkg/dist/index.js';
      onmessage = async ({ data: objects }) => {
        try {
          const db = await openDatabase({ name: 'test', objects, sync: { url: '/api/sync', auto: false } });
          await db.create('story', { id: 'worker', title: 'From a worker' });
          postMessage((await db.find('story')).map(({ id }) => id).sort());
        } catch (error) {
          postMessage(String(error));
        }
      };`,
  });
  const tab = await openTab();
  const seen = await tab.evaluate(async () => {
    window.db = await openDb();
    await db.create('story', { id: 'page', title: 'From the page' });
    const worker = new Worker('/worker.js', { type: 'module' });
    worker.postMessage(objectsWith());
    const seen = await new Promise((resolve, reject) => Object.assign(worker, { onmessage: ({ data }) => resolve(data), onerror: reject }));
    await until(() => db.get('story', 'worker'), 'the page sees it');
    await db.sync();
    return seen;
  });
  assert.deepEqual(seen, ['page', 'worker']);
  assert.deepEqual([...(await server.records()).keys()].sort(), ['page', 'worker']);
});
