// Workloads 14 and 15, of peers with a server of their own (`sync: true` in peers.mjs): the page and the endpoint come from the
// server's process, each measurement of a push from a new one. Needs OBJECTQL_SYNC_SERVER, which `npm run bench:peers` sets.
import fs from 'node:fs';
import path from 'node:path';
import { newFolder, removeFolder, SyncServer } from '../tests/browser/parts.mjs';
import { PAGE } from './harness/server.mjs';

const DRAINED = { drain1k: 1_000, drain10k: 10_000 };

/** Pushes 1,000 and 10,000 queued mutations, and pulls `big` records into an empty client; gives each sample to `push`. */
export async function measureSync({ context, peer, repeats, big, push, log }) {
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (const [metric, n] of Object.entries(DRAINED)) {
      await withServer(context, peer, async (page) => note(push, metric, await call(page, 'drain', { name: 'drain', n, seed: 100 + repeat })));
    }
    log('sync: drained', repeat);
  }
  await withServer(context, peer, async (page) => {
    await call(page, 'fillServer', { n: big });
    log('sync: the server has', big);
    for (let repeat = 0; repeat < repeats; repeat++) {
      await page.reload();
      await page.waitForFunction(() => window.bench);
      note(push, 'pull100k', await call(page, 'pull', { name: `pull-${repeat}`, n: big }));
    }
  });
}

function note(push, metric, { ms, requests, bytes }) {
  push(metric, ms);
  push(`${metric}Requests`, requests);
  push(`${metric}Bytes`, bytes);
}

const call = (page, workload, options) => page.evaluate(([workload, options]) => window.bench[workload](options), [workload, options]);

/** Runs `task` with a page of a server that has nothing yet. */
async function withServer(context, peer, task) {
  const folder = newFolder();
  const objects = path.join(folder, 'objects');
  const site = path.join(folder, 'site');
  fs.mkdirSync(objects);
  fs.writeFileSync(path.join(objects, 'task.object.yml'), 'sync: { enabled: true }\n');
  fs.cpSync(new URL(`./dist/${peer}`, import.meta.url).pathname, site, { recursive: true });
  fs.writeFileSync(path.join(site, 'index.html'), PAGE);
  const server = new SyncServer(folder, objects, ['--static', site]);
  const page = await context.newPage();
  try {
    await server.start();
    await page.goto(`http://127.0.0.1:${server.port}/`);
    await page.waitForFunction(() => window.bench, null, { timeout: 30_000 });
    await task(page);
  } finally {
    await page.close().catch(() => {});
    await server.kill();
    removeFolder(folder);
  }
}
