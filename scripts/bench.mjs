// `npm run bench`: the driver beside raw IndexedDB and Dexie, in one browser, repeats interleaved; prints medians and their
// ratios, and the two counts that are limits. The driver also keeps its log of mutations, which the others do not.
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

await runAsScript(import.meta.url, async ([option]) => {
  if (option !== undefined && option !== '--record') throw new Failure(`there is no option ${option}: take --record or none`);
  const task = option === '--record' ? recordRatios : bench;
  await withRealParts((_, folder, closers) => task(folder, closers));
});

async function bench(folder, closers) {
  const inNewPage = await openBenchPage(folder, closers);
  print(await measure(inNewPage, { workload: 'run', peers: PEERS, repeats: REPEATS, reopened: REOPENED }));

  const lives = await inNewPage('watchWrites');
  console.log(`A write with 0, 1 and 100 live queries: ${[0, 1, 100].map((count) => `${lives[count].toFixed(2)} ms`).join(', ')}.`);
  const transactions = await inNewPage('countTransactions');
  const { requests, ms } = await inNewPage('drain');
  console.log(`1,000 writes made at once: ${transactions} transactions (at most ${MOST_TRANSACTIONS}).`);
  console.log(`1,000 queued mutations: ${requests} requests (at most ${MOST_REQUESTS}), ${ms.toFixed(0)} ms to the local server (below 1,000).`);
  if (transactions > MOST_TRANSACTIONS || requests > MOST_REQUESTS) throw new Failure('a count is above its limit');
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
