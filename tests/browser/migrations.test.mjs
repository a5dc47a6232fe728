// An app is released with later versions of its objects: what a browser has gets their shape, whatever waits for the server too.
import assert from 'node:assert/strict';
import { reload, test, until, world } from './harness.mjs';

/** What a page of any release needs. Stories had an `estimate`; from version 2 on they have `points`, as the server has them. */
async function prepare(tab) {
  await tab.evaluate(() => {
    const field = (type, more) => ({ type, ...more });
    const story = (fields) => ({ name: 'story', fields: { title: field('text'), ...fields }, sync: { enabled: true, debounce_ms: 100 } });
    window.renamed = ({ estimate, ...rest }) => ({ ...rest, ...(estimate !== undefined && { points: estimate }), times: (rest.times ?? 0) + 1 });
    const first = { objects: [story({ estimate: field('number') })] };
    const second = {
      objects: [{ ...story({ points: field('number'), status: field('text', { defaultValue: 'open' }) }), indexes: { points: { fields: ['points'] } } }],
      migrations: { story: { 2: { record: (record) => renamed(record), mutation: ({ data }) => renamed(data) } } },
    };
    window.openRelease = (release, options) => openDb({ ...(release === 1 ? first : second), ...options });
    window.stateOf = async () => ({
      stories: (await db.find('story')).map(({ created_at: _, updated_at: __, ...rest }) => rest),
      pending: (await db.pendingMutations()).map(({ sequence, operation, data: { created_at: _, updated_at: __, ...data } = {} }) => [sequence, operation, data]),
    });
  });
}

/** Loads a page anew, with what it needs. */
async function prepareAnew(tab) {
  await reload(tab);
  await prepare(tab);
}

/** A world with a tab that has stories of the first release: one that the server has, and what is pending. */
async function start(t) {
  const all = await world(t);
  const { proxy } = all;
  const tab = await all.openTab();
  await prepare(tab);
  await tab.evaluate(async () => {
    window.db = await openRelease(1);
    await db.create('story', { id: 'a', title: 'A', estimate: 1 });
    await db.sync();
  });
  proxy.isDown = true;
  await tab.evaluate(async () => {
    await db.update('story', 'a', { estimate: 2 });
    await db.create('story', { id: 'b', title: 'B', estimate: 5 });
    await db.create('story', { id: 'c', title: 'C' });
    await db.delete('story', 'c');
    await codeOf(db.sync());
  });
  return { ...all, tab };
}

/** Opens the second release in a tab; returns what it has. */
const openSecond = (tab, options) => tab.evaluate(async (options) => {
  window.db = await openRelease(2, options);
  return stateOf();
}, options);

const MIGRATED = {
  stories: [
    { id: 'a', title: 'A', points: 2, status: 'open', times: 1 },
    { id: 'b', title: 'B', points: 5, status: 'open', times: 1 },
  ],
  pending: [
    [2, 'update', { points: 2, times: 1 }],
    [3, 'create', { id: 'b', title: 'B', points: 5, status: 'open', times: 1 }],
    [4, 'create', { id: 'c', title: 'C', status: 'open', times: 1 }],
    [5, 'delete', {}],
  ],
};

test('an app that is released with a later version finds everything in the new shape, and pushes it so', async (t) => {
  const { server, proxy, tab } = await start(t);
  await prepareAnew(tab);
  const found = await tab.evaluate(async () => {
    window.db = await openRelease(2);
    const byPoints = (await db.find('story', { where: { points: 5 } })).map(({ id }) => id);
    return { ...(await stateOf()), byPoints, undoable: db.status.undoable, byEstimate: await db.count('story', { estimate: 5 }) };
  });
  assert.deepEqual(found, { ...MIGRATED, byPoints: ['b'], undoable: 0, byEstimate: 0 });
  proxy.isDown = false;
  const sent = proxy.requests.length;
  const { applied } = await tab.evaluate(() => db.sync());
  assert.equal(applied, 4);
  const data = proxy.requests.slice(sent).flatMap(({ mutations }) => mutations.map((mutation) => mutation.data ?? {}));
  assert.ok(data.length >= 4 && data.every((fields) => !('estimate' in fields)), JSON.stringify(data));
  const { points, status, times } = (await server.records()).get('b');
  assert.deepEqual({ points, status, times }, { points: 5, status: 'open', times: 1 });
  // With the next opening there is nothing to do.
  await prepareAnew(tab);
  const again = await tab.evaluate(async () => {
    window.renamed = () => { throw new Error('once'); };
    window.db = await openRelease(2);
    return { ...(await stateOf()), made: (await db.create('story', { title: 'New' })).status };
  });
  assert.deepEqual(again, { ...MIGRATED, pending: [], made: 'open' });
});

