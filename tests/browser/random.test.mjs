// Two devices that change the same few records over a bad network, by a seed: once it heals and both have synced, they and the
// server hold equal records, and no write was applied twice. `SEED` repeats one.
import assert from 'node:assert/strict';
import { test, world } from './harness.mjs';
import { randomFrom } from './rounds.mjs';

const SEEDS = process.env.SEED ? [Number(process.env.SEED)] : [1, 2, 3];
const STEPS = 40;
const IDS = ['a', 'b', 'c', 'd'];

/** What may happen to one exchange. */
const FAULTS = {
  'the request is lost': async (exchange) => exchange.reset(),
  'the answer is lost': async (exchange) => {
    await exchange.forward(await exchange.request());
    exchange.reset();
  },
  'the answer is cut': async (exchange) => {
    const answer = await exchange.forward(await exchange.request());
    await exchange.send(answer.subarray(0, answer.length >> 1));
    exchange.end();
  },
  'the server is busy': async (exchange) => {
    await exchange.request();
    await exchange.send(Buffer.from('HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n'));
    exchange.end();
  },
};

for (const seed of SEEDS) {
  for (const strategy of ['last-write-wins', 'crdt']) {
    test(`two devices on a bad network end with equal records under ${strategy}, seed ${seed}`, async (t) => {
      const all = await world(t, { strategy, isWired: true });
      const below = randomFrom(seed);
      const devices = [all, await all.openDevice()];
      const tabs = [];
      for (const { openTab } of devices) {
        const tab = await openTab();
        await tab.evaluate(async (strategy) => { window.db = await openDb({ objects: objectsWith({ strategy }).slice(0, 1) }); }, strategy);
        tabs.push(tab);
      }
      const story = [];
      for (let step = 0; step < STEPS; step++) {
        const at = below(2);
        const [tab, { wire }] = [tabs[at], devices[at]];
        const id = IDS[below(IDS.length)];
        const choice = below(10);
        if (choice < 6) {
          const fields = { [['title', 'status', 'points'][below(3)]]: `${step}` };
          const deletes = below(5) === 0;
          const did = await tab.evaluate(async ([id, fields, deletes]) => {
            const operation = !(await db.get('story', id)) ? 'create' : deletes ? 'delete' : 'update';
            await write(operation, id, fields);
            return operation;
          }, [id, fields, deletes]);
          story.push(`${at} ${did} ${id} ${JSON.stringify(fields)}`);
        } else {
          const [fault, act] = Object.entries(FAULTS)[below(4)];
          if (choice < 9) wire.faults.push(act);
          story.push(`${at} sync${choice < 9 ? `, ${fault}` : ''}: ${await tab.evaluate(() => codeOf(db.sync()))}`);
        }
      }
      for (const { wire } of devices) wire.faults.length = 0;
      for (const _ of [1, 2, 3]) for (const tab of tabs) await tab.evaluate(() => db.sync());
      const byId = (records) => Object.fromEntries([...records].map((record) => [record.id, record]));
      const expected = byId((await all.server.records()).values());
      for (const [at, tab] of tabs.entries()) {
        const what = `device ${at}\n${story.join('\n')}`;
        assert.equal(await tab.evaluate(() => db.status.pending), 0, what);
        assert.deepEqual(byId(await tab.evaluate(() => db.find('story'))), expected, what);
      }
      // What lost against the other device is in no account; that nothing is there twice is.
      const { doubled } = await all.ledger.report(tabs[0]);
      assert.deepEqual(doubled.filter(([key]) => key.startsWith('write')), [], story.join('\n'));
    });
  }
}
