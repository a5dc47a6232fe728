// What the browser tests stand on. The tests of a file share a browser. Each has a server and a proxy of its own, so its pages
// have an origin of their own, and with it their own databases, locks and channels.
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Ledger } from './ledger.mjs';
import { Browser, launch, newFolder, openPage, Proxy, removeFolder, SyncServer } from './parts.mjs';
import { Wire } from './wire.mjs';

export { altered, crash, elsewhere, held, reload, until } from './parts.mjs';
export { test } from './only.mjs';
export { isPlain } from './servers.mjs';

const OBJECTS = fileURLToPath(new URL('objects', import.meta.url));

/** The browser that the tests of a file share, and its profile's folder. */
let shared;

after(async () => {
  if (!shared) return;
  const { folder, starting } = shared;
  await (await starting).close();
  removeFolder(folder);
});

function sharedContext() {
  if (!shared) {
    const folder = newFolder();
    shared = { folder, starting: launch(folder) };
  }
  return shared.starting;
}

/**
 * Everything one test needs, closed when the test ends, however it ends. A test fails when one of its pages had an uncaught error.
 *
 * `openTab` opens a page of the first device; `openDevice` gives another one, with storage of its own; `openBrowser` starts
 * a browser that only this test has, on the first device's origin, which may be killed; `copyProfile` makes a profile of that another
 * one, as a restored backup of a device does. With `isWired`, a device has a `wire` between its browser and its proxy. With a
 * `strategy`, the server has only stories, synced by that. The `ledger` knows the writes of the tabs, those of other browsers when
 * it is told to watch them.
 */
export async function world(t, { strategy, objects = OBJECTS, serverArgs = [], isWired = false } = {}) {
  const folder = newFolder();
  const closers = [() => removeFolder(folder)];
  t.after(async () => {
    const failures = [];
    for (const close of closers.reverse()) await Promise.resolve().then(close).catch((error) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  });
  const server = new SyncServer(folder, strategy ? storiesWith(folder, strategy) : objects, serverArgs);
  closers.push(() => server.kill());
  await server.start();
  const ledger = await Ledger.open(server);
  const openDevice = async () => {
    const proxy = new Proxy(server);
    closers.push(() => proxy.close());
    await proxy.listen();
    const wire = isWired ? new Wire(new URL(proxy.origin).port) : undefined;
    if (wire) {
      await wire.listen();
      closers.push(async () => {
        await wire.close();
        assert.deepEqual(wire.errors, [], 'errors of the faults');
      });
    }
    const { origin } = wire ?? proxy;
    const openTab = async (path) => {
      const tab = await openPage(await sharedContext(), origin, path);
      await ledger.watch(tab);
      closers.push(async () => {
        if (!tab.isClosed()) await tab.close();
        assert.deepEqual(tab.errors, [], 'uncaught errors of the page');
      });
      return tab;
    };
    return { origin, proxy, wire, openTab };
  };
  const first = await openDevice();
  const openBrowser = async (name = 'profile', options) => {
    const browser = await Browser.launch(join(folder, name), first.origin, options);
    closers.push(() => browser.close());
    return browser;
  };
  const copyProfile = (from, to) => cpSync(join(folder, from), join(folder, to), { recursive: true });
  return { server, ledger, ...first, openDevice, openBrowser, copyProfile };
}

/** Writes the definition of stories with a strategy where a server reads it; returns the folder. */
function storiesWith(folder, strategy) {
  const objects = join(folder, 'objects');
  mkdirSync(objects);
  const fields = { title: { type: 'text' }, status: { type: 'text' }, points: { type: 'number' }, notes: { type: 'json' } };
  // What is JSON is YAML.
  writeFileSync(join(objects, 'story.object.yml'), JSON.stringify({ name: 'story', fields, sync: { enabled: true, strategy } }));
  return objects;
}
