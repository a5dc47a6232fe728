// Writes docs/benchmarks.md from the measurements (results.json) and the hand-written notes.md.
import fs from 'node:fs';
import { aimsOf, keepsWrites, losesBulk, median as med, number as num, quantile as q, summarise } from './summary.mjs';

const file = process.argv[2] ?? new URL('./results.json', import.meta.url);
const r = JSON.parse(fs.readFileSync(file, 'utf8'));
const keys = Object.keys(r.peers);
const S = (k, m) => r.peers[k].samples[m];
const val = (k, m) => { const s = S(k, m); return s && med(Array.isArray(s[0]) ? s.flat() : s); };
const cell = (k, m, scale = 1) => {
  const s = S(k, m)?.map((v) => v * scale);
  if (!s?.length) return '-';
  return s.length === 1 ? num(s[0]) : `${num(med(s))} (${num(Math.min(...s))}..${num(Math.max(...s))})`;
};
const pcell = (k, m) => { const s = S(k, m)?.flat(); return s?.length ? `${num(q(s, 0.5))} / ${num(q(s, 0.99))}` : '-'; };
const num0 = (v) => Math.round(v).toLocaleString('en');
const out = [];
const table = (head, rows) => { out.push('| ' + head.join(' | ') + ' |', '|' + head.map((_, i) => (i ? '---:|' : '---|')).join(''), ...rows.map((x) => '| ' + x.join(' | ') + ' |'), ''); };
const title = (k) => r.peers[k].meta?.title ?? k;
const peers = (f, need) => keys.filter((k) => !need || S(k, need)).map((k) => [title(k), ...f(k)]);
// peers whose awaited write was in IndexedDB or OPFS when it returned (the crash tests below)
const durable = (k) => keepsWrites(r.peers[k]);

const e = r.env;
const repeatsOf = (k) => S(k, 'bulk')?.length;
const repeats = Math.max(...keys.map((k) => repeatsOf(k) ?? 0));
/** Which peers were measured on another day than the newest, or with fewer repeats than most. */
const apart = (what, is) => { const found = keys.map((k) => [k, is(k)]).filter(([, said]) => said); return found.length ? ` ${what}: ${found.map(([k, said]) => `${title(k)} ${said}`).join(', ')}.` : ''; };
out.push('# Benchmarks', '', 'Made by `npm run bench:peers`; what it takes and how to add a peer is at the end. As charts: `npm start`, then `/benchmarks.html`.', '', `${e.date}. Chromium ${e.chromium} headless, on-disk profile; ${e.platform}, ${e.cpus} cores (${e.cpu}), ${e.memGiB} GiB; node ${e.node}. ` +
  `${repeats} repeats, peers interleaved, each repeat in its own origin and page. Cells: median (min..max) over repeats, or p50 / p99 over all operations. Times in ms unless said otherwise. ` +
  'Peers marked * return before the write is persisted; their write times are memory times, and "persisted" is the time until their own save has finished.' +
  apart('Fewer repeats', (k) => repeatsOf(k) < repeats && `(${repeatsOf(k)})`) + apart('Measured earlier', (k) => r.peers[k].date !== undefined && r.peers[k].date !== e.date && `(${r.peers[k].date})`), '');
const bulkLost = (k) => losesBulk(r.peers[k]);
const mark = (k) => title(k) + (durable(k) ? '' : ' *');
const p2 = (f, need) => keys.filter((k) => !need || S(k, need)).map((k) => [mark(k), ...f(k)]);

out.push('## Writes', '');
table(['peer', 'open → first write', 'create, awaited one by one (200) p50 / p99', '1,000 creates, Promise.all', 'creates/s', 'the same, persisted', 'bulk create 10,000', 'the same, persisted', 'update on 10,000 (200) p50 / p99', '200 updates until persisted'],
  p2((k) => [cell(k, 'firstWrite'), pcell(k, 'create'), cell(k, 'concurrent'), S(k, 'concurrent') ? num(1e6 / val(k, 'concurrent')) : '-', cell(k, 'concurrentPersisted'), cell(k, 'bulk') + (bulkLost(k) ? ' †' : ''), bulkLost(k) ? 'not measured' : cell(k, 'bulkPersisted'), pcell(k, 'update'),
    S(k, 'update') ? num(med(S(k, 'update').map((u, i) => (u.reduce((a, b) => a + b, 0) * 200) / u.length + S(k, 'updateFlush')[i]))) : '-']));
