// The demo as a person meets it: the built app in a real Chromium, served by the real server from a new database. Every
// step goes through the page; what is asked of the server is that other clients get what was written.
//
// Needs `www/dist` and the server's program (OBJECTQL_SYNC_SERVER, or the release build).
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, beforeEach, afterEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SERVER = process.env.OBJECTQL_SYNC_SERVER ?? join(ROOT, 'target/release/objectql-sync-server');
const CHROMIUM = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/google-chrome'].find((path) => existsSync(path));
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const WAIT_MS = 20_000;

let browser;
let folder;
let server;
let context;
let page;

before(async () => {
  browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
});
after(() => browser?.close());

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'objectql-demo-'));
  server = await startServer('127.0.0.1:0');
  ({ context, page } = await openProfile());
});
afterEach(async () => {
  await context?.close();
  await stopServer();
  await rm(folder, { recursive: true, force: true });
});

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

  server = await startServer(server.address);
  await networkSwitch('a').click();
  await drained('a');

  const other = await openProfile();
  await columnHolds('a', 'backlog', ['First in the tunnel', 'Second in the tunnel', 'Third in the tunnel'], other.page);
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
  await drained('a');

  await networkSwitch('b').click();
  await client('b').getByRole('button', { name: 'Keep mine' }).click();
  await columnHolds('a', 'backlog', ['Printer of B']);
  await client('b').getByText('the record was deleted').waitFor();
  await client('b').getByRole('button', { name: 'Discard' }).click();
  await columnHolds('b', 'backlog', ['Printer of B']);
  await drained('b');
});

test('a card is moved, edited, deleted and brought back with keys alone', async () => {
  await addStories('a', 'backlog', ['Upper', 'Lower']);
  await cardIn('a', 'backlog', 'Upper').focus();

  await page.keyboard.press('Alt+ArrowDown');
  await columnHolds('a', 'backlog', ['Lower', 'Upper']);
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
  await client('a').getByRole('button', { name: 'Undo' }).press('Enter');
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

async function startServer(listen) {
  const args = ['--db', join(folder, 'demo.db'), '--objects', join(ROOT, 'www/objects'), '--static', join(ROOT, 'www/dist'), '--realtime', '--listen', listen];
  const child = spawn(SERVER, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  child.stderr.on('data', (data) => (log += data));
  child.once('error', (error) => (log += error.message));
  for await (const line of createInterface({ input: child.stdout })) {
    const url = line.match(/http:\/\/\S+/)?.[0];
    if (url) return { child, url, address: new URL(url).host };
  }
  throw new Error(`the server ${SERVER} did not start: ${log}`);
}

async function stopServer() {
  if (!server || server.child.exitCode !== null || server.child.signalCode !== null) return;
  const exit = once(server.child, 'exit');
  server.child.kill('SIGKILL');
  await exit;
}

/** A new browser profile with the demo open; an error on its console fails the test, except for requests that fail. */
async function openProfile() {
  const profile = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  profile.setDefaultTimeout(WAIT_MS);
  const opened = await profile.newPage();
  opened.on('pageerror', (error) => assert.fail(`uncaught in the page: ${error.stack}`));
  await opened.goto(server.url);
  await opened.locator('[data-client=stories-a] .board').waitFor();
  return { context: profile, page: opened };
}

function client(letter, on = page) {
  return on.locator(`[data-client=stories-${letter}]`);
}

function networkSwitch(letter) {
  return client(letter).getByRole('switch');
}

function cardIn(letter, column, title, on = page) {
  return client(letter, on).locator(`[data-column=${column}] [data-card]`).filter({ has: on.getByRole('heading', { name: title, exact: true }) });
}

async function addStories(letter, column, titles) {
  await client(letter).locator(`[data-column=${column}] header button`).click();
  for (const title of titles) {
    await page.keyboard.type(title);
    await page.keyboard.press('Enter');
    await cardIn(letter, column, title).waitFor();
  }
  await page.keyboard.press('Escape');
}

async function rename(letter, title, next) {
  await cardIn(letter, 'backlog', title).press('Enter');
  await page.keyboard.press('Control+A');
  await page.keyboard.type(next);
  await page.keyboard.press('Enter');
  await cardIn(letter, 'backlog', next).waitFor();
}

async function columnHolds(letter, column, titles, on = page) {
  const headings = client(letter, on).locator(`[data-column=${column}] [data-card] h4`);
  await eventually(`${column} of ${letter}`, () => headings.allTextContents(), titles);
}

async function badgeShows(letter, count) {
  await client(letter).locator(`.badge[data-pending="${count}"]`).waitFor();
}

async function drained(letter) {
  await client(letter).locator('.badge').waitFor({ state: 'detached' });
  await client(letter).locator('.pill.good').waitFor();
}

/** Waits until the service worker serves the page, as it does from the second load on. */
async function shellIsKept() {
  await page.waitForFunction(() => navigator.serviceWorker.controller?.state === 'activated');
}

async function eventually(what, read, expected) {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const actual = await read();
    try {
      assert.deepEqual(actual, expected, what);
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
