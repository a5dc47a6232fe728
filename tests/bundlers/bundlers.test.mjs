// The package as it is packed, installed in an app, bundled by what people use, and run under a strict Content-Security-Policy.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { BUNDLERS } from './bundlers.mjs';

const PACKAGE = fileURLToPath(new URL('../../pkg', import.meta.url));
const APP = fileURLToPath(new URL('app', import.meta.url));
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' };
/** All that an app needs whose endpoint is on its own origin. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

/** What an app needs besides whose driver is in a worker: a worker is made of a URL, which `require-trusted-types-for` wants a policy of the app's for. */
const WORKER_POLICY = POLICY.split('; ').filter((part) => !part.includes('trusted-types')).concat("worker-src 'self'").join('; ');

/** Where the app is, with the package in its `node_modules`. Nothing in it leads back to the repository. */
let folder;
let browser;

/** An origin that browsers do not hold for secure: it has no Web Locks, no `crypto.subtle` and no `crypto.randomUUID`. */
const INSECURE = 'app.example';

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'objectql-bundlers-'));
  npm('pack', PACKAGE, '--ignore-scripts', '--silent');
  cpSync(APP, folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n');
  const { version } = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8'));
  npm('install', '--prefer-offline', '--no-audit', '--no-fund', `./objectql-offline-${version}.tgz`);
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', `--host-resolver-rules=MAP ${INSECURE} 127.0.0.1`] });
});

after(async () => {
  await browser?.close();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

for (const [name, build] of Object.entries(BUNDLERS)) {
  test(`with ${name} the app works, and fetches its wasm once`, async (t) => {
    const out = join(folder, 'out', name);
    await build(folder, out);
    const { port, paths } = await serve(t, out);
    const { page, complaints, answers } = await open(t, `http://127.0.0.1:${port}`);
    assert.deepEqual([await page.title(), complaints], ['Kept', []]);
    const wasm = answers.filter((answer) => answer.url().endsWith('.wasm'));
    assert.deepEqual(wasm.map((answer) => [answer.status(), answer.headers()['content-type']]), [[200, 'application/wasm']]);
    assert.equal(paths.filter((path) => path.endsWith('.wasm')).length, 1);
  });
}

for (const [name, build] of Object.entries(BUNDLERS)) {
  test(`with ${name} the app works with its driver in a worker, dedicated or shared`, async (t) => {
    const out = join(folder, 'out', `${name}, worker`);
    await build(folder, out);
    const { port, paths } = await serve(t, out, WORKER_POLICY);
    for (const worker of ['dedicated', 'shared']) {
      const { page, complaints } = await open(t, `http://127.0.0.1:${port}/#${worker}`);
      assert.deepEqual([await page.title(), complaints], ['Kept', []], worker);
      assert.equal(page.workers().length, worker === 'dedicated' ? 1 : 0);
      await page.context().close();
    }
    assert.equal(paths.filter((path) => path.endsWith('.wasm')).length, 2);
  });
}

test('a page that is not served securely works, too, and so does its worker', async (t) => {
  const out = join(folder, 'out', 'insecure');
  await BUNDLERS['a plain page'](folder, out);
  const { port } = await serve(t, out, WORKER_POLICY);
  for (const worker of ['', 'dedicated', 'shared']) {
    const { page, complaints } = await open(t, `http://${INSECURE}:${port}/#${worker}`);
    assert.deepEqual(await page.evaluate(() => [isSecureContext, navigator.locks]), [false, undefined]);
    assert.deepEqual([await page.title(), complaints], ['Kept', []], worker);
    await page.context().close();
  }
});

test('in Node.js the app works in memory, by the name of the package', () => {
  assert.equal(execFileSync(process.execPath, ['node.js'], { cwd: folder, encoding: 'utf8', timeout: 30_000 }), 'Kept\n');
});

/** A page when it has shown something, what the browser complained of, and all answers. */
async function open(t, origin) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  // What the policy forbids is told here; and that a wasm came with another type than its own.
  page.on('console', (message) => complaints.push(message.text()));
  const answers = [];
  page.on('response', (response) => answers.push(response));
  await page.goto(origin);
  await page.waitForFunction(() => document.title !== '');
  return { page, complaints, answers };
}

/** Serves a folder under the policy; `paths` are those that were asked for. */
async function serve(t, root, policy = POLICY) {
  const paths = [];
  const server = createServer((request, response) => {
    const path = new URL(request.url, 'http://localhost').pathname;
    paths.push(path);
    const file = join(root, path === '/' ? 'index.html' : path);
    const type = TYPES[extname(file)];
    if (type === undefined || !existsSync(file)) return response.writeHead(404).end();
    response.writeHead(200, { 'content-type': type, 'content-security-policy': policy }).end(readFileSync(file));
  });
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: server.address().port, paths };
}

function npm(...args) {
  const { npm_execpath: path } = process.env;
  const [command, ...first] = path ? [process.execPath, path] : ['npm'];
  execFileSync(command, [...first, ...args], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
}