out.push('† The bulk create had returned but was lost when the page was killed (see Durability).', '');
out.push('## Reads on 10,000 records', '');
table(['peer', 'get by id (µs)', 'equality, 20% (2,000 rows)', 'equality, 1% (100 rows)', 'top 20 by updated_at', 'count (20%)', 'full scan', 'first query after the bulk load'],
  p2((k) => ['getUs', 'eq20', 'eq1', 'sorted', 'count', 'scan', 'firstQueryAfterLoad'].map((m) => cell(k, m)), 'getUs'));
out.push('## Reopen: new page, same profile', '', 'From script start (before the bundle is fetched from the local server) to the first record and to the first indexed query (1%).', '');
table(['peer', '10k: first get', '10k: first query', '100k: first get', '100k: first query', '100k: open() alone', 'page start (in all of them)', 'loading 100k (s, once)', 'the same, persisted (s)'],
  p2((k) => [cell(k, 'reopen10k_get'), cell(k, 'reopen10k_query'), cell(k, 'reopen100k_get'), cell(k, 'reopen100k_query'), cell(k, 'reopen100k_open'), cell(k, 'reopen100k_script'), cell(k, 'load100k', 1e-3), cell(k, 'load100kPersisted', 1e-3)], 'reopen10k_get'));
out.push('## Live query: write → callback, on 10,000 records', '');
table(['peer', '1 subscription p50 / p99', '100 subscriptions p50 / p99', '1 subscription, from durable', '100 subscriptions, from durable'], p2((k) => ['live1', 'live100', 'live1Durable', 'live100Durable'].map((m) => pcell(k, m)), 'live1'));
out.push('From durable: from the last transaction of IndexedDB that was complete before the callback; nothing where a peer tells first and writes later.', '');
out.push('## Memory and disk after reopen, one get and one query (MB)', '');
const MB = 1 / 1048576;
table(['peer', 'page JS heap, 10k', 'page JS heap, 100k', 'measureUserAgentSpecificMemory, 10k', '100k', 'page process private memory, 10k', '100k', 'on disk, 10k', '100k'],
  p2((k) => ['jsHeap_10k', 'jsHeap_100k', 'memory_10k', 'memory_100k', 'process_10k', 'process_100k', 'disk_10k', 'disk_100k'].map((m) => cell(k, m, MB)), 'jsHeap_10k'));
const { sync } = summarise(r);
if (sync.length) {
  out.push('## Sync', '', 'The driver with its server (one process, SQLite in a file, the same machine), until every change is settled and on disk at both ends. No other peer brings its server.', '');
  table(['work', 'ms', 'target', 'requests', 'MB sent and received'], sync.map(({ title, metric, target, requests, bytes }) => [title, cell('driver', metric), `below ${num(target)}`, num0(requests), (bytes / 2 ** 20).toFixed(1)]));
}
out.push('## What is aimed at', '', 'Ratios are of medians of this run. What stands in the way of those that are not reached is below.', '');
table(['figure', 'aim', 'measured', 'reached'], aimsOf(r).map(({ title, unit, least, most, value, isReached }) =>
  [title, `${least === undefined ? 'at most' : 'at least'} ${least ?? most} ${unit}`, value === undefined ? 'not measured' : `${num(value)} ${unit}`, value === undefined ? '' : isReached ? 'yes' : 'no']));
out.push('## Bundle: minimal app, files fetched to open, write and query (bytes)', '');
table(['peer', 'version', 'JS min', 'wasm', 'data', 'total min', 'total gzip', 'total brotli'],
  keys.map((k) => { const s = r.peers[k].size; return [title(k), r.peers[k].version ?? '-', ...(s ? [num0(s.js), num0(s.wasm), num0(s.other), num0(s.min), num0(s.gzip), num0(s.brotli)] : ['-', '-', '-', '-', '-', '-'])]; }));