for (const worker of ['dedicated', 'shared']) {
  test(`a database whose driver is in a ${worker} worker is migrated by the functions of the page`, async (t) => {
    const { tab } = await start(t);
    await prepareAnew(tab);
    assert.deepEqual(await openSecond(tab, { worker }), MIGRATED);
    assert.equal(await tab.evaluate(async () => (await db.create('story', { title: 'New' })).status), 'open');
  });
}

test('a browser that is killed in the midst of a large migration goes on with it, and no record is changed twice', async (t) => {
  const { openBrowser } = await world(t);
  const browser = await openBrowser();
  const count = 12_000;
  const openTab = async () => {
    const tab = await browser.openTab();
    await tab.evaluate(() => {
      window.changed = 0;
      const record = ({ text, ...rest }) => {
        changed++;
        return { ...rest, body: text, times: (rest.times ?? 0) + 1 };
      };
      const migrations = { note: { 2: { record } } };
      window.openNotes = (options) => objectql.openDatabase({ name: 'notes', objects: [{ name: 'note' }], ...options });
      window.openLater = () => openNotes({ migrations });
    });
    return tab;
  };
  const tab = await openTab();
  await tab.evaluate(async (count) => {
    window.db = await openNotes();
    for (let n = 0; n < count; n += 1_000) await db.bulkCreate('note', Array.from({ length: 1_000 }, (_, at) => ({ id: `${n + at}`, n: n + at, text: 'x'.repeat(200) })));
    await db.close();
  }, count);
  for (const rows of [1, 3, 6]) {
    const tab = await openTab();
    await tab.evaluate(() => {
      // Counts the rows that are durable.
      window.rows = 0;
      watchTransactions((transaction, mode) => { if (mode === 'readwrite') transaction.addEventListener('complete', () => rows++); });
      window.opening = openLater().catch(() => {});
    });
    await tab.waitForFunction((most) => window.rows >= most, rows, { polling: 1 });
    await browser.kill();
    await browser.start();
  }
  const last = await openTab();
  const found = await last.evaluate(async () => {
    const early = await codeOf(openNotes());
    window.db = await openLater();
    const notes = await db.find('note');
    return { early, changed, count: notes.length, once: notes.filter(({ n, times, body, text, id }, at) => n === at && id === `${at}` && times === 1 && body.length === 200 && text === undefined).length };
  });
  assert.ok(found.changed > 0 && found.changed < count, `${found.changed} records were left for the last time`);
  assert.deepEqual(found, { early: 'STORAGE_OUTDATED', changed: found.changed, count, once: count });
});

test('a function that fails leaves everything as it was, and one that is mended goes through it', async (t) => {
  const { tab } = await start(t);
  const before = await tab.evaluate(async () => {
    const state = await stateOf();
    await db.close();
    return state;
  });
  const failures = await tab.evaluate(async () => {
    const broken = {
      throws: ({ id }) => { throw new RangeError(`no ${id}`); },
      nothing: () => {},
      text: () => 'a',
      list: () => [],
      promise: async ({ id }) => { throw new Error(id); },
      nan: (record) => ({ ...record, n: NaN }),
      late: (record) => (record.id === 'b' ? null : record),
    };
    const failures = {};
    for (const [name, record] of Object.entries(broken)) {
      const error = await openRelease(2, { migrations: { story: { 2: { record } } } }).then(() => undefined, (thrown) => thrown);
      failures[name] = { isCoded: error instanceof objectql.ValueError, code: error?.code, message: error?.message, cause: error?.cause?.name };
    }
    return failures;
  });
  for (const [name, { isCoded, code, message }] of Object.entries(failures)) {
    assert.deepEqual({ isCoded, code }, { isCoded: true, code: 'MIGRATION_FAILED' }, name);
    assert.match(message, name === 'late' ? /story to version 2 .*"b"/ : /story to version 2 .*record "a"/, name);
  }
  assert.deepEqual([failures.throws.cause, failures.promise.cause], ['RangeError', 'TypeError']);
  // The release before is not locked out, and nothing has left.
  const again = await tab.evaluate(async () => {
    window.db = await openRelease(1);
    const state = await stateOf();
    await db.close();
    return state;
  });
  assert.deepEqual(again, before);
  assert.deepEqual(await openSecond(tab), MIGRATED);
});

