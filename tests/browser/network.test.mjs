// What a network does to requests and answers: lost, late, cut, garbled, refused. Nothing is lost, nothing is applied twice.
import assert from 'node:assert/strict';
import { altered, elsewhere, held, isPlain, test, until, world } from './harness.mjs';

/** Long enough for every request that is answered; those that are not are told by the test that it is over. */
const TIMEOUT_MS = 20_000;

/** A world with the database open in a tab, and the server's checkpoint before anything was written. */
async function start(t, options) {
  const all = await world(t);
  const tab = await all.openTab();
  await tab.evaluate(async (options) => { window.db = await openDb(options); }, options);
  const { checkpoint } = await all.server.changesSince();
  const changes = async () => (await all.server.changesSince(checkpoint)).changes;
  return { ...all, tab, changes };
}

const sync = (tab) => tab.evaluate(() => db.sync());
const failureOfSync = (tab) => tab.evaluate(() => codeOf(db.sync()));
const isDrained = (tab) => tab.evaluate(() => db.status.pending === 0);
const idsOf = (mutations) => mutations.map(({ id }) => id);

test('a push whose answer is lost is sent again as it was and applied once', async (t) => {
  const { tab, proxy, changes } = await start(t);
  await tab.evaluate(async () => {
    await db.create('story', { id: 'a', title: 'Once' });
    await db.update('story', 'a', { points: 1 });
    await db.delete('story', (await db.create('story', { id: 'b', title: 'Gone' })).id);
  });
  proxy.faults.push(async (_request, forward) => void (await forward()));
  assert.equal(await failureOfSync(tab), 'NETWORK');
  assert.deepEqual((await changes()).map(({ operation }) => operation), ['create', 'update', 'create', 'delete'], 'the server had applied it');
  await sync(tab);
  assert.ok(await isDrained(tab));
  assert.equal((await changes()).length, 4);
  const [first, second] = proxy.batches;
  assert.deepEqual(second, first);
});

test('a push that does not arrive is sent again as it was', async (t) => {
  const { tab, proxy, changes } = await start(t);
  await tab.evaluate(() => db.create('story', { id: 'a', title: 'Lost at first' }));
  proxy.faults.push(() => undefined);
  assert.equal(await failureOfSync(tab), 'NETWORK');
  assert.deepEqual(await changes(), []);
  await sync(tab);
  assert.equal((await changes()).length, 1);
  assert.deepEqual(proxy.batches[1], proxy.batches[0]);
});

test('a push whose answer is lost is applied once all the same', async (t) => {
  const { tab, proxy, changes, server } = await start(t);
  await tab.evaluate(async () => {
    await db.create('story', { id: 'a', title: 'Once' });
    await db.create('story', { id: 'b', title: 'Gone' });
    await db.sync();
    await db.update('story', 'a', { points: 1 });
    await db.delete('story', 'b');
    await db.create('story', { id: 'c', title: 'New' });
  });
  proxy.faults.push(async (_request, forward) => void (await forward()));
  assert.equal(await failureOfSync(tab), 'NETWORK');
  assert.equal((await changes()).length, 5, 'the server had applied it');
  await sync(tab);
  assert.ok(await isDrained(tab));
  assert.equal((await changes()).length, 5);
  assert.deepEqual([...(await server.records()).values()], await tab.evaluate(() => db.find('story')));
  assert.deepEqual(await tab.evaluate(async () => [await db.conflicts(), await db.rejected()]), [[], []]);
});

test('a server whose headers are lost on the way is trusted with nothing, and nothing is applied twice', async (t) => {
  const { tab, proxy, ledger } = await start(t);
  const withoutHeaders = async (forward) => {
    const answer = await forward();
    return { ...answer, headers: Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !name.startsWith('objectql-sync-'))) };
  };
  proxy.rule = (_request, forward) => withoutHeaders(forward);
  await tab.evaluate(async () => {
    await write('create', 'a');
    await write('create', 'b');
    await db.sync();
    await write('update', 'a', { points: 1 });
    await write('update', 'a', { points: 2 });
    await write('delete', 'b');
  });
  proxy.faults.push(async (_request, forward) => void (await forward()));
  assert.equal(await failureOfSync(tab), 'NETWORK');
  const { rejected, conflicts } = await ledger.settle(tab);
  assert.deepEqual([rejected, conflicts], [[], []]);
});

