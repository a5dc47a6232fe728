// A real Chromium with its profile on disk, a real server process, and between them a proxy that serves the package and can
// lose, hold or replace the answers of the server.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { serverProgram } from './servers.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TYPES = { '.js': 'text/javascript', '.wasm': 'application/wasm', '.html': 'text/html' };
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** A folder for what is gone after the test. */
export function newFolder() {
  return mkdtempSync(join(tmpdir(), 'objectql-test-'));
}

export function removeFolder(folder) {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}

/** A browser on a profile folder; with `keepsPages` one that keeps pages in its back/forward cache, which Playwright turns off. */
export function launch(profile, { keepsPages = false } = {}) {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  const ignoreDefaultArgs = keepsPages ? ['--disable-back-forward-cache'] : [];
  return chromium.launchPersistentContext(profile, { executablePath, headless: true, args: FLAGS, ignoreDefaultArgs });
}

/** A new tab at a path, when its page says that it is ready; its uncaught errors are in `errors`. */
export async function openPage(context, origin, path = '/') {
  const tab = await context.newPage();
  tab.errors = [];
  tab.on('pageerror', (error) => tab.errors.push(error));
  await tab.goto(origin + path);
  await tab.waitForFunction(() => document.title === 'ready');
  return tab;
}

/** Loads a page anew. */
export async function reload(tab) {
  await tab.reload();
  await tab.waitForFunction(() => document.title === 'ready');
}

/** Ends the process of a tab: the page is told nothing. */
export async function crash(tab) {
  const session = await tab.context().newCDPSession(tab);
  const crashed = new Promise((resolve) => tab.once('crash', resolve));
  session.send('Page.crash').catch(() => {});
  await crashed;
}

/** The server process, on the same database file through every restart. */
export class SyncServer {
  #folder;
  #args;
  #child;
  port;

  constructor(folder, objects, args) {
    this.#folder = folder;
    this.#args = ['--db', join(folder, 'server.db'), '--objects', objects, '--listen', '127.0.0.1:0', ...args];
  }

