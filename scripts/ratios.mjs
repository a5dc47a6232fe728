// The driver beside raw IndexedDB in one run, and what their ratios were when they were recorded (bench/ratios.json): a step of
// `npm test`. Times prove nothing here, since machines differ and are busy: what is compared is a ratio of two medians of the same
// minute, with a wide margin, and what is above it is measured again for longer before it is a failure. A busy machine lengthens
// medians unevenly, but hardly every repeat: the ratio of the shortest times has to be above the margin as well.
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { median } from '../bench/summary.mjs';
import { measure, openBenchPage } from './bench-page.mjs';
import { Failure, ROOT, runAsScript } from './process.mjs';
import { withRealParts } from './real-parts.mjs';

const RECORDED = join(ROOT, 'bench/ratios.json');
const PEERS = ['driver', 'raw IndexedDB'];
const REPEATS = 3;
/** Of a second measurement, and of one that is recorded. */
const MORE_REPEATS = 7;
/** A ratio is clearly worse above so many times the recorded one. */
const MARGIN = 2;
const REOPENED = 10_000;

await runAsScript(import.meta.url, () => withRealParts((_, folder, closers) => compareRatios(folder, closers)));

/** Fails when a ratio is clearly worse than the recorded one, in two measurements. */
async function compareRatios(folder, closers) {
  const { ratios: recorded } = JSON.parse(readFileSync(RECORDED, 'utf8'));
  const { inNewPage } = await openBenchPage(folder, closers);
  const worse = print(await compare(inNewPage, REPEATS), recorded);
  if (worse.length === 0) return;
  console.log(`Clearly worse than recorded: ${worse.join('; ')}. Once more, with ${MORE_REPEATS} repeats.`);
  const again = print(await compare(inNewPage, MORE_REPEATS), recorded).filter((step) => worse.includes(step));
  if (again.length === 0) return;
  throw new Failure(`the driver is more than ${MARGIN} times slower beside raw IndexedDB than recorded in bench/ratios.json: ${again.join('; ')}. ` +
    'Where that is the price of something, `npm run bench -- --record` records it, and the commit says what for');
}

/** Measures and writes bench/ratios.json. */
export async function recordRatios(folder, closers) {
  const times = await compare((await openBenchPage(folder, closers)).inNewPage, MORE_REPEATS);
  const ratios = Object.fromEntries([...times].map(([step, byPeer]) => [step, Number(ratioOf(median, byPeer).toPrecision(3))]));
  print(times, ratios);
  const machine = `${cpus().length} x ${cpus()[0]?.model.trim()}`;
  writeFileSync(RECORDED, `${JSON.stringify({ recorded: new Date().toISOString().slice(0, 10), machine, ratios }, null, 2)}\n`);
  console.log('bench/ratios.json is written.');
}

function compare(inNewPage, repeats) {
  return measure(inNewPage, { workload: 'compare', peers: PEERS, repeats, reopened: [[REOPENED, repeats]] });
}

function ratioOf(middle, { driver, 'raw IndexedDB': raw }) {
  return middle(driver) / middle(raw);
}

function least(values) {
  return Math.min(...values);
}

/** Prints medians and ratios; returns the steps whose ratio is clearly worse than recorded. */
function print(times, recorded) {
  const columns = [...PEERS, 'ratio', 'of the shortest', 'recorded', 'at most'];
  console.log(['median, in ms'.padEnd(42), ...columns.map((title) => title.padStart(17))].join(''));
  const worse = [];
  for (const [step, byPeer] of times) {
    if (!(recorded[step] > 0)) throw new Failure(`bench/ratios.json has no ratio of "${step}": \`npm run bench -- --record\` writes it`);
    const ratios = [ratioOf(median, byPeer), ratioOf(least, byPeer)];
    const most = recorded[step] * MARGIN;
    const isWorse = ratios.every((ratio) => ratio > most);
    if (isWorse) worse.push(step);
    const numbers = [...PEERS.map((peer) => median(byPeer[peer]).toFixed(2)), ...[...ratios, recorded[step], most].map((ratio) => ratio.toPrecision(3))];
    console.log([step.padEnd(42), ...numbers.map((number) => number.padStart(17)), isWorse ? '  worse' : ''].join(''));
  }
  return worse;
}
