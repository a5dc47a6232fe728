// node run.mjs [--peers a,b] [--repeats 5] [--n 10000] [--big 100000] [--bigRepeats 5]
//              [--steps size,cold,writes,main,limits,reopen,sync,probe,crash] [--out results.json] [--merge]
// With --merge a peer that was measured before keeps what this run does not measure again; without it the file begins anew.
import fs from 'node:fs';
import os from 'node:os';
import { PEERS } from './peers.mjs';
import { buildPeer, sizes } from './build.mjs';
import { serve } from './harness/server.mjs';
import { startBrowser, newProfile } from './harness/browser.mjs';
import { makeDocs } from './harness/data.js';
import { measureSync } from './sync.mjs';
import { writeResults } from './results.mjs';

const opt = Object.fromEntries(process.argv.slice(2).join(' ').split('--').filter(Boolean).map((s) => { const [k, v] = s.trim().split(/[ =]/); return [k, v ?? true]; }));
const keys = opt.peers ? opt.peers.split(',') : Object.keys(PEERS);
const repeats = +(opt.repeats ?? 5);
const n = +(opt.n ?? 10_000);
const big = +(opt.big ?? 100_000);
const bigRepeats = +(opt.bigRepeats ?? repeats);
const steps = new Set((opt.steps ?? 'size,cold,writes,main,limits,reopen,sync,probe,crash').split(','));
const outFile = opt.out ?? 'results.json';
process.chdir(new URL('.', import.meta.url).pathname);

const version = (file) => { try { return JSON.parse(fs.readFileSync(new URL(file, import.meta.url), 'utf8')).version; } catch { return null; } };
const results = opt.merge && fs.existsSync(outFile) ? JSON.parse(fs.readFileSync(outFile, 'utf8')) : { peers: {}, errors: [] };
const save = () => writeResults(outFile, results);
const log = (...a) => console.log(((Date.now() - t00) / 1000).toFixed(0).padStart(5) + 's', ...a);
const t00 = Date.now();

const unknown = keys.filter((k) => !Object.hasOwn(PEERS, k));
if (unknown.length) { console.error(`There is no peer ${unknown.join(', ')}: bench/peers.mjs has ${Object.keys(PEERS).join(', ')}.`); process.exit(1); }
results.errors = results.errors.filter((message) => !keys.some((k) => message.startsWith(`${k} `)));
for (const k of keys) {
  if (!opt.nobuild) await buildPeer(k);
  const p = (results.peers[k] ??= { samples: {} });
  p.version = PEERS[k].pkg ? version(`node_modules/${PEERS[k].pkg}/package.json`) : k === 'driver' ? version('../pkg/package.json') : null;
  p.date = new Date().toISOString().slice(0, 10);
  delete p.broken;
}

let onCrash = null;
const served = {}; // host -> files it asked for
const onTold = new Map(); // host -> who waits for what its timed start tells
const { server, port } = await serve(new URL('./dist', import.meta.url).pathname, {
  crash: (host) => onCrash?.(host),
  served: (host, file) => (served[host] ??= new Set()).add(file),
  told: (host, told) => onTold.get(host)?.(told),
});
const profile = newProfile();
let chrome = await startBrowser(profile);
results.env = {
  date: new Date().toISOString().slice(0, 10), chromium: chrome.version, node: process.version, platform: `${os.type()} ${os.arch()}`,
  cpus: os.cpus().length, cpu: os.cpus()[0].model, memGiB: Math.round(os.totalmem() / 2 ** 30), repeats, n, big, bigRepeats,
};
log('chromium', chrome.version);

const origin = (k, tag) => `http://${k}--${tag}.localhost:${port}`;
async function timedStart(page, k, tag, query) {
  const told = new Promise((resolve) => onTold.set(`${k}--${tag}`, resolve));
  await page.goto(`${origin(k, tag)}/${query}`, { waitUntil: 'commit' });
  const { result, error } = await told;
  if (error !== undefined) throw new Error(error);
  return result;
}
// The first sample of a run puts those of an earlier run away: two runs are never mixed.
const begun = new Set();
const push = (k, metric, v) => {
  if (v === undefined) return;
  const { samples } = results.peers[k];
  if (!begun.has(`${k} ${metric}`)) samples[metric] = [];
  begun.add(`${k} ${metric}`);
  samples[metric].push(v);
};

const lastUse = new Map(); // origin -> when its last page was closed
async function withPage(k, tag, fn, ms = 240_000, query = '') {
  const page = await chrome.context.newPage();
  let timer;
  const errors = [];
  page.on('pageerror', (e) => errors.push(e.message));
  if (opt.verbose) page.on('console', (m) => console.log('   [console]', m.text().slice(0, 300)));
  try {
    await Promise.race([
      (async () => {
        const result = query === '' ? await page.goto(origin(k, tag) + '/') : await timedStart(page, k, tag, query);
        await page.waitForFunction(() => window.bench, null, { timeout: 30_000 });
        await fn(page, result);
      })(),
      new Promise((_, no) => { timer = setTimeout(() => no(new Error(`timeout ${ms} ms`)), ms); }),
    ]);
    return true;
  } catch (e) {
    const msg = `${k} ${tag}: ${String(e.message).slice(0, 400)} ${errors.slice(0, 2).join(' | ').slice(0, 300)}`;
    log('ERROR', msg);
    results.errors.push(msg);
    return false;
  } finally {
    clearTimeout(timer);
    await Promise.race([page.close().catch(() => {}), new Promise((r) => setTimeout(r, 5000))]);
    lastUse.set(origin(k, tag), Date.now());
    save();
  }
}
const autoRun = (fn, arg) => `?run=${fn}&arg=${encodeURIComponent(JSON.stringify(arg ?? null))}`;
const call = (page, fn, arg) => page.evaluate(([f, a]) => window.bench[f](a), [fn, arg]);