out.push('## Durability', '', 'Crash tests: 50 records saved, one more created and awaited, then the process is killed before the page can run again. "lost" is the awaited record.', '');
const c = (x) => (x ? (x.last ? 'kept' : 'lost') + (x.earlier === 50 ? '' : ` (and ${50 - x.earlier} of the 50 before it)`) : 'not tested');
table(['peer', 'awaited write means', 'page process killed', 'browser killed', 'bulk create of 50 awaited, page process killed'], keys.map((k) => [title(k), r.peers[k].meta?.durability ?? '', c(r.peers[k].crashPage), c(r.peers[k].crashBrowser), r.peers[k].crashBulk ? `${r.peers[k].crashBulk.earlier} of 50 kept` : 'not tested']));
out.push('## What one operation asks of IndexedDB (main thread only)', '', 'Peers that run in a worker are not seen here. Transactions by mode and durability, then requests; "later" is what came within 0.3 s after the operation had returned.', '');
const o = (x) => Object.entries(x).map(([a, b]) => `${b} ${a}`).join(', ') || 'nothing';
const diff = (a, b) => Object.fromEntries(Object.entries(b).map(([k, v]) => [k, v - (a[k] || 0)]).filter(([, v]) => v));
const pr = (x) => { if (!x) return '-'; const l = { ...diff(x.tx, x.later.tx), ...diff(x.req, x.later.req) }; return `${o(x.tx)}; ${o(x.req)}${Object.keys(l).length ? `; later ${o(l)}` : ''}`; };
table(['peer', 'create', 'update', '100 creates at once', 'query 1%', 'top 20'], keys.filter((k) => r.peers[k].probe && !/wa-sqlite|powersync/.test(k)).map((k) => { const p = r.peers[k].probe; return [title(k), pr(p.createOne), pr(p.updateOne), pr(p.concurrent100), pr(p.findWhere), pr(p.findSorted)]; }));

const lim = Object.keys(r.peers['raw-idb']?.samples ?? {}).filter((m) => m.startsWith('limit'));
if (lim.length) {
  out.push('## Limits: IndexedDB layouts (and OPFS), hand-written', '', 'Records are about 0.4 KB of JSON. "idx" is the number of IndexedDB indexes on the store.', '');
  const names = [...new Set(lim.map((m) => m.replace(/^limit\d+k_/, '')))];
  const lc = (m) => { const s = S('raw-idb', m)?.flat(); return s?.length ? (s.length === 1 ? num(s[0]) : `${num(med(s))} (${num(Math.min(...s))}..${num(Math.max(...s))})`) : '-'; };
  table(['measurement', '10,000 records', '100,000 records'], names.map((m) => [m, lc('limit10k_' + m), lc('limit100k_' + m)]));
}

out.push('## Best per workload', '', 'The two hand-written ones are shown beside the peers, not among them. "Durable peers" leaves out those marked *.', '');
const B = [['open → first write', 'firstWrite'], ['create p50', 'create'], ['1,000 creates, Promise.all', 'concurrent'], ['the same, persisted', 'concurrentPersisted'], ['bulk 10,000', 'bulk'], ['the same, persisted', 'bulkPersisted'], ['update p50', 'update'], ['get by id (µs)', 'getUs'],
  ['equality 20%', 'eq20'], ['equality 1%', 'eq1'], ['top 20', 'sorted'], ['count', 'count'], ['full scan', 'scan'], ['reopen 10k, first query', 'reopen10k_query'], ['reopen 100k, first get', 'reopen100k_get'], ['reopen 100k, first query', 'reopen100k_query'],
  ['live, 1 subscription', 'live1'], ['live, 100 subscriptions', 'live100'], ['JS heap, 100k', 'jsHeap_100k'], ['bundle, brotli', null]];
const any = () => true;
const logv = (m) => val('raw-log', m) === undefined ? '-' : num(val('raw-log', m) * (m.startsWith('jsHeap') ? MB : 1));
const best = (m, ok) => {
  const v = (k) => (m ? val(k, m) : r.peers[k].size?.brotli);
  const k = keys.filter((x) => !x.startsWith('raw-') && ok(x) && !(m?.startsWith('bulk') && ok !== any && bulkLost(x)) && !(m === 'bulkPersisted' && bulkLost(x)) && v(x) !== undefined).sort((a, b) => v(a) - v(b))[0];
  return k ? `${title(k)}: ${m?.startsWith('jsHeap') ? num(v(k) * MB) + ' MB' : num(v(k))}` : '-';
};
table(['workload', 'any peer', 'durable peers', 'raw IndexedDB', 'raw log (sketch)'], B.map(([n, m]) => [n, best(m, any), best(m, durable), val('raw-idb', m) !== undefined ? num(val('raw-idb', m) * (m.startsWith('jsHeap') ? MB : 1)) : m ? '-' : num(r.peers['raw-idb'].size.brotli), m ? logv(m) : r.peers['raw-log'] ? num(r.peers['raw-log'].size.brotli) : '-']));

if (r.errors.length) out.push('## Failures in this run', '', ...r.errors.map((x) => '- ' + x.split('\n')[0]), '');
const notes = new URL('./notes.md', import.meta.url);
if (fs.existsSync(notes)) out.push(fs.readFileSync(notes, 'utf8'));
fs.writeFileSync(new URL('../docs/benchmarks.md', import.meta.url), `${out.join('\n').trimEnd()}\n`);
console.log('docs/benchmarks.md is written.');
