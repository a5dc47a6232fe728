// What the browser tests stand on: a real Chromium with a profile on disk, a real server process, and between them a proxy
// that serves the package and can lose, hold or replace the answers of the server.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const OBJECTS = join(ROOT, 'tests/browser/objects');
const TYPES = { '.js': 'text/javascript', '.wasm': 'application/wasm', '.html': 'text/html' };
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** Everything one test needs; closed when the test ends, however it ends. */
export async function world(t, { objects = OBJECTS, serverArgs = [] } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'objectql-test-'));
  const closers = [() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 })];
  t.after(async () => {
    for (const close of closers.reverse()) await close();
  });
  const server = new SyncServer(folder, objects, serverArgs);
  closers.push(() => server.kill());
  await server.start();
  const proxy = new Proxy(server);
  closers.push(() => proxy.close());
  await proxy.listen();
  const openBrowser = async (name = 'profile') => {
    const browser = await Browser.launch(join(folder, name), proxy.origin);
    closers.push(() => browser.close());
    return browser;
  };
  return { folder, server, proxy, openBrowser, browser: await openBrowser() };
}

/** The server process, on the same database file through every restart. */
class SyncServer {
  #folder;
  #args;
  #child;
  port;

  constructor(folder, objects, args) {
    this.#folder = folder;
    this.#args = ['--db', join(folder, 'server.db'), '--objects', objects, '--listen', '127.0.0.1:0', ...args];
  }

  async start() {
    const program = process.env.OBJECTQL_SYNC_SERVER;
    if (!program) throw new Error('OBJECTQL_SYNC_SERVER must name the server program: run `npm test -- browser`');
    this.#child = spawn(program, this.#args, { cwd: this.#folder, stdio: ['ignore', 'pipe', 'pipe'] });
    const lines = createInterface(this.#child.stdout);
    const errors = [];
    this.#child.stderr.on('data', (data) => errors.push(data));
    const ended = once(this.#child, 'exit').then(([code]) => {
      throw new Error(`the server ended with ${code}: ${Buffer.concat(errors)}`);
    });
    ended.catch(() => {});
    const listening = (async () => {
      for await (const line of lines) {
        const port = /listening on http:\/\/[^:]+:(\d+)/.exec(line)?.[1];
        if (port) return Number(port);
      }
      throw new Error('the server did not say where it listens');
    })();
    this.port = await Promise.race([listening, ended]);
    lines.on('line', () => {});
  }

