// `npm run load`: two real data sets through the driver in a real browser. A first client imports them while it is offline,
// reloads, and syncs to the real server; a second one, on a fresh profile, pulls everything. Every record must be
// deep-equal at the three places. Prints what each step took; `npm run load -- 5000` takes so many cities.
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Browser, PAGE, processesOf, reload, SyncServer } from '../tests/browser/parts.mjs';
import { assertEqual, assertFromSource, BATCH_SIZE, DEFINITIONS, recordsIn, sets, writeDefinitions } from '../tests/load/sets.mjs';
import { Failure, ROOT, runAsScript } from './process.mjs';
import { withRealParts } from './real-parts.mjs';

/** How many records one `bulkCreate` takes. */
const PORTION = 2_000;
/** The longest task that a pull of all cities, and queries on them, may put on the main thread. */
const LONGEST_TASK_MS = 100;
/** The queries of the second client: what a list, a search and a detail view ask for. */
const QUERIES = {
  'get by id': ['get', 'city', 'city-4711'],
  'equality': ['find', 'city', { where: { country: 'CH' } }],
  'starts with': ['find', 'city', { where: { name: { $startsWith: 'San ' } }, limit: 100 }],
  'top 20 by name': ['find', 'city', { orderBy: [{ field: 'name' }], limit: 20 }],
  'count': ['count', 'city', { country: 'US' }],
};

await runAsScript(import.meta.url, async ([count]) => {
  const cities = count === undefined ? Infinity : Number(count);
  if (!(cities >= 1)) throw new Failure(`${count} is no number of cities`);
  await withRealParts((_, folder, closers) => load(folder, closers, sets(cities)));
});

async function load(folder, closers, sources) {
  const server = new SyncServer(folder, writeDefinitions(folder), ['--max-mutations', String(BATCH_SIZE), '--static', writeSite(folder)]);
  closers.push(() => server.kill());
  await server.start();
  const openClient = async (name) => {
    const profile = join(folder, name);
    const browser = await Browser.launch(profile, `http://127.0.0.1:${server.port}`);
    closers.push(() => browser.close());
    const tab = await browser.openTab();
    await watchTasks(tab);
    return { browser, profile, tab };
  };
  const total = sources.movie.length + sources.city.length;
  console.log(`${sources.movie.length} movies and ${sources.city.length} cities, batches of ${BATCH_SIZE}; rows per second:`);

  const one = await openClient('one');
  await open(one.tab);
  await one.browser.context.setOffline(true);
  let imported = 0;
  for (const [object, records] of Object.entries(sources)) imported += await importInto(one.tab, object, records);
  say('import, offline', total, imported, await longestTask(one.tab));
  await one.browser.context.setOffline(false);
  await reload(one.tab);
  await watchTasks(one.tab);
  say('open again', total, await open(one.tab), await longestTask(one.tab));
  const here = await allIn(one.tab, sources);
  for (const [object, records] of Object.entries(sources)) assertFromSource(here[object], records);
  await longestTask(one.tab);
  const pushed = await timed(one.tab, 'sync');
  say(`push, ${pushed.result.requests} requests`, total, pushed.ms, await longestTask(one.tab));
  if (pushed.result.applied !== total) throw new Failure(`${pushed.result.applied} of ${total} mutations were applied`);

  const two = await openClient('two');
  const opened = await open(two.tab);
  console.log(`  ${'load the wasm and open'.padEnd(30)}${opened.toFixed(0).padStart(9)} ms   longest task ${await longestTask(two.tab)} ms`);
  const pulled = await timed(two.tab, 'sync');
  const pullTask = await longestTask(two.tab);
  say(`pull, ${pulled.result.requests} requests`, total, pulled.ms, pullTask);
  const queryTask = await queries(two.tab);

  const there = await allIn(two.tab, sources);
  for (const object of Object.keys(sources)) {
    assertEqual(await server.records(object), here[object], `${object} on the server`);
    assertEqual(there[object], here[object], `${object} on the second client`);
  }
  console.log('Every record is deep-equal on the first client, the server and the second client, and equals its source.');
  console.log(`Peak memory: ${await memory('first client', one)}, ${await memory('second client', two)}, server ${megabytes(peakOf(server.pid))}.`);
  await queue(await openClient('three'), server);

  const longest = Math.max(pullTask, queryTask);
  if (longest > LONGEST_TASK_MS) throw new Failure(`a task of ${longest} ms held the main thread while cities were pulled and asked for; ${LONGEST_TASK_MS} ms are allowed`);
}