test('a push that does not arrive is applied once it does', async (t) => {
  const { tab, proxy, changes } = await start(t);
  await tab.evaluate(() => db.create('story', { id: 'a', title: 'Lost at first' }));
  proxy.faults.push(() => undefined);
  assert.equal(await failureOfSync(tab), 'NETWORK');
  await sync(tab);
  assert.equal((await changes()).length, 1);
  assert.ok(await isDrained(tab));
});

test('an answer that breaks off in the middle changes nothing', async (t) => {
  const { tab, proxy, server, changes } = await start(t);
  await server.post({ ...elsewhere('theirs'), lastCheckpoint: null });
  await tab.evaluate(() => db.create('story', { id: 'mine', title: 'Mine' }));
  proxy.faults.push(async (_request, forward) => ({ ...(await forward()), isCut: true }));
  assert.equal(await failureOfSync(tab), 'NETWORK');
  assert.deepEqual(await tab.evaluate(async () => (await db.find('story')).map(({ id }) => id)), ['mine']);
  assert.equal(await tab.evaluate(() => db.status.pending), 1);
  await sync(tab);
  assert.deepEqual(await tab.evaluate(async () => (await db.find('story')).map(({ id }) => id).sort()), ['mine', 'theirs']);
  assert.equal((await changes()).length, 2);
});

test('edits made while an answer is awaited are kept and pushed afterwards', async (t) => {
  const { tab, proxy, server, changes } = await start(t);
  await tab.evaluate(() => db.create('story', { id: 'a', title: 'First' }));
  const { fault, answered, release } = held();
  proxy.faults.push(fault);
  await tab.evaluate(() => { window.syncing = db.sync(); });
  await answered;
  await tab.evaluate(async () => {
    await db.update('story', 'a', { title: 'Second' });
    await db.update('story', 'a', { points: 2 });
    await db.create('story', { id: 'b', title: 'New' });
  });
  release();
  await tab.evaluate(() => syncing);
  assert.deepEqual(await tab.evaluate(async () => (await db.find('story')).map(({ title, points }) => [title, points])), [['Second', 2], ['New', undefined]]);
  await sync(tab);
  const records = await server.records();
  assert.deepEqual([...records.values()], await tab.evaluate(() => db.find('story')));
  const made = (await changes()).map(({ recordId, operation }) => [recordId, operation]);
  const inOrder = [['a', 'create'], ['a', 'update'], ['a', 'update'], ['b', 'create']];
  // A server that takes one mutation of a record at a time gets the second update after the other record's create.
  assert.deepEqual(isPlain ? made.toSorted() : made, inOrder);
  assert.equal(new Set(proxy.batches.flat().map(({ id }) => id)).size, 4);
});

test('a record deleted while its create is on the way is deleted at the server too', async (t) => {
  const { tab, proxy, server } = await start(t);
  await tab.evaluate(() => db.create('story', { id: 'a', title: 'Short-lived' }));
  const { fault, answered, release } = held();
  proxy.faults.push(fault);
  await tab.evaluate(() => { window.syncing = db.sync(); });
  await answered;
  await tab.evaluate(() => db.delete('story', 'a'));
  release();
  await tab.evaluate(async () => (await syncing, await db.sync()));
  assert.deepEqual(await tab.evaluate(() => db.find('story')), []);
  assert.equal((await server.records()).size, 0);
});

test('a server that does not answer in time is asked again, and applies once', async (t) => {
  const { tab, proxy, changes } = await start(t, { sync: { timeoutMs: TIMEOUT_MS } });
  await tab.evaluate((ms) => (watchTimers(ms), db.create('story', { id: 'a', title: 'Patient' })), TIMEOUT_MS);
  const { fault, answered, release } = held();
  proxy.faults.push(fault);
  const failure = failureOfSync(tab);
  await answered;
  await tab.evaluate(() => elapse());
  assert.equal(await failure, 'TIMEOUT');
  release();
  await sync(tab);
  assert.ok(await isDrained(tab));
  assert.equal((await changes()).length, 1);
});

