// Kills under load, a few of what `npm run faults` does hundreds of: nothing is lost, nothing is applied twice.
import assert from 'node:assert/strict';
import { test, until, world } from './harness.mjs';
import { killBrowser, killServer, openTab, randomFrom } from './rounds.mjs';

const isRight = ({ resolved, lost, doubled }) => {
  assert.ok(resolved > 0);
  assert.deepEqual({ lost, doubled }, { lost: [], doubled: [] });
};

test('a browser that is killed while it writes and syncs loses nothing and doubles nothing', async (t) => {
  const { ledger, openBrowser } = await world(t);
  const browser = await openBrowser();
  const tab = await killBrowser({ browser, ledger, rounds: 3, below: randomFrom(3), onRound: isRight });
  await ledger.settle(tab);
});

test('a server that is killed while it is pushed to loses nothing and doubles nothing', async (t) => {
  const { server, ledger, openBrowser } = await world(t);
  const tab = await openTab(await openBrowser(), ledger);
  await killServer({ server, tab, ledger, rounds: 5, below: randomFrom(5), onRound: isRight });
  await ledger.settle(tab);
});

test('a server that is killed every second while an app writes all the time has all of it in the end, once', async (t) => {
  const { server, ledger, openTab: openTestTab, proxy } = await world(t);
  const tab = await openTestTab();
  await tab.evaluate(async () => {
    window.db = await openDb({ sync: { auto: true } });
    window.writing = true;
    window.written = (async () => {
      for (let at = 0; writing; at++) {
        await write('create', `s${at}`);
        await write('update', `s${at}`, { points: at });
        if (at % 3 === 2) await write('delete', `s${at - 2}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
  });
  for (let kill = 1; kill <= 4; kill++) {
    const requests = proxy.requests.length;
    const second = new Promise((resolve) => setTimeout(resolve, 1_000));
    await until(() => proxy.requests.length > requests, 'a request after the restart');
    await second;
    await server.kill();
    await server.start();
  }
  await tab.evaluate(() => { writing = false; return written; });
  await ledger.settle(tab);
});
