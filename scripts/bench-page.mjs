// A page in a real browser with the real server behind it, for the workloads of www/bench/page.js.
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Browser, Proxy, reload, SyncServer } from '../tests/browser/parts.mjs';
import { ROOT } from './process.mjs';

/**
 * A browser for workloads by their names. `inNewPage` runs one in a page of its own, so that none inherits another one's garbage; `openTab` opens
 * another tab, and gives what runs workloads in that, one after the other.
 */
export async function openBenchPage(folder, closers) {
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
  const openTab = async () => runsIn(await browser.openTab());
  const tab = await browser.openTab();
  const inNewPage = async (...call) => {
    await reload(tab);
    return runsIn(tab)(...call);
  };
  return { inNewPage, openTab };
}

function runsIn(tab) {
  return (workload, ...args) => tab.evaluate(async ([workload, args]) => (await import('/bench/page.js'))[workload](...args), [workload, args]);
}

function writeDefinitions(folder) {
  const objects = join(folder, 'objects');
  mkdirSync(objects);
  writeFileSync(join(objects, 'record.object.yml'), 'sync: { enabled: true }\n');
  return objects;
}

/**
 * The times in ms of each step, by peer: of a workload, and of opening databases of so many records, as `[count, repeats]`. The peers take
 * turns, and each repeat begins with another one.
 */
export async function measure(inNewPage, { workload, peers, repeats, reopened }) {
  const times = new Map();
  const note = (step, peer, ms) => {
    if (!times.has(step)) times.set(step, Object.fromEntries(peers.map((each) => [each, []])));
    times.get(step)[peer].push(ms);
  };
  const inTurn = (repeat) => peers.map((_, at) => peers[(at + repeat) % peers.length]);
  // The first is for warming up.
  for (let repeat = 0; repeat <= repeats; repeat++) {
    for (const peer of inTurn(repeat)) {
      const results = await inNewPage(workload, peer);
      if (repeat > 0) for (const [step, ms] of Object.entries(results)) note(step, peer, ms);
    }
  }
  for (const [count, repeats] of reopened) {
    const step = `open with ${count.toLocaleString('en')}, to the first query`;
    const run = randomUUID();
    const name = (peer) => `${peer}-${count}-${run}`;
    for (const peer of peers) await inNewPage('fill', peer, name(peer), count);
    for (let repeat = 0; repeat < repeats; repeat++) {
      for (const peer of inTurn(repeat)) note(step, peer, await inNewPage('reopen', peer, name(peer), count));
    }
  }
  return times;
}
