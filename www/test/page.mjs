// The demo in a real Chromium, served by the real server from a new database for each test: what the tests of the demo share.
//
// Needs `www/dist` and the server's program (OBJECTQL_SYNC_SERVER, or the release build).
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, afterEach, before, beforeEach } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SERVER = process.env.OBJECTQL_SYNC_SERVER ?? join(ROOT, 'target/release/objectql-sync-server');
const CHROMIUM = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/google-chrome'].find((path) => existsSync(path));
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const WAIT_MS = 20_000;

/** The server and the page of the test that runs. */
export let server;
export let page;
export let context;
let browser;
let folder;

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

/** Starts the server that was stopped, on the same address and database. */
export async function startAgain() {
  server = await startServer(server.address);
}

/** Begins anew, before anything was written: with a server of other options, or with other object definitions, and a new profile. */
export async function beginWith({ options = [], changeObject = (text) => text, serviceWorkers = 'allow' }) {
  await context.close();
  await stopServer();
  const objects = join(folder, 'objects');
  await cp(join(ROOT, 'www/objects'), objects, { recursive: true });
  const story = join(objects, 'story.object.yml');
  await writeFile(story, changeObject(await readFile(story, 'utf8')));
  server = await startServer('127.0.0.1:0', ['--objects', objects, ...options]);
  ({ context, page } = await openProfile(serviceWorkers));
}

async function startServer(listen, options = ['--objects', join(ROOT, 'www/objects')]) {
  const args = ['--db', join(folder, 'demo.db'), '--static', join(ROOT, 'www/dist'), '--realtime', '--listen', listen, ...options];
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

export async function stopServer() {
  if (!server || server.child.exitCode !== null || server.child.signalCode !== null) return;
  const exit = once(server.child, 'exit');
  server.child.kill('SIGKILL');
  await exit;
}

/** A new browser profile with the demo open; an error on its console fails the test, except for requests that fail. */
export async function openProfile(serviceWorkers = 'allow') {
  const profile = await browser.newContext({ viewport: { width: 1280, height: 800 }, serviceWorkers });
  profile.setDefaultTimeout(WAIT_MS);
  const opened = await profile.newPage();
  opened.on('pageerror', (error) => assert.fail(`uncaught in the page: ${error.stack}`));
  await opened.goto(server.url);
  await opened.locator('[data-client=stories-a] .board').waitFor();
  return { context: profile, page: opened };
}

export function client(letter, on = page) {
  return on.locator(`[data-client=stories-${letter}]`);
}

export function networkSwitch(letter) {
  return client(letter).getByRole('switch');
}

export function cardIn(letter, column, title, on = page) {
  return client(letter, on).locator(`[data-column=${column}] [data-card]`).filter({ has: on.getByRole('heading', { name: title, exact: true }) });
}

export async function addStories(letter, column, titles) {
  await client(letter).locator(`[data-column=${column}] header button`).click();
  for (const title of titles) {
    await page.keyboard.type(title);
    await page.keyboard.press('Enter');
    await cardIn(letter, column, title).waitFor();
  }
  await page.keyboard.press('Escape');
}

export async function rename(letter, title, next) {
  await cardIn(letter, 'backlog', title).press('Enter');
  await page.keyboard.press('Control+A');
  await page.keyboard.type(next);
  await page.keyboard.press('Enter');
  // It is over when the card has the focus again: a key that is pressed before that may go anywhere.
  await cardIn(letter, 'backlog', next).and(page.locator(':focus')).waitFor();
}

/** Edits the title or the points of a story in the backlog, and waits until its card shows them and has the focus again. */
export async function edit(letter, title, fields) {
  await cardIn(letter, 'backlog', title).press('Enter');
  for (const [name, value] of Object.entries(fields)) await client(letter).locator(`.editor [name=${name}]`).fill(value);
  await page.keyboard.press('Enter');
  const card = cardIn(letter, 'backlog', fields.title ?? title);
  await card.and(page.locator(':focus')).waitFor();
  // The card has the focus before the write is in the log: what follows would take it for synced.
  if (fields.points) await card.locator('.points').getByText(fields.points, { exact: true }).waitFor();
}

export async function columnHolds(letter, column, titles, on = page) {
  const headings = client(letter, on).locator(`[data-column=${column}] [data-card] h4`);
  await eventually(`${column} of ${letter}`, () => headings.allTextContents(), titles);
}

export async function badgeShows(letter, count) {
  await client(letter).locator(`.badge[data-pending="${count}"]`).waitFor();
}

export async function drained(letter) {
  await client(letter).locator('.badge').waitFor({ state: 'detached' });
  await client(letter).locator('.pill.good').waitFor();
}

/** Waits until the service worker serves the page, as it does from the second load on. */
export async function shellIsKept() {
  await page.waitForFunction(() => navigator.serviceWorker.controller?.state === 'activated');
}

/** Opens a tab of a client's panel. */
export async function openTab(letter, name) {
  await client(letter).getByRole('tab', { name }).click();
}

export async function eventually(what, read, expected) {
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