/** What the server serves beside its endpoint: the package and the tests' blank page. */
function writeSite(folder) {
  const site = join(folder, 'site');
  mkdirSync(site);
  for (const part of ['dist', 'wasm']) cpSync(join(ROOT, 'pkg', part), join(site, 'pkg', part), { recursive: true });
  cpSync(join(ROOT, 'tests/browser/page.js'), join(site, 'page.js'));
  writeFileSync(join(site, 'index.html'), PAGE);
  return site;
}

function open(tab, objects = DEFINITIONS) {
  return tab.evaluate(async (objects) => {
    const from = performance.now();
    window.db = await openDb({ objects });
    return performance.now() - from;
  }, objects);
}

/** Creates records in portions, and returns how long the driver took for them. */
async function importInto(tab, object, records) {
  let ms = 0;
  for (let at = 0; at < records.length; at += PORTION) {
    const json = JSON.stringify(records.slice(at, at + PORTION));
    ms += await tab.evaluate(async ([object, json]) => {
      const records = JSON.parse(json);
      const from = performance.now();
      await db.bulkCreate(object, records);
      return performance.now() - from;
    }, [object, json]);
  }
  return ms;
}

function timed(tab, method, ...args) {
  return tab.evaluate(async ([method, args]) => {
    const from = performance.now();
    const result = await db[method](...args);
    return { ms: performance.now() - from, result };
  }, [method, args]);
}

async function allIn(tab, sources) {
  const all = {};
  for (const object of Object.keys(sources)) all[object] = await recordsIn(tab, object);
  return all;
}

/** Runs the queries three times each and prints the best; returns the longest task among all. */
async function queries(tab) {
  let longest = 0;
  for (const [name, [method, ...args]] of Object.entries(QUERIES)) {
    const times = [];
    for (let turn = 0; turn < 3; turn++) {
      times.push(await tab.evaluate(async ([method, args]) => {
        const from = performance.now();
        await db[method](...args);
        return performance.now() - from;
      }, [method, args]));
    }
    longest = Math.max(longest, ...times.map(Math.ceil), await longestTask(tab));
    console.log(`  ${name.padEnd(30)}${Math.min(...times).toFixed(1).padStart(9)} ms at best, ${Math.max(...times).toFixed(1)} ms at worst`);
  }
  return longest;
}

/** The figure of the brief: 1,000 queued mutations at the default batch size, to the local server. */
async function queue({ tab }, server) {
  const definitions = DEFINITIONS.map((definition) => ({ ...definition, sync: { enabled: true } }));
  await open(tab, definitions);
  await tab.evaluate(() => db.sync());
  await tab.evaluate(() => db.bulkCreate('city', Array.from({ length: 1_000 }, (_, at) => ({ id: `queued-${at}`, name: `Place ${at}`, lat: '1.0', lng: '2.0' }))));
  const { ms, result } = await timed(tab, 'sync');
  if ((await server.records('city')).get('queued-999')?.name !== 'Place 999') throw new Failure('the last of 1,000 mutations is not on the server');
  console.log(`1,000 queued mutations at the default batch size: ${result.requests} requests (at most 20), ${ms.toFixed(0)} ms (below 1,000).`);
  if (result.requests > 20) throw new Failure(`1,000 mutations took ${result.requests} requests`);
}

/** Takes note of every task of the main thread that lasts 50 ms or more. */
async function watchTasks(tab) {
  await tab.evaluate(() => {
    window.tasks = [];
    new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: 'longtask' });
  });
}

/** The longest task since the last time, in milliseconds; 0 when none lasted 50. */
async function longestTask(tab) {
  return tab.evaluate(async () => {
    // Entries are delivered a little later than the task ends.
    await new Promise((resolve) => setTimeout(resolve, 200));
    return Math.max(0, ...tasks.splice(0).map(Math.ceil));
  });
}

function say(step, rows, ms, longest) {
  const task = longest > 0 ? `longest task ${longest} ms` : 'no task of 50 ms';
  console.log(`  ${step.padEnd(30)}${Math.round(rows / (ms / 1000)).toLocaleString('en').padStart(9)} rows/s ${(ms / 1000).toFixed(2).padStart(7)} s   ${task}`);
}

/** The peak of the largest renderer of a client's browser. */
async function memory(name, { profile }) {
  const renderers = processesOf(profile).filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--type=renderer'));
  return `${name} ${megabytes(Math.max(0, ...renderers.map(peakOf)))} (renderer)`;
}

/** The most memory a process ever had, in bytes; none where there is no /proc. */
function peakOf(pid) {
  const path = `/proc/${pid}/status`;
  if (!existsSync(path)) return 0;
  return 1024 * Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(path, 'utf8'))?.[1] ?? 0);
}

function megabytes(bytes) {
  return bytes > 0 ? `${Math.round(bytes / 2 ** 20)} MB` : 'unknown';
}
