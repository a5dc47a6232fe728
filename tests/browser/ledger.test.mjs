// The account that the fault tests rest on can fail: it finds what a server loses and what it does twice.
import assert from 'node:assert/strict';
import { altered, elsewhere, test, world } from './harness.mjs';

test('the account finds a write that the server only says it has, and one that is there twice', async (t) => {
  const { openTab, proxy, server, ledger } = await world(t);
  const tab = await openTab();
  const noteOf = (id) => tab.evaluate(async (id) => (await db.get('story', id)).notes, id);
  await tab.evaluate(async () => {
    window.db = await openDb();
    await write('create', 'kept');
    await db.sync();
    await write('create', 'claimed');
  });
  const claim = altered((answer) => ({ ...answer, results: [{ status: 'applied', serverVersion: 99 }] }));
  proxy.faults.push((request) => claim(request, async () => {
    const answer = await server.post({ ...request, mutations: [] });
    return { headers: { 'content-type': 'application/json', 'objectql-sync-features': 'idempotent' }, body: JSON.stringify(answer) };
  }));
  await tab.evaluate(() => db.sync());
  const push = elsewhere('again');
  push.mutations[0].data.notes = await noteOf('kept');
  await server.post({ ...push, lastCheckpoint: null });
  await tab.evaluate(() => write('create', 'waiting'));
  const { resolved, lost, doubled, pending } = await ledger.report(tab);
  assert.equal(resolved, 3);
  assert.deepEqual(lost.map(({ recordId }) => recordId), ['claimed']);
  assert.deepEqual(doubled, [[`write ${await noteOf('kept')}`, 2]]);
  assert.deepEqual(pending.map(({ recordId }) => recordId), ['waiting']);
  await assert.rejects(ledger.check(tab));
});
