// A browser that was killed in the middle of a write of its own: Chromium leaves half an entry in IndexedDB's journal, passes over it at the
// next start, and at the one after that takes it for damage and deletes everything, unless a new journal was begun in between.
import assert from 'node:assert/strict';
import { appendFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test, world } from './harness.mjs';

/** The head of an entry of 100 bytes: checksum, length, kind. */
const HALF_AN_ENTRY = Buffer.from([1, 2, 3, 4, 100, 0, 1]);

/** Leaves half an entry at the end of the newest journal of a profile. */
function tear(profile) {
  const folder = join(profile, 'Default/IndexedDB');
  const [database] = readdirSync(folder).filter((name) => name.endsWith('.leveldb'));
  const journal = readdirSync(join(folder, database)).filter((name) => name.endsWith('.log')).sort().at(-1);
  appendFileSync(join(folder, database, journal), HALF_AN_ENTRY);
}

test('half an entry in the browser\'s journal costs no write, at the next start and at the one after that', async (t) => {
  const { proxy, ledger, openBrowser } = await world(t);
  const browser = await openBrowser();
  const openTab = async () => {
    const tab = await browser.openTab();
    await ledger.watch(tab);
    await tab.evaluate(async () => { window.db = await openDb(); });
    return tab;
  };
  proxy.isDown = true;
  for (const session of [1, 2, 3]) {
    const tab = await openTab();
    assert.equal(await tab.evaluate(() => db.count('story')), 3 * (session - 1), `session ${session}`);
    await tab.evaluate((session) => Promise.all([1, 2, 3].map((at) => write('create', `${session}-${at}`))), session);
    await browser.kill();
    if (session === 1) tear(browser.profile);
    await browser.start();
  }
  proxy.isDown = false;
  await ledger.settle(await openTab());
});
