// What the page of charts (www/charts.mjs) draws and the document says: medians and spreads of results.json, a workload each.
import { PEERS } from './peers.mjs';

const MB = 1 / 2 ** 20;

/** Less is better in all of them. `metric`: its samples in results.json; a sample is a number or one number for each operation. */
export const GROUPS = [
  { title: 'Writes', workloads: [
    { metric: 'firstWrite', title: 'Open, and write once', unit: 'ms' },
    { metric: 'create', title: 'Create, awaited one by one', unit: 'ms' },
    { metric: 'update', title: 'Update, awaited one by one, on 10,000', unit: 'ms' },
    { metric: 'concurrentPersisted', title: '1,000 creates at once, until on disk', unit: 'ms' },
    { metric: 'bulkPersisted', title: '10,000 in one call, until on disk', unit: 'ms' },
  ] },
  { title: 'Reads', note: 'On 10,000 records.', workloads: [
    { metric: 'getUs', title: 'Get by id', unit: 'µs' },
    { metric: 'eq1', title: 'Equality, 100 records', unit: 'ms' },
    { metric: 'eq20', title: 'Equality, 2,000 records', unit: 'ms' },
    { metric: 'sorted', title: 'Newest 20', unit: 'ms' },
    { metric: 'count', title: 'Count 2,000', unit: 'ms' },
    { metric: 'scan', title: 'All 10,000', unit: 'ms' },
    { metric: 'firstQueryAfterLoad', title: 'First query after the load', unit: 'ms' },
  ] },
  { title: 'Reopen', note: 'A new page on the same profile, from the start of its script, with the bundle still to be loaded.', workloads: [
    { metric: 'reopen10k_get', title: '10,000 records: to the first get', unit: 'ms' },
    { metric: 'reopen10k_query', title: '10,000 records: to the first query', unit: 'ms' },
    { metric: 'reopen100k_get', title: '100,000 records: to the first get', unit: 'ms' },
    { metric: 'reopen100k_query', title: '100,000 records: to the first query', unit: 'ms' },
  ] },
  { title: 'Live queries', note: 'From a write to the callback, on 10,000 records.', workloads: [
    { metric: 'live1', title: '1 subscription', unit: 'ms' },
    { metric: 'live100', title: '100 subscriptions', unit: 'ms' },
  ] },
  { title: 'Memory, disk, download', workloads: [
    { metric: 'process_100k', title: 'Memory of the page, 100,000 records reopened', unit: 'MB', scale: MB },
    { metric: 'disk_100k', title: 'On disk, 100,000 records', unit: 'MB', scale: MB },
    { metric: 'size', title: 'Downloaded, brotli', unit: 'KB' },
  ] },
];

/** Of the driver alone, to a local server. `target`: what it is meant to stay below, in ms. */
export const SYNC = [
  { metric: 'drain1k', title: 'Push 1,000 queued mutations', target: 1_000 },
  { metric: 'drain10k', title: 'Push 10,000 queued mutations', target: 3_000 },
  { metric: 'pull100k', title: 'Pull 100,000 records into an empty client', target: 4_000 },
];

/** What the driver is meant to reach, against its own figures or those of others in the same run; `least`: or more, else `most`: or less. */
const AIMS = [
  { title: 'Create, awaited, beside one raw strict append of the same size (p50)', unit: 'x', most: 1.15, of: (m) => m('driver', 'create') / m('raw-idb', 'limit10k_log_append_1rec_strict_p50') },
  { title: '1,000 creates at once, strict: faster than a row per record in raw IndexedDB', unit: 'x', least: 15, of: (m) => m('raw-idb', 'concurrentPersisted') / m('driver', 'concurrentPersisted') },
  { title: 'The same, faster than Dexie', unit: 'x', least: 40, of: (m) => m('dexie', 'concurrentPersisted') / m('driver', 'concurrentPersisted') },
  { title: '10,000 in one call, until on disk: faster than raw IndexedDB', unit: 'x', least: 10, of: (m) => m('raw-idb', 'bulkPersisted') / m('driver', 'bulkPersisted') },
  { title: 'Reopen 10,000, first get, beside raw IndexedDB', unit: 'x', most: 0.6, of: (m) => m('driver', 'reopen10k_get') / m('raw-idb', 'reopen10k_get') },
  { title: 'Reopen 10,000, first query, beside raw IndexedDB', unit: 'x', most: 0.6, of: (m) => m('driver', 'reopen10k_query') / m('raw-idb', 'reopen10k_query') },
  { title: 'Reopen 100,000, first get, beside raw IndexedDB', unit: 'x', most: 0.75, of: (m) => m('driver', 'reopen100k_get') / m('raw-idb', 'reopen100k_get') },
  { title: 'Reopen 100,000, first query, beside raw IndexedDB', unit: 'x', most: 0.9, of: (m) => m('driver', 'reopen100k_query') / m('raw-idb', 'reopen100k_query') },
  { title: 'Get by id, of a record that the page has not read yet', unit: 'µs', most: 3, of: (m) => m('driver', 'getUs') },
  { title: 'Equality, 2,000 of 10,000, the first time', unit: 'ms', most: 4, of: (m) => m('driver', 'eq20') },
  { title: 'Equality, 100 of 10,000', unit: 'ms', most: 0.2, of: (m) => m('driver', 'eq1') },
  { title: 'Newest 20', unit: 'ms', most: 0.05, of: (m) => m('driver', 'sorted') },
  { title: 'Count', unit: 'ms', most: 0.02, of: (m) => m('driver', 'count') },
  { title: 'All 10,000', unit: 'ms', most: 18, of: (m) => m('driver', 'scan') },
  { title: 'Live query, 1 subscription: from durable to the callback', unit: 'ms', most: 0.2, of: (m) => m('driver', 'live1Durable') },
  { title: 'Live query, 100 subscriptions: the same', unit: 'ms', most: 0.4, of: (m) => m('driver', 'live100Durable') },
  { title: '100,000 records reopened: memory of the process above that of raw IndexedDB', unit: 'MB', most: 60, of: (m) => (m('driver', 'process_100k') - m('raw-idb', 'process_100k')) * MB },
  { title: 'Downloaded, brotli', unit: 'KB', most: 120, of: (_, size) => size('driver') / 1024 },
  ...SYNC.map(({ title, metric, target }) => ({ title, unit: 'ms', most: target, of: (m) => m('driver', metric) })),
];