test('a disk that gets full in the midst of a migration stops it with a code, and once there is room it goes on where it was', async (t) => {
  const { openTab, origin } = await world(t);
  const tab = await openTab();
  // Before the database is opened: for half a minute Chromium does not ask again how much room an open one has.
  const session = await tab.context().newCDPSession(tab);
  await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 4_000_000 });
  const count = 4_000;
  const prepareBoth = () => tab.evaluate(() => {
    const story = { name: 'story', fields: { title: { type: 'text' } }, sync: { enabled: true } };
    const letters = (seed, below = randomFrom(seed)) => Array.from({ length: 2_000 }, () => String.fromCharCode(35 + below(56))).join('');
    // Each grows by what Chromium cannot compress.
    const record = ({ times = 0, ...rest }) => ({ ...rest, times: times + 1, text: letters(rest.id) });
    window.openBoth = (release) => openDb({ objects: [story], ...(release === 2 && { migrations: { story: { 2: { record } } } }) });
  });
  await prepareBoth();
  const failed = await tab.evaluate(async (count) => {
    window.db = await openBoth(1);
    await db.bulkCreate('story', Array.from({ length: count }, (_, id) => ({ id, title: 'A' })));
    await db.close();
    // Some of it is written: that is no release's but this one's.
    return [await codeOf(openBoth(2)), await codeOf(openBoth(1))];
  }, count);
  assert.deepEqual(failed, ['QUOTA_EXCEEDED', 'STORAGE_OUTDATED']);
  await session.send('Storage.overrideQuotaForOrigin', { origin });
  await reload(tab);
  await prepareBoth();
  const migrated = await tab.evaluate(async () => {
    window.db = await openBoth(2);
    const stories = await db.find('story');
    return { count: stories.length, once: stories.filter(({ times, text }) => times === 1 && text.length === 2_000).length, pending: db.status.pending };
  });
  assert.deepEqual(migrated, { count, once: count, pending: count });
});

test('a release with a lower version is refused, and deletes nothing', async (t) => {
  const { tab } = await start(t);
  const codes = await tab.evaluate(async () => {
    await db.close();
    window.db = await openRelease(2);
    await db.close();
    return [await codeOf(openRelease(1)), await codeOf(openRelease(1, { fallback: 'memory' }))];
  });
  assert.deepEqual(codes, ['STORAGE_OUTDATED', 'STORAGE_OUTDATED']);
  assert.deepEqual(await openSecond(tab), MIGRATED);
});

test('a tab of the release before stops and says why, and the new one has all that was written', async (t) => {
  const { openTab, tab: old } = await start(t);
  const later = await openTab();
  await prepare(later);
  await old.evaluate(() => {
    window.errors = [];
    db.on('error', ({ code, message }) => errors.push([code, message]));
  });
  assert.deepEqual(await openSecond(later), MIGRATED);
  await until(() => old.evaluate(() => errors.length > 0), 'it says so');
  const [[code, message]] = await old.evaluate(() => errors);
  assert.equal(code, 'STORAGE_OUTDATED');
  assert.match(message, /story.*reload/);
  assert.equal(await old.evaluate(() => codeOf(db.create('story', { title: 'Late' }))), 'STORAGE_OUTDATED');
  assert.deepEqual(await old.evaluate(async () => (await db.find('story')).map(({ id, estimate }) => [id, estimate])), [['a', 2], ['b', 5]], 'reads go on');
  assert.deepEqual(await later.evaluate(() => stateOf()), MIGRATED);
  await prepareAnew(old);
  assert.deepEqual(await openSecond(old), MIGRATED);
});

