// The page of the benchmark as HTML, made when the demo is built: tables with a bar in each row. It needs no script and no style
// attribute, so that it stands under any Content Security Policy; a bar's length is an attribute of its SVG.
import { number } from '../bench/summary.mjs';

/** Above so many times from the shortest to the longest bar, a linear scale would show one bar and a row of dots. */
const LINEAR_TO = 30;
/** The step of the clock in the measuring page, in ms and µs: nothing is shorter, also where it says 0. */
const CLOCK_STEP = 0.005;

export function pageOf({ env, repeats, peers, groups, sync }) {
  const known = new Map(peers.map((peer) => [peer.key, peer]));
  return `<header class="masthead">
      <h1><a href="/"><img class="mark" src="/icon.svg" alt="" /> objectql-offline</a></h1>
    </header>
    <main>
      ${introduction(env, repeats, peers)}
      ${groups.map((group) => section(group, known)).join('\n')}
      ${sync.length > 0 ? syncSection(sync) : ''}
      ${peerSection(peers)}
    </main>
    <svg class="hidden" aria-hidden="true"><defs><pattern id="loses" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch" width="3" height="6" /></pattern></defs></svg>`;
}

function introduction(env, repeats, peers) {
  const others = peers.filter(({ role }) => role === 'peer').length;
  return `<section class="introduction">
        <h2>Benchmarks</h2>
        <p>The driver beside ${others} other databases in one browser, the same records and the same work for each. Less is better everywhere.
        Bars are medians; the line on a bar goes from the least to the most of ${repeats} repeats, of some databases fewer. Charts whose longest bar is more than
        ${LINEAR_TO} times the shortest have a logarithmic scale, and say so.</p>
        <p class="soft">${text(env.date)} · Chromium ${text(env.chromium)} · ${text(env.platform)}, ${env.cpus} cores (${text(env.cpu)}), ${env.memGiB} GiB</p>
        <ul class="legend">
          <li>${sample('driver')} objectql-offline</li>
          <li>${sample('peer')} keeps an awaited write when the page is killed</li>
          <li>${sample('loses')} loses it <span aria-hidden="true">*</span></li>
          <li>${sample('reference')} written by hand, for reference</li>
        </ul>
        <label class="filter"><input type="checkbox" id="keeping" /> Only databases that keep an awaited write</label>
      </section>`;
}

function sample(kind) {
  return `<svg class="sample ${kind}" width="28" height="12" aria-hidden="true"><rect width="28" height="12" rx="2" /></svg>`;
}

function section({ title, note, workloads }, peers) {
  const id = title.toLowerCase().replaceAll(/[^a-z]+/g, '-');
  return `<section aria-labelledby="${id}">
        <h2 id="${id}">${text(title)}</h2>
        ${note ? `<p class="soft">${text(note)}</p>` : ''}
        <div class="charts">
${workloads.map((workload) => chart(workload, peers)).join('\n')}
        </div>
      </section>`;
}

/** One workload: a table, shortest bar first, what was not measured last. */
function chart({ metric, title, unit, bars }, peers) {
  const measured = bars.filter(({ missing }) => !missing).map((bar) => ({ ...bar, median: Math.max(bar.median, metric === 'size' ? 0 : CLOCK_STEP) }));
  if (measured.length === 0) return '';
  measured.sort((one, other) => one.median - other.median);
  const scale = scaleOf(measured);
  const rows = [...measured.map((bar) => barRow(bar, peers.get(bar.key), scale, unit)), ...bars.filter(({ missing }) => missing).map((bar) => missingRow(bar, peers.get(bar.key)))];
  return `<table class="chart ticks-${scale.ticks.length - 1}" data-workload="${metric}">
  <caption>${text(title)} <span class="soft">${unit}${scale.isLog ? ', logarithmic' : ''}</span>${standing(measured, peers)}</caption>
  <thead class="hidden"><tr><th scope="col">Database</th><th scope="col">Bar</th><th scope="col">Median in ${unit}</th></tr></thead>
  <tbody>
${rows.join('\n')}
  </tbody>
  <tfoot aria-hidden="true"><tr><td></td><td><svg class="axis" width="100%" height="16">${scale.ticks.map((tick) => tickLabel(tick, scale)).join('')}</svg></td><td></td></tr></tfoot>
</table>`;
}