/** Of each aim what was measured, and whether that is as good; nothing where some of it was not measured. */
export function aimsOf({ peers }) {
  const middle = (peer, metric) => median(peers[peer]?.samples[metric]?.flat() ?? []);
  return AIMS.map(({ of, ...aim }) => {
    const value = of(middle, (peer) => peers[peer]?.size?.brotli);
    return { ...aim, value: Number.isFinite(value) ? value : undefined, isReached: aim.least === undefined ? value <= aim.most : value >= aim.least };
  });
}

/** Results as the page needs them: peers, groups of workloads with a bar for each peer, sync. */
export function summarise(results) {
  const peers = Object.entries(results.peers).map(([key, peer]) => ({
    key,
    label: PEERS[key]?.label ?? peer.meta?.title ?? key,
    title: peer.meta?.title ?? key,
    version: peer.version ?? null,
    date: peer.date ?? results.env.date,
    durability: peer.meta?.durability ?? 'not stated',
    kept: { page: kept(peer.crashPage), browser: kept(peer.crashBrowser) },
    loses: !keepsWrites(peer),
    role: key === 'driver' ? 'driver' : key.startsWith('raw-') ? 'reference' : 'peer',
  }));
  const groups = GROUPS.map(({ title, note, workloads }) => ({
    title,
    note,
    workloads: workloads.map((workload) => ({ ...workload, bars: Object.entries(results.peers).map(([key, peer]) => ({ key, ...barOf(peer, workload) })) })),
  }));
  const repeats = Math.max(...Object.values(results.peers).map(({ samples }) => samples.bulk?.length ?? 1));
  return { env: results.env, repeats, peers, groups, sync: SYNC.map((workload) => syncOf(results.peers.driver, workload)).filter(Boolean) };
}

/** Whether an awaited write was there after the page had been killed. */
export function keepsWrites(peer) {
  return peer.crashPage?.last !== false;
}

/** Whether a bulk create was lost although single writes are kept. */
export function losesBulk(peer) {
  return keepsWrites(peer) && peer.crashBulk !== undefined && peer.crashBulk.earlier !== 50;
}

export function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

export function quantile(values, part) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
}

/** A figure with three digits or so: more would say nothing. */
export function number(value) {
  if (value >= 1000) return Math.round(value).toLocaleString('en');
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value >= 0.1 ? value.toFixed(2) : value.toFixed(3);
}

function kept(crash) {
  return crash === undefined ? null : crash.last;
}

/** The median with the least and the most of the repeats, or why there is none. Of single operations also the 99th percentile. */
function barOf(peer, { metric, scale = 1 }) {
  if (metric === 'size') return peer.size ? { median: peer.size.brotli / 1024 } : { missing: 'not measured' };
  const samples = peer.samples[metric];
  if (metric === 'bulkPersisted' && losesBulk(peer)) return { missing: 'returned, and lost when the page was killed' };
  if (metric.startsWith('live') && peer.meta?.live === false) return { missing: 'has no live queries' };
  if (!samples?.length) return { missing: 'not measured' };
  const repeats = samples.map((sample) => (Array.isArray(sample) ? median(sample) : sample) * scale);
  const bar = { median: median(repeats), min: Math.min(...repeats), max: Math.max(...repeats) };
  return Array.isArray(samples[0]) ? { ...bar, median: median(samples.flat()) * scale, p99: quantile(samples.flat(), 0.99) * scale } : bar;
}

function syncOf(driver, workload) {
  const samples = driver?.samples[workload.metric];
  if (!samples?.length) return undefined;
  return {
    ...workload,
    median: median(samples),
    min: Math.min(...samples),
    max: Math.max(...samples),
    requests: median(driver.samples[`${workload.metric}Requests`]),
    bytes: median(driver.samples[`${workload.metric}Bytes`]),
  };
}