  /** Ends the process at once, as a power cut does. */
  async kill() {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  /** One request, as any client could make it. */
  async post(body) {
    const response = await fetch(`http://127.0.0.1:${this.port}/api/sync`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return response.json();
  }

  /** All live records, by object and id. */
  async records() {
    const records = new Map();
    let lastCheckpoint = null;
    for (;;) {
      const answer = await this.post({ clientId: 'test-reader', mutations: [], lastCheckpoint });
      for (const { objectName, recordId, operation, data } of answer.serverChanges) {
        const key = `${objectName}/${JSON.stringify(recordId)}`;
        if (operation === 'delete') records.delete(key);
        else records.set(key, { ...records.get(key), ...data });
      }
      lastCheckpoint = answer.checkpoint;
      if (!answer.hasMore) return records;
    }
  }
}

/** Serves the package and a blank page, and passes `/api/` on to the server, with whatever fault a test sets. */
class Proxy {
  #http;
  #server;
  #sockets = new Set();
  /** Every request body that came, parsed. */
  requests = [];
  /** What happens to the next requests, one each: `(request, forward) => answer | undefined`; undefined cuts the connection. */
  faults = [];
  /** As long as it is set, every request is cut. */
  isDown = false;
  origin;

  constructor(server) {
    this.#server = server;
    this.#http = createServer((incoming, outgoing) => {
      this.#serve(incoming, outgoing).catch(() => incoming.socket.destroy());
    });
    this.#http.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  async listen() {
    this.#http.listen(0, '127.0.0.1');
    await once(this.#http, 'listening');
    this.origin = `http://127.0.0.1:${this.#http.address().port}`;
  }

  async close() {
    for (const socket of this.#sockets) socket.destroy();
    this.#http.close();
    await once(this.#http, 'close');
  }

  async #serve(incoming, outgoing) {
    if (!incoming.url.startsWith('/api/')) return this.#serveFile(incoming, outgoing);
    const body = Buffer.concat(await incoming.toArray());
    const parsed = JSON.parse(body);
    this.requests.push(parsed);
    const fault = this.isDown ? () => undefined : this.faults.shift();
    const forward = () => this.#forward(incoming, body);
    const answer = fault ? await fault(parsed, forward) : await forward();
    if (!answer) return incoming.socket.destroy();
    outgoing.writeHead(answer.status ?? 200, { 'content-type': 'application/json', ...answer.headers });
    outgoing.end(answer.body);
  }

  #forward(incoming, body) {
    return new Promise((resolve, reject) => {
      const { method, headers, url } = incoming;
      const onward = request({ host: '127.0.0.1', port: this.#server.port, method, path: url, headers }, async (answer) => {
        const { 'transfer-encoding': _, ...kept } = answer.headers;
        resolve({ status: answer.statusCode, headers: kept, body: Buffer.concat(await answer.toArray()) });
      });
      onward.on('error', reject);
      onward.end(body);
    });
  }

  #serveFile(incoming, outgoing) {
    const path = incoming.url.split('?')[0];
    if (path === '/') return outgoing.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>test</title>');
    if (!/^\/pkg\/(dist|wasm)\/[\w./-]+$/.test(path) || path.includes('..')) return outgoing.writeHead(404).end();
    outgoing.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'text/plain' });
    outgoing.end(readFileSync(join(ROOT, path)));
  }
}

/** A browser with its own profile on disk, so that it can be killed and started again. */
class Browser {
  #context;
  #profile;
  #origin;

  static async launch(profile, origin) {
    const browser = new Browser();
    browser.#profile = profile;
    browser.#origin = origin;
    browser.#context = await chromium.launchPersistentContext(profile, {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      headless: true,
      args: FLAGS,
    });
    return browser;
  }

  /** A new tab with the blank page and the package loaded as `objectql`. */
  async openTab() {
    const tab = await this.#context.newPage();
    tab.errors = [];
    tab.on('pageerror', (error) => tab.errors.push(error));
    await loadPackage(tab, this.#origin);
    return tab;
  }

  async reload(tab) {
    await loadPackage(tab, this.#origin);
  }

  /** Ends all processes of the browser at once. */
  async kill() {
    const profile = this.#profile;
    const pids = processesOf(profile);
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        if (error.code !== 'ESRCH') throw error;
      }
    }
    await this.#context.close().catch(() => {});
  }

  async close() {
    await this.#context.close().catch(() => {});
  }
}

/** The processes that were started with this profile folder: no others may be ended. */
function processesOf(profile) {
  const { readdirSync } = process.getBuiltinModule('node:fs');
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(profile);
    } catch {
      return false;
    }
  });
}

async function loadPackage(tab, origin) {
  await tab.goto(origin);
  await tab.evaluate(async () => {
    window.objectql = await import('/pkg/dist/index.js');
    const field = (type) => ({ type });
    const sync = { enabled: true, debounce_ms: 100 };
    window.objects = [
      { name: 'story', fields: { title: field('text'), status: { type: 'select', options: ['open', 'doing', 'done'] }, points: field('number'), notes: field('json') }, sync },
      { name: 'task', fields: { title: field('text'), story: { type: 'lookup', reference_to: 'story' } }, sync },
    ];
    window.open_ = (options = {}) =>
      window.objectql.openDatabase({ name: 'test', objects: window.objects, ...options, sync: { url: '/api/sync', auto: false, ...options.sync } });
  });
}

/** Waits until `check` gives something true; fails with what it gave last. */
export async function until(check, what, timeoutMs = 15_000) {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
