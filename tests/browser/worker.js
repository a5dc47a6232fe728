// What every test worker has besides the package, whatever kind of worker it is: it does what it is sent.
import * as objectql from '/pkg/dist/index.js';

self.objectql = objectql;
/** This worker, among others of the same script. */
self.born = crypto.randomUUID();
/** What went wrong without anybody hearing of it. */
self.errors = [];
self.addEventListener('error', ({ message }) => errors.push(message));
self.addEventListener('unhandledrejection', ({ reason }) => errors.push(String(reason)));

/** Opens the test's database, as in `page.js`. */
self.openDb = (objects, sync) => objectql.openDatabase({ name: 'test', objects, sync: { url: '/api/sync', auto: false, ...sync } });

/** Waits until `check` gives something true. */
self.until = async (check, what, timeoutMs = 15_000) => {
  for (const end = performance.now() + timeoutMs; ; ) {
    const value = await check();
    if (value) return value;
    if (performance.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms; the status is ${JSON.stringify(self.db?.status)}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

/** Runs a function that came as text, with its argument, and answers on the port that came along. */
const run = async ({ data: [task, argument], ports: [port] }) => {
  try {
    port.postMessage({ value: await (0, eval)(`(${task})`)(argument) });
  } catch (error) {
    port.postMessage({ error: `${error.code ?? ''} ${error.stack}` });
  }
};

// A dedicated worker and a service worker get messages themselves, a shared one on a port for each page.
self.onmessage = (event) => {
  const done = run(event);
  event.waitUntil?.(done);
};
self.onconnect = ({ ports: [port] }) => { port.onmessage = run; };

// A service worker begins at once, also with pages that are there, and syncs when it is asked to: by a page or by the browser.
self.oninstall = () => skipWaiting();
self.onactivate = (event) => event.waitUntil(clients.claim());
self.onfetch = (event) => {
  if (new URL(event.request.url).pathname === '/sync-now') event.respondWith(syncNow().then((report) => Response.json(report)));
};
self.onsync = (event) => event.waitUntil(syncNow());

const syncNow = async () => {
  const objects = await (await fetch('/objects.json')).json();
  const db = await openDb(objects);
  const report = await db.sync();
  await db.close();
  return report;
};
