// The demo as a person meets it. Every step goes through the page; what is asked of the server is that other clients get what
// was written.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  addStories,
  badgeShows,
  cardIn,
  client,
  columnHolds,
  context,
  drained,
  networkSwitch,
  openProfile,
  page,
  rename,
  shellIsKept,
  startAgain,
  stopServer,
} from './page.mjs';

test('stories written offline are counted, survive a reload without a server, and reach another device', async () => {
  await shellIsKept();
  await networkSwitch('a').click();
  await addStories('a', 'backlog', ['First in the tunnel', 'Second in the tunnel', 'Third in the tunnel']);
  await badgeShows('a', 3);
  await cardIn('a', 'backlog', 'Second in the tunnel').locator('.pending').waitFor();

  await stopServer();
  await page.reload();
  await columnHolds('a', 'backlog', ['First in the tunnel', 'Second in the tunnel', 'Third in the tunnel']);
  await badgeShows('a', 3);
  assert.equal(await page.locator('[data-client=stories-a]').getAttribute('data-network'), 'off', 'the switch survives the reload');

  await startAgain();
  await networkSwitch('a').click();
  await drained('a');

  const other = await openProfile();
  await columnHolds('a', 'backlog', ['First in the tunnel', 'Second in the tunnel', 'Third in the tunnel'], other.page);
  await other.context.close();
});

test('what is lost when the data of the site are cleared is said, and the board goes on', async () => {
  await addStories('a', 'backlog', ['Kept on the server']);
  await drained('a');
  await networkSwitch('a').click();
  await addStories('a', 'backlog', ['Written in the tunnel']);
  await badgeShows('a', 1);
  const session = await context.newCDPSession(page);
  await session.send('Storage.clearDataForOrigin', { origin: new URL(page.url()).origin, storageTypes: 'indexeddb' });
  // Looking at the page again has the driver look at its data.
  await page.evaluate(() => window.dispatchEvent(new Event('focus')));
  await client('a').getByText('The data of this site were cleared. 1 change that had not reached the server is lost.').waitFor();
  await networkSwitch('a').click();
  await columnHolds('a', 'backlog', ['Kept on the server']);
  await addStories('a', 'backlog', ['Written since']);
  await drained('a');
});

test('what was done last is taken back and made again, over a reload, and reaches another device', async () => {
  const undo = () => client('a').getByRole('button', { name: 'Undo the last change' });
  const redo = () => client('a').getByRole('button', { name: 'Redo the last change' });
  assert.equal(await undo().isDisabled(), true);
  await addStories('a', 'backlog', ['Kept', 'Taken back']);
  await undo().click();
  await columnHolds('a', 'backlog', ['Kept']);
  await redo().click();
  await columnHolds('a', 'backlog', ['Kept', 'Taken back']);
  await page.reload();
  await columnHolds('a', 'backlog', ['Kept', 'Taken back']);
  await cardIn('a', 'backlog', 'Kept').focus();
  await page.keyboard.press('Control+z');
  await columnHolds('a', 'backlog', ['Kept']);
  await drained('a');
  const other = await openProfile();
  await columnHolds('a', 'backlog', ['Kept'], other.page);
  await other.context.close();
});

test('a second client sees the changes of the first, and keeps its own while it is offline', async () => {
  await client('a').getByRole('button', { name: 'Seed 12 stories' }).click();
  await drained('a');
  await page.getByRole('button', { name: 'Second client' }).click();
  await columnHolds('b', 'done', ['Reload with the server switched off', 'Two tabs, one log', 'Send each change exactly once']);

  await networkSwitch('b').click();
  await addStories('b', 'review', ['Written by B']);
  await badgeShows('b', 1);
  assert.equal(await cardIn('a', 'review', 'Written by B').count(), 0);

  await networkSwitch('b').click();
  await cardIn('a', 'review', 'Written by B').waitFor();
  await drained('b');
});

test('two names for one story wait for a decision, and a change of a deleted story is shown', async () => {
  await addStories('a', 'backlog', ['Printer', 'Scanner']);
  await drained('a');
  await page.getByRole('button', { name: 'Second client' }).click();
  await columnHolds('b', 'backlog', ['Printer', 'Scanner']);
  await networkSwitch('b').click();
  await rename('b', 'Printer', 'Printer of B');
  await rename('b', 'Scanner', 'Scanner of B');
  await rename('a', 'Printer', 'Printer of A');
  await cardIn('a', 'backlog', 'Scanner').press('Delete');
  await columnHolds('a', 'backlog', ['Printer of A']);
  await drained('a');

  await networkSwitch('b').click();
  await client('b').getByRole('button', { name: 'Keep mine' }).click();
  await columnHolds('a', 'backlog', ['Printer of B']);
  await client('b').getByText('the record was deleted').waitFor();
  await client('b').getByRole('button', { name: 'Discard' }).click();
  await columnHolds('b', 'backlog', ['Printer of B']);
  await drained('b');
});

