// The timeline of syncs: what went, what came, what the server said, and what failed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addStories, beginWith, cardIn, client, drained, eventually, networkSwitch, openTab, page, startAgain, stopServer } from './page.mjs';

test('a sync of several requests shows how far it is, and then what it came to', async () => {
  // Without a service worker, because requests of a page that has one cannot be held back.
  await beginWith({ options: ['--max-mutations', '5'], serviceWorkers: 'block' });
  await openTab('a', 'Syncs');
  // Every connection begins with a pull: one that still ran would be the first request of the sync that is looked at.
  await client('a').locator('.sync').first().waitFor();
  await client('a').locator('.wire[data-realtime=true]').waitFor();
  await client('a').locator('.sync[data-sync=running]').waitFor({ state: 'detached' });
  let release;
  const released = new Promise((resolve) => (release = resolve));
  let pushes = 0;
  await page.route('**/api/sync', async (route) => {
    const { mutations } = route.request().postDataJSON();
    if (mutations.length > 0 && ++pushes === 2) await released;
    await route.continue();
  });
  await client('a').getByRole('button', { name: 'Seed 12 stories' }).click();
  const bar = client('a').getByRole('progressbar');
  await client('a').locator('[role=progressbar][aria-valuenow="5"][aria-valuemax="12"]').waitFor({ state: 'attached' });
  await client('a').locator('.sync[data-sync=running][data-pushed="5"]').waitFor();
  release();

  await bar.waitFor({ state: 'detached' });
  const sync = client('a').locator('.sync[data-sync=done][data-pushed="12"][data-pulled="12"]');
  await sync.getByText('12 applied').waitFor();
  assert.equal(await sync.getAttribute('data-requests'), '3');
  await sync.locator('summary').press('Enter');
  const sent = () => sync.locator('.request').evaluateAll((requests) => requests.map((each) => each.querySelector('.traffic').title));
  await eventually('mutations of each request', sent, ['5 pushed', '5 pushed', '2 pushed']);
  assert.match(await sync.locator('.sync-cost').first().innerText(), /^\d+(\.\d)? k?B · \d+(\.\d)? m?s$/);
});

test('a sync that fails says why and what is kept, and the one that gets through what became of it', async () => {
  await openTab('a', 'Syncs');
  await networkSwitch('a').click();
  await addStories('a', 'backlog', ['In the tunnel']);
  await client('a').locator('.wire').getByText('switched off').waitFor();
  const failed = client('a').locator('.sync[data-sync=failed]').first();
  await failed.getByText('failed, 1 change kept').waitFor();
  await failed.locator('.sync-error').getByText('NETWORK').waitFor();

  await networkSwitch('a').click();
  await client('a').locator('.sync[data-sync=done][data-pushed="1"]').getByText('1 applied').waitFor();
  await drained('a');
});

test('realtime is shown as it comes and goes, and changes of one client reach the other by it', async () => {
  await openTab('a', 'Syncs');
  await client('a').locator('.wire[data-realtime=true]').waitFor();
  await page.getByRole('button', { name: 'Second client' }).click();
  await openTab('b', 'Syncs');
  await client('b').locator('.wire[data-realtime=true]').waitFor();
  await addStories('a', 'backlog', ['Rung for']);
  await cardIn('b', 'backlog', 'Rung for').waitFor();
  await client('b').locator('.sync[data-sync=done][data-pushed="0"][data-pulled="1"]').waitFor();

  await stopServer();
  await client('b').locator('.wire[data-realtime=false]').waitFor();
  await startAgain();
  await client('b').locator('.wire[data-realtime=true]').waitFor();
});