/** Where the driver stands among the databases that were seen to keep what was awaited. */
function standing(measured, peers) {
  const durable = measured.filter(({ key }) => peers.get(key).kept.page && peers.get(key).role !== 'reference');
  const place = durable.findIndex(({ key }) => key === 'driver');
  if (place < 0 || durable.length < 2) return '';
  const lead = place === 0 ? `, ${factor(durable[1].median / durable[0].median)} ahead of the next` : '';
  return `<span class="standing">${ordinal(place + 1)} of ${durable.length} that keep writes${lead}</span>`;
}

function factor(ratio) {
  return `${ratio >= 10 ? Math.round(ratio) : ratio.toFixed(1)}×`;
}

function ordinal(place) {
  return `${place}${['th', 'st', 'nd', 'rd'][place % 10 < 4 && Math.floor(place / 10) !== 1 ? place % 10 : 0]}`;
}

function barRow({ key, median, min, max, p99 }, peer, scale, unit) {
  const at = (value) => percent(scale.at(value));
  const whisker = max > min ? `<g class="whisker"><line x1="${at(min)}" x2="${at(max)}" y1="8" y2="8" /><line x1="${at(min)}" x2="${at(min)}" y1="5" y2="11" /><line x1="${at(max)}" x2="${at(max)}" y1="5" y2="11" /></g>` : '';
  // Of single operations the slowest hundredth says more than how the repeats' medians differ, which the whisker shows.
  const spread = p99 === undefined ? (max > min ? `${number(min)} to ${number(max)}` : '') : `p99 ${number(p99)}`;
  return `    <tr data-peer="${key}" class="${kindOf(peer)}"><th scope="row">${name(peer)}</th><td class="bar"><svg width="100%" height="16" aria-hidden="true"><rect y="2" height="12" rx="2" width="${at(median)}" />${whisker}</svg></td>` +
    `<td class="value"><b>${number(median)}</b><span class="hidden"> ${unit}</span>${spread ? `<span class="spread"><span class="hidden">, </span>${spread}</span>` : ''}</td></tr>`;
}

function missingRow({ key, missing }, peer) {
  return `    <tr data-peer="${key}" class="missing ${peer.loses ? 'loses' : ''}"><th scope="row">${name(peer)}</th><td colspan="2" class="soft">${text(missing)}</td></tr>`;
}

function name({ label, loses }) {
  return `${text(label)}${loses ? ' <span class="star" title="loses an awaited write when the page is killed">*<span class="hidden"> loses an awaited write</span></span>' : ''}`;
}

function kindOf({ role, loses }) {
  return loses ? 'loses' : role;
}

/** From value to a part of the width, and the ticks, which are equally far from each other. */
function scaleOf(bars) {
  const values = bars.flatMap(({ median, min = median, max = median }) => [median, Math.max(min, CLOCK_STEP), max]);
  const least = Math.min(...bars.map(({ median }) => median));
  const most = Math.max(...values);
  if (most / least <= LINEAR_TO) {
    const step = niceStep(most / 4);
    const count = Math.ceil(most / step - 1e-9);
    const ticks = Array.from({ length: count + 1 }, (_, index) => index * step);
    return { isLog: false, ticks, at: (value) => value / (count * step) };
  }
  // A bar has to have some length: the axis begins below the shortest one.
  const from = Math.floor(Math.log10(least * 0.8));
  const to = Math.ceil(Math.log10(most) - 1e-9);
  const ticks = Array.from({ length: to - from + 1 }, (_, index) => 10 ** (from + index));
  return { isLog: true, ticks, at: (value) => Math.max(0, (Math.log10(Math.max(value, 10 ** from)) - from) / (to - from)) };
}

