// `npm run bench`: the driver beside raw IndexedDB and Dexie, in one browser, repeats interleaved; prints medians and their
// ratios, and the two counts that are limits. The driver also keeps its log of mutations, which the others do not.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Browser, Proxy, reload, SyncServer } from '../tests/browser/parts.mjs';
import { Failure, ROOT, runAsScript } from './process.mjs';
import { withRealParts } from './real-parts.mjs';

const PEERS = ['driver', 'raw IndexedDB', 'Dexie'];
const REPEATS = 5;
const REOPENED = { 10_000: 5, 100_000: 3 };
const MOST_TRANSACTIONS = 3;
const MOST_REQUESTS = 20;

await runAsScript(import.meta.url, () => withRealParts((_, folder, closers) => bench(folder, closers)));

async function bench(folder, closers) {
  const server = new SyncServer(folder, writeDefinitions(folder), []);
  closers.push(() => server.kill());
  await server.start();
  const proxy = new Proxy(server);
  closers.push(() => proxy.close());
  await proxy.listen();
  const fileOf = (path) => ({ headers: { 'content-type': 'text/javascript' }, body: readFileSync(join(ROOT, path)) });
  proxy.files.set('/dexie.mjs', fileOf('node_modules/dexie/dist/dexie.mjs'));
  for (const name of ['page.js', 'peers.js']) proxy.files.set(`/bench/${name}`, fileOf(`www/bench/${name}`));
  const browser = await Browser.launch(join(folder, 'profile'), proxy.origin);
  closers.push(() => browser.close());
  const tab = await browser.openTab();
  // Each measurement in a page of its own, so that none inherits another one's garbage.
  const inNewPage = async (name, ...args) => {
    await reload(tab);
    return tab.evaluate(async ([name, args]) => (await import('/bench/page.js'))[name](...args), [name, args]);
  };

  const times = new Map();
  const note = (step, peer, ms) => {
    if (!times.has(step)) times.set(step, Object.fromEntries(PEERS.map((name) => [name, []])));
    times.get(step)[peer].push(ms);
  };
  for (let repeat = 0; repeat <= REPEATS; repeat++) {
    for (const peer of rotated(repeat)) {
      const results = await inNewPage('run', peer);
      // The first is for warming up.
      if (repeat > 0) for (const [step, ms] of Object.entries(results)) note(step, peer, ms);
    }
  }
  for (const [count, repeats] of Object.entries(REOPENED)) {
    for (const peer of PEERS) await inNewPage('fill', peer, `${peer}-${count}`, Number(count));
    for (let repeat = 0; repeat < repeats; repeat++) {
      for (const peer of rotated(repeat)) note(`open with ${Number(count).toLocaleString('en')}`, peer, await inNewPage('reopen', peer, `${peer}-${count}`, Number(count)));
    }
  }
  print(times);

  const lives = await inNewPage('watchWrites');
  console.log(`A write with 0, 1 and 100 live queries: ${[0, 1, 100].map((count) => `${lives[count].toFixed(2)} ms`).join(', ')}.`);
  const transactions = await inNewPage('countTransactions');
  const { requests, ms } = await inNewPage('drain');
  console.log(`1,000 writes made at once: ${transactions} transactions (at most ${MOST_TRANSACTIONS}).`);
  console.log(`1,000 queued mutations: ${requests} requests (at most ${MOST_REQUESTS}), ${ms.toFixed(0)} ms to the local server (below 1,000).`);
  if (transactions > MOST_TRANSACTIONS || requests > MOST_REQUESTS) throw new Failure('a count is above its limit');
}

function writeDefinitions(folder) {
  const objects = join(folder, 'objects');
  mkdirSync(objects);
  writeFileSync(join(objects, 'record.object.yml'), 'sync: { enabled: true }\n');
  return objects;
}

function rotated(by) {
  return PEERS.map((_, at) => PEERS[(at + by) % PEERS.length]);
}

function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)];
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
