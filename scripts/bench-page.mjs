// A page in a real browser with the real server behind it, for the workloads of www/bench/page.js.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Browser, Proxy, reload, SyncServer } from '../tests/browser/parts.mjs';
import { ROOT } from './process.mjs';

/** Returns a function that runs a workload by its name, each in a page of its own, so that none inherits another one's garbage. */
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
  const tab = await browser.openTab();
  return async (workload, ...args) => {
    await reload(tab);
    return tab.evaluate(async ([workload, args]) => (await import('/bench/page.js'))[workload](...args), [workload, args]);
  };
}

function writeDefinitions(folder) {
  const objects = join(folder, 'objects');
  mkdirSync(objects);
  writeFileSync(join(objects, 'record.object.yml'), 'sync: { enabled: true }\n');
  return objects;
}

export function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)];
}
