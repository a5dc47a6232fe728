// The options of worker mode, where there are no workers; what it does is tested in a browser.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { beforeEach, test } from 'node:test';
import { DIALECT } from '../dist/messages.js';
import { Databases } from '../dist/open.js';
import { FakeDriver } from './fake-driver.js';

let databases;

beforeEach(() => {
  FakeDriver.opened = [];
  databases = new Databases(async () => FakeDriver);
});

const open = (options = {}) => databases.open({ name: 'crm', objects: [{ name: 'story' }], ...options });

test('where there are no workers the option is refused, with what to do', async () => {
  assert.equal(typeof globalThis.Worker, 'undefined');
  await assert.rejects(open({ worker: 'dedicated' }), { code: 'INVALID_OPTIONS', message: /no Worker here: leave out/ });
  await assert.rejects(open({ worker: 'shared' }), { code: 'INVALID_OPTIONS', message: /no SharedWorker here.*'dedicated'/ });
  assert.equal(FakeDriver.opened.length, 0);
});

test('anything but a kind of worker or false is refused', async () => {
  for (const worker of [true, null, '', 'service', 'toString', {}, 7]) await assert.rejects(open({ worker }), { code: 'INVALID_OPTIONS' }, String(worker));
});

test('no worker is the default, and a handle may say so', async () => {
  await open();
  await open({ worker: false });
  await open({ worker: undefined });
  assert.equal(FakeDriver.opened.length, 1);
});

test('a shared worker of another dialect has another name', () => {
  // Bundlers take only what is written there: the number cannot be put in.
  const code = readFileSync(new URL('../dist/worker-place.js', import.meta.url), 'utf8');
  assert.deepEqual([...code.matchAll(/name: '(.*?)'/g)].map(([, name]) => name), Array.from({ length: 2 }, () => `objectql-offline-${DIALECT}`));
});
