// The page of charts, as the server serves it, under a policy stricter than the one the README asks for.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { GROUPS, keepsWrites } from '../../bench/summary.mjs';
import { beginWith, context, page, server } from './page.mjs';

const POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'";
const results = JSON.parse(await readFile(new URL('../../bench/results.json', import.meta.url), 'utf8'));
const peers = Object.entries(results.peers);

/** Opens the page; what its console says is in the list that comes back. */
async function openCharts() {
  // Requests of a page that has a service worker cannot be given a header.
  await beginWith({ serviceWorkers: 'block' });
  await context.route('**/benchmarks.html', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, headers: { ...response.headers(), 'content-security-policy': POLICY } });
  });
  const said = [];
  page.on('console', (message) => said.push(`${message.type()}: ${message.text()}`));
  await page.goto(`${server.url}/benchmarks.html`);
  await page.getByRole('heading', { name: 'Benchmarks' }).waitFor();
  return said;
}

test('every workload has a bar with its value for each database that was measured, and a reason for each that was not', async () => {
  const said = await openCharts();
  const measured = new Set(peers.flatMap(([, { samples, size }]) => [...Object.keys(samples), ...(size ? ['size'] : [])]));
  for (const { metric } of GROUPS.flatMap(({ workloads }) => workloads)) {
    if (!measured.has(metric)) continue;
    const rows = page.locator(`[data-workload=${metric}] tbody tr`);
    const shown = await rows.evaluateAll((all) => all.map((row) => ({
      key: row.dataset.peer,
      width: row.querySelector('rect')?.getBoundingClientRect().width ?? 0,
      value: row.querySelector('.value b')?.textContent ?? '',
      reason: row.matches('.missing') ? row.querySelector('td').textContent : '',
    })));
    assert.deepEqual(shown.map(({ key }) => key).sort(), peers.map(([key]) => key).sort(), metric);
    for (const { key, width, value, reason } of shown) {
      const { samples, size } = results.peers[key];
      const isDrawn = width > 0 && /^[\d,.]+$/.test(value);
      assert.ok(isDrawn || reason !== '', `${metric} of ${key}: neither a bar nor a reason`);
      if (!(metric === 'size' ? size : samples[metric])) assert.notEqual(reason, '', `${metric} of ${key}: a bar without a measurement`);
    }
  }
  assert.deepEqual(said, []);
});

test('databases that lose an awaited write are marked in words, and can be left out', async () => {
  await openCharts();
  const rows = page.locator('[data-workload=create] tbody tr');
  const marked = await rows.evaluateAll((all) => all.filter((row) => row.textContent.includes('loses an awaited write')).map((row) => row.dataset.peer));
  assert.deepEqual(marked.sort(), peers.filter(([, peer]) => !keepsWrites(peer)).map(([key]) => key).sort());
  await page.getByLabel('Only databases that keep an awaited write').check();
  const visible = await rows.evaluateAll((all) => all.filter((row) => row.checkVisibility()).map((row) => row.dataset.peer));
  assert.deepEqual(visible.sort(), peers.filter(([, peer]) => keepsWrites(peer)).map(([key]) => key).sort());
});

test('on a phone nothing of the page is wider than the screen', async () => {
  await openCharts();
  await page.setViewportSize({ width: 360, height: 780 });
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
  const cut = await page.locator('.chart').evaluateAll((charts) => charts.filter((chart) => chart.scrollWidth > chart.clientWidth).map((chart) => chart.dataset.workload));
  assert.deepEqual(cut, []);
});