  async start() {
    this.#child = spawn(serverProgram(), this.#args, { cwd: this.#folder, stdio: ['ignore', 'pipe', 'pipe'] });
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

  /** Ends the process and starts it again without its data. */
  async loseData() {
    await this.kill();
    for (const name of readdirSync(this.#folder)) if (name.startsWith('server.db')) rmSync(join(this.#folder, name));
    await this.start();
  }

  get pid() {
    return this.#child.pid;
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

  /** All changes after a checkpoint, and the checkpoint they lead to; without one, what leads to the live records. */
  async changesSince(lastCheckpoint = null) {
    const changes = [];
    for (;;) {
      const answer = await this.post({ clientId: 'test-reader', mutations: [], lastCheckpoint });
      changes.push(...answer.serverChanges);
      lastCheckpoint = answer.checkpoint;
      if (!answer.hasMore) return { changes, checkpoint: lastCheckpoint };
    }
  }

  /** All live records of an object, by id. */
  async records(object = 'story') {
    const { changes } = await this.changesSince();
    const records = new Map();
    for (const { objectName, recordId, operation, data } of changes) {
      if (objectName !== object) continue;
      if (operation === 'delete') records.delete(recordId);
      else records.set(recordId, { ...(operation === 'update' && records.get(recordId)), ...data });
    }
    return records;
  }
}

/** Serves the package and a blank page, and passes `/api/` on to the server, with whatever fault a test sets. */
export class Proxy {
  #http;
  #server;
  #sockets = new Set();
  /** Every request body that came, parsed. */
  requests = [];
  /** What happens to the next requests, one each: `(request, forward, headers) => answer | undefined`; undefined cuts the connection. */
  faults = [];
  /** What happens to every request for which there is no fault. */
  rule = (_request, forward) => forward();
  /** As long as it is set, every request is cut, and no WebSocket opened. */
  isDown = false;
  /** As long as it is set, what is said on a WebSocket does not arrive, in either direction. */
  isSwallowing = false;
  /** The WebSockets that are open, and how many there ever were. */
  webSockets = new Set();
  webSocketCount = 0;
  /** Further files: path to `{ headers, body }`. */
  files = new Map();
  /** What the wasm is held back for. */
  beforeWasm = Promise.resolve();
  origin;

  constructor(server) {
    this.#server = server;
    this.#http = createServer((incoming, outgoing) => {
      // On a connection of its own, or the browser would send a request that was cut again by itself.
      outgoing.shouldKeepAlive = false;
      this.#serve(incoming, outgoing).catch(() => incoming.socket.destroy());
    });
    this.#http.on('upgrade', (incoming, socket, head) => this.#upgrade(incoming, socket, head));
    this.#http.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  /** The batches that came: the mutations of each request that had some. */
  get batches() {
    return this.requests.map(({ mutations }) => mutations).filter((mutations) => mutations.length > 0);
  }

  async listen() {
    this.#http.listen(0, '127.0.0.1');
    await once(this.#http, 'listening');
    this.origin = `http://127.0.0.1:${this.#http.address().port}`;
  }

  /** Cuts the WebSockets that are open. */
  cutWebSockets() {
    for (const socket of this.webSockets) socket.destroy();
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
    const fault = this.isDown ? () => undefined : (this.faults.shift() ?? this.rule);
    const answer = await fault(parsed, () => this.#forward(incoming, body), incoming.headers);
    if (!answer) return incoming.socket.destroy();
    const { status = 200, headers, body: text = '', isCut = false, chunkBytes } = answer;
    if (chunkBytes) return this.#serveInChunks(outgoing, answer);
    outgoing.writeHead(status, { 'content-type': 'application/json', ...headers, ...(isCut && { 'content-length': 2 * text.length }) });
    if (!isCut) return outgoing.end(text);
    outgoing.write(text, () => incoming.socket.destroySoon());
  }

  #serveInChunks(outgoing, { status, headers: { 'content-length': _, ...headers }, body, chunkBytes }) {
    outgoing.writeHead(status, headers);
    for (let from = 0; from < body.length; from += chunkBytes) outgoing.write(body.subarray(from, from + chunkBytes));
    outgoing.end();
  }

  #upgrade({ url, rawHeaders }, socket, head) {
    if (this.isDown) return socket.destroy();
    const onward = connect(this.#server.port, '127.0.0.1');
    const pass = (from, to) => {
      from.on('data', (data) => this.isSwallowing || to.write(data));
      from.on('error', () => {});
      from.once('close', () => to.destroy());
    };
    this.webSockets.add(socket);
    this.webSocketCount += 1;
    socket.once('close', () => this.webSockets.delete(socket));
    pass(socket, onward);
    pass(onward, socket);
    const lines = [`GET ${url} HTTP/1.1`];
    for (let at = 0; at < rawHeaders.length; at += 2) lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
    onward.write(`${lines.join('\r\n')}\r\n\r\n`);
    onward.write(head);
  }

  #forward(incoming, body) {
    return new Promise((resolve, reject) => {
      const { method, headers, url } = incoming;
      const onward = request({ host: '127.0.0.1', port: this.#server.port, method, path: url, headers }, async (answer) => {
        const { 'transfer-encoding': _, connection: __, ...kept } = answer.headers;
        const whole = answer.toArray().then((parts) => ({ status: answer.statusCode, headers: kept, body: Buffer.concat(parts) }));
        whole.then(resolve, reject);
      });
      onward.on('error', reject);
      onward.end(body);
    });
  }

  async #serveFile(incoming, outgoing) {
    const path = incoming.url.split('?')[0];
    if (extname(path) === '.wasm') await this.beforeWasm;
    const file = this.files.get(path) ?? fileAt(path);
    if (!file) return outgoing.writeHead(404).end();
    outgoing.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'text/html', ...file.headers });
    outgoing.end(file.body);
  }
}

/** A blank page with the package and what tests use. */
export const PAGE = `<!doctype html><title>test</title><link rel="icon" href="data:,">
<script type="module">import '/page.js'; document.title = 'ready';</script>`;

function fileAt(path) {
  if (path === '/') return { body: PAGE };
  if (path === '/page.js') return { body: readFileSync(join(ROOT, 'tests/browser/page.js')) };
  if (!/^\/pkg\/(dist|wasm)\/[\w./-]+$/.test(path) || path.includes('..') || !existsSync(join(ROOT, path))) return undefined;
  return { body: readFileSync(join(ROOT, path)) };
}

