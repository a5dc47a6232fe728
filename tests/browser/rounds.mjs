// Rounds of kills under load: of the browser, and of the server. After each, the account of writes has to be right. A few of
// them are tests; `npm run faults` does hundreds.
import { until } from './parts.mjs';

/** How many writes of a round resolve before the kill: from the first number on, so many different ones. */
const WRITES_BEFORE_KILL = [10, 100];

/**
 * Kills the browser in the middle of writes and syncs, and starts it again on the same profile, so many times. `browser` runs.
 * `onRound` gets the ledger's report of each round, made after the restart, when all is pushed. Returns the last tab.
 */
export async function killBrowser({ browser, ledger, rounds, below, onRound = () => {} }) {
  let tab = await openTab(browser, ledger);
  for (let round = 1; round <= rounds; round++) {
    await tab.evaluate((round) => { window.bursting = burst(`browser-${round}`, Infinity).catch(() => {}); }, round);
    await resolve(ledger, below);
    await browser.kill();
    await browser.start();
    tab = await openTab(browser, ledger);
    await drain(tab);
    onRound(await ledger.report(tab));
  }
  return tab;
}

/** Kills the server in the middle of a drain and starts it again on the same database, so many times. */
export async function killServer({ server, tab, ledger, rounds, below, onRound = () => {} }) {
  for (let round = 1; round <= rounds; round++) {
    await tab.evaluate((round) => { window.bursting = burst(`server-${round}`, 10); }, round);
    await resolve(ledger, below);
    await server.kill();
    await server.start();
    await tab.evaluate(() => bursting);
    await drain(tab);
    onRound(await ledger.report(tab));
  }
}

/** A tab with the database open, which syncs by itself and soon. */
export async function openTab(browser, ledger) {
  const tab = await browser.openTab();
  await ledger.watch(tab);
  await tab.evaluate(async () => { window.db = await openDb({ objects: objectsWith({ debounce_ms: 5 }), sync: { auto: true } }); });
  return tab;
}

async function resolve(ledger, below) {
  const enough = ledger.size + WRITES_BEFORE_KILL[0] + below(WRITES_BEFORE_KILL[1]);
  await until(() => ledger.size >= enough, 'writes that resolve');
}

async function drain(tab) {
  await until(() => tab.evaluate(async () => (await codeOf(db.sync())) === 'none' && db.status.pending === db.status.conflicts), 'everything is pushed', 30_000);
}

/** Numbers below a limit that are the same each time for a seed (mulberry32). */
export function randomFrom(seed) {
  return (limit) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}