// Private memory of the largest page process (each origin has its own): JS heap, wasm memory and workers together.
async function pageProcessMemory() {
  const cdp = await chrome.browser.newBrowserCDPSession();
  const { processInfo } = await cdp.send('SystemInfo.getProcessInfo');
  await cdp.detach();
  let max = 0;
  for (const { type, id } of processInfo) {
    if (type !== 'renderer') continue;
    try { max = Math.max(max, 1024 * +/RssAnon:\s+(\d+)/.exec(fs.readFileSync(`/proc/${id}/status`, 'utf8'))[1]); } catch { /* not Linux, or gone */ }
  }
  return max || undefined;
}
async function memory(page, k, label) {
  const cdp = await chrome.context.newCDPSession(page);
  await cdp.send('HeapProfiler.collectGarbage'); await cdp.send('HeapProfiler.collectGarbage');
  await cdp.send('Performance.enable');
  const { metrics } = await cdp.send('Performance.getMetrics');
  push(k, `jsHeap_${label}`, metrics.find((m) => m.name === 'JSHeapUsedSize').value);
  const m = await Promise.race([call(page, 'memory').catch(() => null), new Promise((r) => setTimeout(() => r(null), 30_000))]);
  if (m) push(k, `memory_${label}`, m.bytes);
  push(k, `process_${label}`, await pageProcessMemory().catch(() => undefined));
  push(k, `disk_${label}`, await call(page, 'disk').catch(() => undefined));
}
async function reopen(k, tag, name, count, label, rep) {
  const id = makeDocs(count, 1)[(rep * 4441 + 17) % count].id;
  // Chromium keeps an origin's storage open for some seconds: only then is it a cold one. Other peers' turns pass that time.
  await new Promise((r) => setTimeout(r, (lastUse.get(origin(k, tag)) ?? 0) + +(opt.gap ?? 11) * 1000 - Date.now()));
  await withPage(k, tag, async (page, r) => {
    push(k, `reopen${label}_script`, r.script); push(k, `reopen${label}_open`, r.open); push(k, `reopen${label}_get`, r.firstGet); push(k, `reopen${label}_query`, r.firstQuery);
    await memory(page, k, label);
  }, 120_000, autoRun('reopen', { name, id }));
}
const order = (rep) => keys.map((_, i) => keys[(i + rep * 3) % keys.length]);

// Bundle size: load the minimal app, open a database and write once; count the files it fetched.
if (steps.has('size')) for (const k of keys) {
  const page = await chrome.context.newPage();
  try {
    await page.goto(origin(k, 'size') + '/');
    await page.waitForFunction(() => window.open_db, null, { timeout: 30_000 });
    await page.evaluate(async (d) => { const db = await window.open_db('size'); await db.createOne(d); await db.findWhere('status', 'open'); }, makeDocs(1, 8)[0]);
    results.peers[k].size = sizes([...served[`${k}--size`]]);
    log('size', k, results.peers[k].size.min, results.peers[k].size.brotli);
  } catch (e) { log('ERROR size', k, e.message.slice(0, 300)); results.errors.push(`${k} size: ${e.message.slice(0, 300)}`); }
  await page.close().catch(() => {});
}

// A slow peer has fewer repeats, or it would take as long as all others together; the report says how many it had.
const MOST_SECONDS = +(opt.seconds ?? 120);
const LEAST_REPEATS = 2;
const seconds = {}; // peer -> spent on its repeats
// The first round (rep -1) warms the browser process and the disk cache up and is thrown away.
for (let rep = -1; rep < repeats; rep++) {
  for (const k of order(rep + 1)) {
    const p = results.peers[k];
    if (p.broken > 1) continue;
    if (rep >= LEAST_REPEATS && seconds[k] > MOST_SECONDS) continue;
    const keep = rep >= 0;
    let ok = true;
    const t = Date.now();
    if (steps.has('cold')) ok = await withPage(k, `c${rep + 1}`, async (page, r) => {
      p.meta = await page.evaluate(() => window.bench.meta);
      if (keep) for (const [m, v] of Object.entries(r)) push(k, m, v);
    }, 60_000, autoRun('cold')) && ok;
    if (!keep) { if (!ok) p.broken = (p.broken || 0) + 1; continue; }
    if (steps.has('writes')) ok = await withPage(k, `w${rep}`, async (page) => {
      const r = await call(page, 'writes', PEERS[k].counts);
      for (const [m, v] of Object.entries(r)) push(k, m, v);
    }) && ok;
    if (steps.has('main')) {
      ok = await withPage(k, `m${rep}`, async (page) => {
        const r = await call(page, 'main', { n, ...PEERS[k].counts });
        for (const [m, v] of Object.entries(r)) push(k, m, v);
      }) && ok;
    }
    if (!ok) p.broken = (p.broken || 0) + 1;
    seconds[k] = (seconds[k] ?? 0) + (Date.now() - t) / 1000;
    log(`rep ${rep} ${k} ${((Date.now() - t) / 1000).toFixed(1)}s`);
  }
}