test('a server that is killed in the middle of a drain gets the rest after its restart, and all of it once', async (t) => {
  const { tab, proxy, server, changes } = await start(t);
  await tab.evaluate(() => db.bulkCreate('story', stories(300)));
  const pass = (_request, forward) => forward();
  proxy.faults.push(pass, pass, async (_request, forward) => {
    const answer = forward().catch(() => undefined);
    await server.kill();
    await answer;
    return undefined;
  });
  assert.equal(await failureOfSync(tab), 'NETWORK');
  assert.equal(await failureOfSync(tab), 'NETWORK', 'as long as it is dead');
  await server.start();
  const report = await sync(tab);
  assert.ok(report.applied >= 150, `${report.applied} were left`);
  const created = await changes();
  assert.equal(created.length, 300);
  assert.equal(new Set(created.map(({ recordId }) => recordId)).size, 300);
  assert.deepEqual(created.map(({ data }) => data.points), Array.from({ length: 300 }, (_, at) => at), 'in the order in which they were made');
  assert.ok(await isDrained(tab));
});

test('an answer that is none changes nothing, and the next good one drains', async (t) => {
  const { tab, proxy, server, ledger, changes } = await start(t);
  await server.post({ ...elsewhere('theirs'), lastCheckpoint: null });
  proxy.files.set('/login', { body: '<!doctype html><title>Log in</title>' });
  proxy.files.set('/answer.json', { headers: { 'content-type': 'application/json' }, body: '{"results":[],"serverChanges":[],"checkpoint":"x"}' });
  const withResults = (change) => altered((answer) => ({ ...answer, results: change(answer.results) }));
  const withBody = (body, rest) => () => ({ body, ...rest });
  const cases = {
    'HTML with status 200': ['INVALID_ANSWER', withBody('<!doctype html><p>Welcome to the hotel', { headers: { 'content-type': 'text/html' } })],
    'HTML that says it is JSON': ['INVALID_ANSWER', withBody('<!doctype html><p>Welcome to the hotel')],
    'JSON that says it is HTML': ['INVALID_ANSWER', async (_request, forward) => { const answer = await forward(); return { ...answer, headers: { 'content-type': 'text/html' } }; }],
    'truncated JSON': ['INVALID_ANSWER', async (_request, forward) => { const { body } = await forward(); return { body: body.subarray(0, body.length - 20) }; }],
    'nothing': ['INVALID_ANSWER', withBody('')],
    'null': ['INVALID_ANSWER', withBody('null')],
    'a list': ['INVALID_ANSWER', withBody('[]')],
    'an object without anything': ['INVALID_ANSWER', withBody('{}')],
    'bytes that are no UTF-8': ['INVALID_ANSWER', withBody(Buffer.from([0x7b, 0xff, 0xfe, 0x7d]))],
    'a result too few': ['INVALID_ANSWER', withResults((results) => results.slice(1))],
    'a result too many': ['INVALID_ANSWER', withResults((results) => [...results, results[0]])],
    'an unknown verdict': ['INVALID_ANSWER', withResults((results) => results.map(() => ({ status: 'perhaps' })))],
    'a verdict without its version': ['INVALID_ANSWER', withResults((results) => results.map(() => ({ status: 'applied' })))],
    'a version that is text': ['INVALID_ANSWER', withResults((results) => results.map(() => ({ status: 'applied', serverVersion: '7' })))],
    'no checkpoint': ['INVALID_ANSWER', altered(({ checkpoint: _, ...rest }) => rest)],
    'no changes': ['INVALID_ANSWER', altered(({ serverChanges: _, ...rest }) => rest)],
    'a change that is no object': ['INVALID_ANSWER', altered((answer) => ({ ...answer, serverChanges: [...answer.serverChanges, 7] }))],
    'a change without an id': ['INVALID_ANSWER', altered((answer) => ({ ...answer, serverChanges: answer.serverChanges.map(({ recordId: _, ...rest }) => rest) }))],
    'status 204': ['HTTP_STATUS', () => ({ status: 204 })],
    'status 500': ['HTTP_STATUS', withBody('{"title":"Internal Server Error"}', { status: 500 })],
    'status 404 with HTML': ['HTTP_STATUS', withBody('<h1>Not Found</h1>', { status: 404, headers: { 'content-type': 'text/html' } })],
    'a redirect to a page': ['INVALID_ANSWER', () => ({ status: 302, headers: { location: '/login' } })],
    'a redirect to JSON': ['INVALID_ANSWER', () => ({ status: 303, headers: { location: '/answer.json' } })],
  };
  const whatIsThere = () => tab.evaluate(async () => JSON.stringify([await db.find('story'), (await db.pendingMutations()).map(({ state: _, ...rest }) => rest), db.status.conflicts, db.status.rejected]));
  for (const [name, [code, fault]] of Object.entries(cases)) {
    await t.test(name, async () => {
      await tab.evaluate((name) => Promise.all([1, 2, 3].map((at) => write('create', `${name} ${at}`))), name);
      const before = await whatIsThere();
      proxy.faults.push(fault);
      proxy.requests.length = 0;
      assert.equal(await failureOfSync(tab), code);
      assert.equal(await whatIsThere(), before);
      await ledger.settle(tab);
      if (!isPlain) assert.deepEqual(proxy.batches[1], proxy.batches[0], 'the same batch again');
    });
  }
  assert.deepEqual((await changes()).filter(({ recordId }) => recordId === 'theirs').length, 1);
  assert.ok(await tab.evaluate(() => db.get('story', 'theirs')));
});