/** A fault that gives the server's answer changed. */
export function altered(change) {
  return async (_request, forward) => {
    const answer = await forward();
    const { 'content-length': _, ...headers } = answer.headers;
    return { ...answer, headers, body: JSON.stringify(change(JSON.parse(answer.body))) };
  };
}

/** A fault that holds the server's answer back: `answered` is kept when the server gave it, `release` lets it go. */
export function held() {
  const { promise: released, resolve: release } = withResolvers();
  const { promise: answered, resolve: arrive } = withResolvers();
  const fault = async (request, forward) => {
    const answer = await forward();
    arrive(request);
    await released;
    return answer;
  };
  return { fault, answered, release };
}

function withResolvers() {
  let resolve;
  const promise = new Promise((fulfil) => { resolve = fulfil; });
  return { promise, resolve };
}

/** A push of another client that makes one story. */
export function elsewhere(recordId) {
  const clientId = `elsewhere-${recordId}`;
  const timestamp = new Date().toISOString();
  const millis = Date.now().toString(16).padStart(12, '0');
  const id = `${millis.slice(0, 8)}-${millis.slice(8)}-7000-8000-000000000001`;
  const data = { id: recordId, title: 'Theirs', created_at: timestamp, updated_at: timestamp };
  return { clientId, mutations: [{ id, objectName: 'story', recordId, operation: 'create', data, timestamp, clientId, sequence: 1, baseVersion: null }] };
}

/** A browser with its own profile on disk, so that it can be killed and started again. */
export class Browser {
  #context;
  #profile;
  #origin;
  #options;

  static async launch(profile, origin, options) {
    const browser = new Browser();
    browser.#profile = profile;
    browser.#origin = origin;
    browser.#options = options;
    browser.#context = await launch(profile, options);
    return browser;
  }

  get context() {
    return this.#context;
  }

  /** The folder of its profile. */
  get profile() {
    return this.#profile;
  }

  openTab() {
    return openPage(this.#context, this.#origin);
  }

  /** The process that runs a tab's page: Chromium does not tell, so the page is kept busy until one stands out. */
  async processOf(tab) {
    const session = await this.#context.browser().newBrowserCDPSession();
    const times = async () => {
      const { processInfo } = await session.send('SystemInfo.getProcessInfo');
      return new Map(processInfo.filter(({ type }) => type === 'renderer').map(({ id, cpuTime }) => [id, cpuTime]));
    };
    const before = await times();
    const pid = await until(async () => {
      await tab.evaluate(() => { for (const end = performance.now() + 100; performance.now() < end; ); });
      const used = [...(await times())].map(([id, time]) => [id, time - (before.get(id) ?? 0)]).sort(([, one], [, other]) => other - one);
      return used[0][1] > 0.1 + 3 * (used[1]?.[1] ?? 0) && used[0][0];
    }, 'a process that is busy with the page');
    await session.detach();
    return pid;
  }

  /** Ends all processes of the browser at once. */
  async kill() {
    for (const pid of processesOf(this.#profile)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        if (error.code !== 'ESRCH') throw error;
      }
    }
    await this.#context.close().catch(() => {});
  }

  /** Starts it again on the same profile. */
  async start() {
    this.#context = await launch(this.#profile, this.#options);
  }

  async close() {
    await this.#context.close().catch(() => {});
  }
}

/** The processes that were started with this profile folder: no others may be ended. */
export function processesOf(profile) {
  return processes().filter(({ command }) => command.includes(profile)).map(({ pid }) => pid);
}

function processes() {
  if (!existsSync('/proc/self/cmdline')) {
    const lines = execFileSync('ps', ['-axww', '-o', 'pid=,command='], { encoding: 'utf8', maxBuffer: 1 << 26 }).split('\n');
    return lines.map((line) => ({ pid: Number.parseInt(line, 10), command: line }));
  }
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      return [{ pid: Number(pid), command: readFileSync(`/proc/${pid}/cmdline`, 'utf8') }];
    } catch {
      return [];
    }
  });
}

/** Waits until `check` gives something true. */
export async function until(check, what, timeoutMs = 15_000) {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