if (steps.has('limits')) for (let rep = 0; rep < Math.min(repeats, 3); rep++) for (const k of keys.filter((k) => PEERS[k].extra?.includes('limits'))) {
  await withPage(k, `l${rep}`, async (page) => {
    const a = await call(page, 'limits', { n, withWrites: true });
    for (const [m, v] of Object.entries(a)) push(k, `limit10k_${m}`, v);
  });
  if (rep < 2) await withPage(k, `L${rep}`, async (page) => {
    const a = await call(page, 'limits', { n: big, withWrites: false });
    for (const [m, v] of Object.entries(a)) push(k, `limit100k_${m}`, v);
  });
  log('limits', rep);
}

// Workloads 11 and 13: load once per peer, then reopen in fresh pages, peers interleaved.
if (steps.has('reopen')) for (const [count, label] of [[n, '10k'], [big, '100k']]) {
  const loaded = [];
  for (const k of keys) {
    if (results.peers[k].broken > 1) continue;
    const ok = await withPage(k, `r${label}`, async (page) => {
      const r = await call(page, 'load', { name: 'reopen', n: count });
      push(k, `load${label}`, r.load); push(k, `load${label}Persisted`, r.persisted);
    }, 420_000);
    if (ok) loaded.push(k);
    log('loaded', label, k);
  }
  for (let rep = 0; rep < bigRepeats; rep++) for (const k of order(rep).filter((k) => loaded.includes(k))) await reopen(k, `r${label}`, 'reopen', count, label, rep);
}

if (steps.has('sync')) for (const k of keys.filter((k) => PEERS[k].sync)) {
  try { await measureSync({ context: chrome.context, peer: k, repeats, big, push: (metric, v) => push(k, metric, v), log }); }
  catch (e) { log('ERROR sync', k, e.message.slice(0, 300)); results.errors.push(`${k} sync: ${e.message.slice(0, 300)}`); }
  save();
}

if (steps.has('probe')) for (const k of keys) await withPage(k, 'probe', async (page) => { results.peers[k].probe = await call(page, 'probe'); });

if (steps.has('crash')) {
  // 1. the page's process is killed right after the awaited write
  for (const k of keys) for (const bulk of [false, true]) {
    const tag = bulk ? 'crashb' : 'crash';
    let crashed = false;
    const page = await chrome.context.newPage();
    try {
      await page.goto(origin(k, tag) + '/');
      await page.waitForFunction(() => window.bench);
      const cdp = await chrome.context.newCDPSession(page);
      const gone = new Promise((r) => page.once('crash', r));
      onCrash = () => { crashed = true; cdp.send('Page.crash').catch(() => {}); };
      call(page, 'crashWrite', { bulk }).catch(() => {});
      await Promise.race([gone, new Promise((r) => setTimeout(r, 20_000))]);
    } catch (e) { log('crash', k, e.message); }
    await Promise.race([page.close().catch(() => {}), new Promise((r) => setTimeout(r, 3000))]);
    if (crashed) await withPage(k, tag, async (page) => { const r = await call(page, 'crashCheck'); results.peers[k][bulk ? 'crashBulk' : 'crashPage'] = r; log('page crash', bulk ? 'bulk' : 'one', k, JSON.stringify(r)); }, 30_000);
  }
  // 2. the whole browser is killed (SIGKILL); the operating system stays up
  for (const k of keys) {
    try {
      const page = await chrome.context.newPage();
      await page.goto(origin(k, 'kill') + '/');
      await page.waitForFunction(() => window.bench);
      const dead = new Promise((r) => { onCrash = () => chrome.kill().then(r); });
      call(page, 'crashWrite', { bulk: false }).catch(() => {});
      const died = await Promise.race([dead.then(() => true), new Promise((r) => setTimeout(() => r(false), 30_000))]);
      if (!died) { log('kill', k, 'did not reach the write'); await page.close().catch(() => {}); continue; }
      chrome = await startBrowser(profile);
      await withPage(k, 'kill', async (page) => { results.peers[k].crashBrowser = await call(page, 'crashCheck'); log('browser kill', k, JSON.stringify(results.peers[k].crashBrowser)); }, 30_000);
    } catch (e) { log('kill', k, e.message); }
  }
}
save();
await chrome.stop();
server.close(); server.closeAllConnections();
if (!opt.keep) fs.rmSync(profile, { recursive: true, force: true });
else console.log('profile kept:', profile);
log('done', outFile, results.errors.length, 'errors');