test('on a wide screen the log stands beside the board, over its whole height', async () => {
  await page.setViewportSize({ width: 1280, height: 800 });
  const boxOf = (selector) => page.locator(`[data-client=stories-a] ${selector}`).first().boundingBox();
  const [board, panel] = [await boxOf('.board'), await boxOf('.panel')];
  assert.ok(panel.x >= board.x + board.width - 1, `the board ends at ${board.x + board.width}, the panel begins at ${panel.x}`);
  assert.ok(panel.height >= board.height, `the panel is ${panel.height} high, the board ${board.height}`);
});

test('a card that got the focus while a form closed keeps it', async () => {
  await addStories('a', 'backlog', ['Edited', 'Next']);
  await cardIn('a', 'backlog', 'Edited').press('Enter');
  const next = await cardIn('a', 'backlog', 'Next').getAttribute('data-card');
  // In one turn, as when the next key comes before the next frame: the form closes, which gives the focus back a frame later.
  const focused = await page.evaluate(async (id) => {
    document.querySelector('.editor').requestSubmit();
    document.querySelector(`[data-card="${id}"]`).focus();
    for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
    return document.activeElement.dataset.card;
  }, next);
  assert.equal(focused, next);
});

test('a card is moved, edited, deleted and brought back with keys alone', async () => {
  await addStories('a', 'backlog', ['Upper', 'Lower']);
  await cardIn('a', 'backlog', 'Upper').focus();

  await page.keyboard.press('Alt+ArrowDown');
  await columnHolds('a', 'backlog', ['Lower', 'Upper']);
  await cardIn('a', 'backlog', 'Upper').and(page.locator(':focus')).waitFor();
  await page.keyboard.press('Alt+ArrowRight');
  await columnHolds('a', 'in_progress', ['Upper']);
  await cardIn('a', 'in_progress', 'Upper').and(page.locator(':focus')).waitFor();

  await page.keyboard.press('Enter');
  await page.keyboard.press('Control+A');
  await page.keyboard.type('Edited');
  await page.keyboard.press('Enter');
  await columnHolds('a', 'in_progress', ['Edited']);
  await cardIn('a', 'in_progress', 'Edited').and(page.locator(':focus')).waitFor();

  await page.keyboard.press('Delete');
  await columnHolds('a', 'in_progress', []);
  await client('a').getByRole('button', { name: 'Undo', exact: true }).press('Enter');
  await columnHolds('a', 'in_progress', ['Edited']);
  await drained('a');
  await page.reload();
  await columnHolds('a', 'in_progress', ['Edited']);
  await columnHolds('a', 'backlog', ['Lower']);
});

test('a card is dragged to another column with the mouse', async () => {
  await addStories('a', 'backlog', ['Dragged']);
  const from = await cardIn('a', 'backlog', 'Dragged').boundingBox();
  const to = await client('a').locator('[data-column=review] [data-cards]').boundingBox();
  await page.mouse.move(from.x + 40, from.y + 20);
  await page.mouse.down();
  await page.mouse.move(from.x + 60, from.y + 40, { steps: 3 });
  await page.mouse.move(to.x + 60, to.y + 60, { steps: 10 });
  await client('a').locator('[data-column=review] .slot').waitFor();
  await page.mouse.up();
  await columnHolds('a', 'review', ['Dragged']);
  await columnHolds('a', 'backlog', []);
  assert.equal(await client('a').locator('.editor').count(), 0, 'dropping is no click');
});

test('a new version of the shell takes over on the next load', async () => {
  await shellIsKept();
  const first = await page.evaluate(async () => (await caches.keys()).filter((name) => name.startsWith('shell-')));
  assert.equal(first.length, 1);
  await context.route('**/sw.js', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: (await response.text()).replace(/VERSION = '\w+'/, "VERSION = 'next'") });
  });
  await page.evaluate(async () => void (await (await navigator.serviceWorker.ready).update()));
  await page.waitForFunction(async () => (await caches.keys()).includes('shell-next'));
  await page.reload();
  await client('a').locator('.board').waitFor();
});