test('a change that reaches us in a good answer with what we do not know is taken', async (t) => {
  const { tab, proxy } = await start(t);
  await tab.evaluate(() => db.create('story', { id: 'a', title: 'A' }));
  proxy.faults.push(altered((answer) => ({ ...answer, motd: 'hello', results: answer.results.map((result) => ({ ...result, extra: { deep: [1] } })) })));
  await sync(tab);
  assert.ok(await isDrained(tab));
});

test('what was written offline is pushed by itself when the browser is online again', async (t) => {
  const { tab, proxy, server } = await start(t);
  // The server says not to come back for ten minutes: no timer of the driver's gets in the way of the event.
  proxy.rule = () => ({ status: 503, headers: { 'retry-after': '600' } });
  await tab.evaluate(async () => {
    await db.close();
    window.db = await openDb({ sync: { auto: true } });
    await db.create('story', { id: 'a', title: 'From the tunnel' });
    await until(() => db.status.state === 'retrying' && Date.parse(db.status.retryAt) > Date.now() + 500_000, 'the server is avoided');
  });
  proxy.rule = (_request, forward) => forward();
  const session = await tab.context().newCDPSession(tab);
  const conditions = { latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
  await session.send('Network.enable');
  await session.send('Network.emulateNetworkConditions', { ...conditions, offline: true });
  await tab.evaluate(() => until(() => !navigator.onLine, 'the browser is offline'));
  await session.send('Network.emulateNetworkConditions', { ...conditions, offline: false });
  await tab.evaluate(() => until(() => db.status.pending === 0, 'drained'));
  assert.ok((await server.records()).has('a'));
  await tab.evaluate(() => until(() => db.status.state === 'idle', 'the end of the sync'));
});

test('being online again counts also right after a sync that went well', async (t) => {
  const { tab, proxy, server } = await start(t, { sync: { auto: true } });
  proxy.rule = () => ({ status: 503, headers: { 'retry-after': '600' } });
  await tab.evaluate(async () => {
    await db.create('story', { id: 'a', title: 'A' });
    await until(() => db.status.state === 'retrying', 'the failure is told');
  });
  proxy.rule = (_request, forward) => forward();
  await tab.evaluate(() => (window.dispatchEvent(new Event('online')), until(() => db.status.pending === 0, 'drained', 3_000)));
  assert.ok((await server.records()).has('a'));
});

test('a server that comes back is found without any event', async (t) => {
  const { tab, proxy, server } = await start(t, { sync: { auto: true } });
  proxy.isDown = true;
  await tab.evaluate(async () => {
    await db.create('story', { id: 'a', title: 'Patience' });
    await until(() => db.status.state === 'retrying', 'the failure is told');
    if (db.status.error.code !== 'NETWORK') throw new Error(db.status.error.code);
  });
  proxy.isDown = false;
  await tab.evaluate(() => until(() => db.status.pending === 0, 'drained'));
  assert.ok((await server.records()).has('a'));
});

test('the changes of others are fetched on opening, and then every so often', async (t) => {
  const { tab, server } = await start(t, { sync: { auto: true, pollIntervalMs: 200 } });
  await tab.evaluate(() => until(() => db.status.lastSyncedAt, 'the first sync'));
  await server.post({ ...elsewhere('theirs'), lastCheckpoint: null });
  await tab.evaluate(() => until(() => db.get('story', 'theirs'), 'the poll'));
});

for (const event of ['focus', 'pageshow', 'online', 'visibilitychange']) {
  test(`the changes of others are fetched at ${event}`, async (t) => {
    const { tab, server } = await start(t, { sync: { auto: true, pollIntervalMs: 0 } });
    await tab.evaluate(() => until(() => db.status.lastSyncedAt, 'the first sync'));
    await server.post({ ...elsewhere('theirs'), lastCheckpoint: null });
    await tab.evaluate(async (event) => {
      const target = event === 'visibilitychange' ? document : window;
      // As when a person switches back and forth until they see something: the driver may let one pass that comes at once.
      await until(async () => (target.dispatchEvent(new Event(event)), db.get('story', 'theirs')), 'the change');
    }, event);
  });
}

test('refused credentials are asked for once more, then everything waits, and nothing is dropped', async (t) => {
  const { tab, proxy, server } = await start(t);
  proxy.rule = (_request, forward, { authorization }) => (authorization === 'Bearer good' ? forward() : { status: 401, body: '{}' });
  await tab.evaluate(async () => {
    await db.close();
    window.asked = 0;
    window.token = 'old';
    const headers = async () => (asked++, { authorization: `Bearer ${token}` });
    window.db = await openDb({ sync: { auto: true, headers } });
  });
  await tab.evaluate(async () => {
    await until(() => db.status.state === 'unauthorized', 'the first refusal');
    asked = 0;
    await db.create('story', { id: 'a', title: 'Kept' });
  });
  const before = proxy.requests.length;
  assert.equal(await failureOfSync(tab), 'UNAUTHORIZED');
  assert.equal(proxy.requests.length - before, 2);
  const waiting = await tab.evaluate(() => ({ asked, status: db.status }));
  assert.equal(waiting.asked, 2);
  assert.deepEqual([waiting.status.state, waiting.status.pending, waiting.status.retryAt], ['unauthorized', 1, null]);
  await tab.evaluate(async () => { token = 'good'; await db.sync(); });
  assert.ok((await server.records()).has('a'));
  assert.equal(await tab.evaluate(() => db.status.state), 'idle');
});

test('a token that was renewed when it was asked for again goes unnoticed', async (t) => {
  const { tab, proxy, changes } = await start(t);
  await tab.evaluate(async () => {
    await db.close();
    const tokens = ['old', 'good'];
    window.db = await openDb({ sync: { headers: () => ({ authorization: tokens.length > 1 ? tokens.shift() : tokens[0] }) } });
    await db.create('story', { id: 'a', title: 'A' });
  });
  proxy.rule = (_request, forward, { authorization }) => (authorization === 'good' ? forward() : { status: 401 });
  const report = await sync(tab);
  assert.equal(report.applied, 1);
  assert.equal((await changes()).length, 1);
});

test('a headers callback that fails, or never answers, fails the sync and loses nothing', async (t) => {
  const { tab, changes } = await start(t);
  const codes = await tab.evaluate(async (timeoutMs) => {
    await db.close();
    watchTimers(timeoutMs);
    const never = () => (queueMicrotask(() => elapse()), new Promise(() => {}));
    const answers = [() => { throw new Error('no'); }, () => Promise.reject('no'), () => ({ 'bad name': 'x' }), () => ({ a: 'line\nbreak' }), never];
    window.db = await openDb({ sync: { timeoutMs, headers: () => (answers.shift() ?? (() => ({})))() } });
    await db.create('story', { id: 'a', title: 'A' });
    const codes = [];
    while (answers.length > 0) codes.push(await codeOf(db.sync()));
    await db.sync();
    return codes;
  }, TIMEOUT_MS);
  assert.deepEqual(codes, ['NETWORK', 'NETWORK', 'NETWORK', 'NETWORK', 'TIMEOUT']);
  assert.equal((await changes()).length, 1);
});
