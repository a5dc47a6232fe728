// `npm run bench`: the driver beside raw IndexedDB and Dexie, in one browser, repeats interleaved; prints medians and their
// ratios, and the two counts that are limits. The driver also keeps its log of mutations, which the others do not.
// `npm run bench -- --records 1000000` opens a database of so many records that are not synced, and nothing else.
// `npm run bench -- --record` measures what `npm test` compares, and writes it to bench/ratios.json (scripts/ratios.mjs).
import { median } from '../bench/summary.mjs';
import { measure, openBenchPage } from './bench-page.mjs';
import { Failure, runAsScript } from './process.mjs';
import { recordRatios } from './ratios.mjs';
import { withRealParts } from './real-parts.mjs';

const PEERS = ['driver', 'raw IndexedDB', 'Dexie'];
const REPEATS = 5;
/** How many records, and how often. */
const REOPENED = [[10_000, 5], [100_000, 3]];
const MOST_TRANSACTIONS = 3;
const MOST_REQUESTS = 20;

await runAsScript(import.meta.url, async ([option, value]) => {
  const tasks = { undefined: bench, '--record': recordRatios, '--records': (...parts) => openLarge(Number(value), ...parts) };
  if (!Object.hasOwn(tasks, option)) throw new Failure(`there is no option ${option}: take --record, --records N or none`);
  if (option === '--records' && !(Number(value) > 0)) throw new Failure('--records wants to know how many');
  await withRealParts((_, folder, closers) => tasks[option](folder, closers));
});

async function openLarge(count, folder, closers) {
  const { inNewPage } = await openBenchPage(folder, closers);
  await inNewPage('fill', 'local', 'bench-large', count);
  await inNewPage('letCompact', 'bench-large');
  const opened = [];
  for (let repeat = 0; repeat < REPEATS; repeat++) opened.push(await inNewPage('beginAgain', 'bench-large', count));
  const ms = (step) => `${median(opened.map((each) => each[step])).toFixed(0)} ms`;
  console.log(`${count.toLocaleString('en')} records: the first get after ${ms('get')}, the first query after ${ms('query')} (medians of ${REPEATS}).`);
}

async function bench(folder, closers) {
  const { inNewPage, openTab } = await openBenchPage(folder, closers);
  print(await measure(inNewPage, { workload: 'run', peers: PEERS, repeats: REPEATS, reopened: REOPENED }));

  const lives = await inNewPage('watchWrites');
  console.log(`A write with 0, 1 and 100 live queries: ${[0, 1, 100].map((count) => `${lives[count].toFixed(2)} ms`).join(', ')}.`);
  await writeInTabs(openTab);
  const transactions = await inNewPage('countTransactions');
  const { requests, ms } = await inNewPage('drain');
  console.log(`1,000 writes made at once: ${transactions} transactions (at most ${MOST_TRANSACTIONS}).`);
  console.log(`1,000 queued mutations: ${requests} requests (at most ${MOST_REQUESTS}), ${ms.toFixed(0)} ms to the local server (below 1,000).`);
  if (transactions > MOST_TRANSACTIONS || requests > MOST_REQUESTS) throw new Failure('a count is above its limit');
}

/** What a write costs alone and beside seven other tabs, and when one of those sees it. */
async function writeInTabs(openTab) {
  const tabs = [];
  const costs = [];
  let writes;
  for (const count of [1, 8]) {
    while (tabs.length < count) {
      const tab = await openTab();
      await tab('join', 'bench-tabs');
      tabs.push(tab);
    }
    // The first are for warming up.
    await tabs[0]('writeBesideOthers', count * 1_000);
    writes = await tabs[0]('writeBesideOthers', count * 1_000 + 500);
    costs.push(median(writes.map(({ ms }) => ms)));
  }
  const seen = await tabs[1]('whenSeen', writes.map(({ id }) => id));
  const delay = median(writes.map(({ id, at }) => seen[id] - at));
  console.log(`A write with one tab open and with eight: ${costs.map((ms) => `${ms.toFixed(2)} ms`).join(', ')}; another tab sees it ${delay.toFixed(2)} ms after it is durable.`);
}

/** The medians, and how the driver's compare with the others'. */
function print(times) {
  const [driver, ...others] = PEERS;
  console.log(['median, in ms'.padEnd(48), ...PEERS.map((peer) => peer.padStart(15)), ...others.map((peer) => `vs ${peer}`.padStart(18))].join(''));
  for (const [step, byPeer] of times) {
    const ms = Object.fromEntries(PEERS.map((peer) => [peer, median(byPeer[peer])]));
    const ratios = others.map((peer) => {
      const ratio = ms[peer] / ms[driver];
      return (ratio >= 1 ? `${ratio.toFixed(1)}x faster` : `${(1 / ratio).toFixed(1)}x slower`).padStart(18);
    });
    console.log([step.padEnd(48), ...PEERS.map((peer) => ms[peer].toFixed(2).padStart(15)), ...ratios].join(''));
  }
}