function niceStep(about) {
  const decade = 10 ** Math.floor(Math.log10(about));
  return decade * [1, 2, 2.5, 5, 10].find((step) => step * decade >= about * 0.999);
}

function tickLabel(tick, scale) {
  const place = scale.ticks.indexOf(tick);
  const part = place / (scale.ticks.length - 1);
  const anchor = part === 0 ? 'start' : part === 1 ? 'end' : 'middle';
  // On a phone there is no room for every label of many.
  const spare = scale.ticks.length > 4 && place % 2 === 1 ? ' class="spare"' : '';
  return `<text x="${percent(part)}" y="12" text-anchor="${anchor}"${spare}>${short(tick)}</text>`;
}

function syncSection(sync) {
  const rows = sync.map(({ metric, title, target, median, min, max, requests, bytes }) => {
    const whole = Math.max(target, max) * 1.05;
    const at = (value) => percent(value / whole);
    const line = max > min ? `<g class="whisker"><line x1="${at(min)}" x2="${at(max)}" y1="8" y2="8" /></g>` : '';
    return `    <tr data-sync="${metric}" class="driver"><th scope="row">${text(title)}</th><td class="bar"><svg width="100%" height="16" aria-hidden="true"><rect y="2" height="12" rx="2" width="${at(median)}" />${line}<line class="target" x1="${at(target)}" x2="${at(target)}" y1="0" y2="16" /></svg></td>` +
      `<td class="value"><b>${number(median)}</b><span class="spread"><span class="hidden">, </span>${number(min)} to ${number(max)}</span></td><td class="value">${number(target)}</td><td class="value">${requests.toLocaleString('en')}</td><td class="value">${(bytes / 2 ** 20).toFixed(1)}</td></tr>`;
  });
  return `<section aria-labelledby="sync">
        <h2 id="sync">Sync</h2>
        <p class="soft">The driver with its own server on the same machine, until every change is settled and on disk. The thin line is the target.</p>
        <table class="chart wide"><thead><tr><th scope="col">Work</th><th scope="col"><span class="hidden">Bar</span></th><th scope="col">Median, ms</th><th scope="col">Target</th><th scope="col">Requests</th><th scope="col">MB</th></tr></thead>
  <tbody>
${rows.join('\n')}
  </tbody></table>
      </section>`;
}

function peerSection(peers) {
  const fate = (isKept) => (isKept === null ? 'not tested' : isKept ? 'kept' : '<b class="lost">lost</b>');
  const rows = peers.map((peer) => `    <tr class="${kindOf(peer)}"><th scope="row">${text(peer.title)}</th><td>${text(peer.version ?? '')}</td><td>${text(peer.durability)}</td><td>${fate(peer.kept.page)}</td><td>${fate(peer.kept.browser)}</td><td>${text(peer.date)}</td></tr>`);
  return `<section aria-labelledby="databases">
        <h2 id="databases">Databases</h2>
        <p class="soft">A record is created and awaited, and the process is killed before the page runs again: is the record there afterwards?</p>
        <div class="scroll" tabindex="0" role="region" aria-labelledby="databases"><table class="databases"><thead><tr><th scope="col">Database</th><th scope="col">Version</th><th scope="col">An awaited write means</th><th scope="col">Page killed</th><th scope="col">Browser killed</th><th scope="col">Measured</th></tr></thead>
  <tbody>
${rows.join('\n')}
  </tbody></table></div>
        <p class="soft">Made from <code>bench/results.json</code> by <code>npm run build</code>; measured by <code>npm run bench:peers</code>. All numbers, and how they were measured, are in <code>docs/benchmarks.md</code>.</p>
      </section>`;
}

function percent(part) {
  return `${Number((100 * part).toFixed(2))}%`;
}

function short(tick) {
  if (tick >= 1e6) return `${tick / 1e6}M`;
  return tick >= 1000 ? `${tick / 1000}k` : String(Number(tick.toPrecision(3)));
}

function text(value) {
  return String(value).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