test('what a tab of the release before writes until it stops is migrated, to the last write', async (t) => {
  const { openTab, tab: old } = await start(t);
  const later = await openTab();
  await prepare(later);
  await old.evaluate(() => {
    window.count = 0;
    window.writing = (async () => {
      for (;;) {
        const code = await codeOf(db.update('story', 'b', { estimate: count + 1 }));
        if (code !== 'none') return code;
        count++;
      }
    })();
  });
  await old.waitForFunction(() => window.count > 20, undefined, { polling: 1 });
  await openSecond(later);
  const [code, count] = await old.evaluate(async () => [await writing, count]);
  assert.equal(code, 'STORAGE_OUTDATED');
  const { stories, pending } = await later.evaluate(() => stateOf());
  assert.deepEqual(stories[1], { id: 'b', title: 'B', points: count, status: 'open', times: stories[1].times });
  assert.equal(pending.length, MIGRATED.pending.length + count);
  assert.ok(pending.every(([, operation, data]) => operation === 'delete' || (data.times === 1 && !('estimate' in data))));
});

test('three tabs of the new release that open at once migrate everything once', async (t) => {
  const { openTab, tab: old } = await start(t);
  await old.close();
  const tabs = [await openTab(), await openTab(), await openTab()];
  await Promise.all(tabs.map(prepare));
  await Promise.all(tabs.map((tab) => openSecond(tab)));
  for (const tab of tabs) assert.deepEqual(await tab.evaluate(() => stateOf()), MIGRATED);
});

test('an encrypted database is migrated, too', async (t) => {
  const { openTab } = await world(t);
  const tab = await openTab();
  await prepare(tab);
  const found = await tab.evaluate(async () => {
    const encryption = { key: await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']) };
    window.db = await openRelease(1, { encryption });
    await db.create('story', { id: 'a', title: 'A', estimate: 1 });
    await db.close();
    window.db = await openRelease(2, { encryption });
    return (await stateOf()).stories;
  });
  assert.deepEqual(found, [{ id: 'a', title: 'A', points: 1, status: 'open', times: 1 }]);
});

test('definitions that change without migrations rebuild indexes and lose nothing that is pending', async (t) => {
  const { server, proxy, openTab } = await world(t);
  const tab = await openTab();
  proxy.isDown = true;
  const open = (objects) => tab.evaluate(async (objects) => {
    await window.db?.close();
    window.db = await openDb({ objects: objects ?? objectsWith() });
    return (await db.pendingMutations()).map(({ objectName, recordId }) => `${objectName} ${recordId}`);
  }, objects);
  await open();
  await tab.evaluate(async () => {
    for (let n = 0; n < 300; n++) await db.create('story', { id: `s${n}`, title: `Story ${n}`, points: n % 3 });
    await db.create('task', { id: 't', title: 'Task' });
  });
  // Tasks are not listed; a field is text now, one is gone, one is new, and there is an index.
  const fields = { title: { type: 'text' }, points: { type: 'text' }, more: { type: 'tags' } };
  const pending = await open([{ name: 'story', fields, indexes: { points: { fields: ['points'] } }, sync: { enabled: true } }]);
  assert.equal(pending.length, 301);
  assert.equal(pending.at(-1), 'task t');
  const { index, count } = await tab.evaluate(async () => {
    const where = { points: 1 };
    return { index: JSON.stringify(await db.explain('story', { where })), count: await db.count('story', where) };
  });
  assert.equal(count, 100);
  assert.match(index, /points/);
  proxy.isDown = false;
  await tab.evaluate(() => db.sync());
  assert.deepEqual(await open(), ['task t']);
  assert.equal((await tab.evaluate(() => db.sync())).applied, 1);
  assert.equal((await server.records('task')).get('t').title, 'Task');
});
