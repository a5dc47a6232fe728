// Keeps the app's shell, so that a reload works with the server stopped. `vite.config.ts` fills in the two constants at build
// time: every file of the build, and a hash over their bytes, so that a changed build is a changed worker.
//
// Data never passes through here: `/api/` is left to the network, and the driver keeps its own records.

const VERSION = '__VERSION__';
const SHELL = __SHELL__;

const PREFIX = 'shell-';
const CURRENT = PREFIX + VERSION;

self.addEventListener('install', (event) => {
  event.waitUntil(
    (async () => {
      const cache = await caches.open(CURRENT);
      // All or nothing; `reload` keeps the HTTP cache from handing out files of the build before.
      await cache.addAll(SHELL.map((path) => new Request(path, { cache: 'reload' })));
      await self.skipWaiting();
    })(),
  );
});

self.addEventListener('activate', (event) => {
  event.waitUntil(
    (async () => {
      // The newest of the older shells stays: a page that was loaded from it may still ask for its files, whose names carry
      // hashes and so never clash.
      const older = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CURRENT);
      await Promise.all(older.slice(0, -1).map((name) => caches.delete(name)));
      await self.clients.claim();
    })(),
  );
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || url.origin !== self.location.origin || url.pathname.startsWith('/api/')) return;

  const path = url.pathname === '/' ? '/index.html' : url.pathname;
  if (SHELL.includes(path)) event.respondWith(fromShell(path, request));
  else if (path.startsWith('/assets/')) event.respondWith(fromAnyShell(request));
  else if (request.mode === 'navigate') event.respondWith(fetch(request).catch(() => fromShell('/index.html', request)));
});

/** A file of this build: from its cache, so that one page never mixes two builds. */
async function fromShell(path, request) {
  const cache = await caches.open(CURRENT);
  return (await cache.match(path)) ?? fetch(request);
}

/** A file of another build, asked for by a page that was loaded before this worker took over. */
async function fromAnyShell(request) {
  return (await caches.match(request)) ?? fetch(request);
}
