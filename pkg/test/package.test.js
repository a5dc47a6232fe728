// The package as others get it: what is in it, that importing it does nothing, that its codes are those of the driver.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { errorClasses } from '../dist/errors.js';

const folder = fileURLToPath(new URL('..', import.meta.url));
const root = fileURLToPath(new URL('../..', import.meta.url));

test('importing it in Node works and does nothing; opening says what is missing', () => {
  const script = `
    const before = Object.getOwnPropertyNames(globalThis).length;
    const { openDatabase, StorageError } = await import('objectql-offline');
    if (Object.getOwnPropertyNames(globalThis).length !== before) throw new Error('a global was added');
    const error = await openDatabase({ name: 'crm', objects: [] }).catch((error) => error);
    console.log(error instanceof StorageError, error.code);
  `;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: folder, encoding: 'utf8', timeout: 10_000 });
  assert.equal(output, 'true STORAGE_FAILED\n');
});

test('what is packed is the code, the types, the wasm and the documents, and nothing else', () => {
  const npm = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ['npm'];
  const args = [...npm.slice(1), 'pack', '--dry-run', '--json', '--ignore-scripts'];
  const report = execFileSync(npm[0], args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const packed = JSON.parse(report);
  const [{ files }] = Array.isArray(packed) ? packed : Object.values(packed);
  const paths = files.map(({ path }) => path);
  const expected = [
    'package.json',
    'bin/objectql-offline.js',
    'dist/index.js',
    'dist/index.d.ts',
    'dist/generate/cli.js',
    'dist/object-driver/index.js',
    'dist/object-driver/index.d.ts',
    'dist/testing/index.js',
    'dist/testing/index.d.ts',
    'wasm/objectql_offline.js',
    'wasm/objectql_offline.d.ts',
    'wasm/objectql_offline_bg.wasm',
  ];
  for (const path of expected) assert.ok(paths.includes(path), `${path} is missing`);
  const allowed = /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|bin\/[\w-]+\.js|dist\/((generate|object-driver|testing)\/)?[\w-]+\.(js|d\.ts)|wasm\/objectql_offline(_bg\.wasm)?(\.d)?(\.js|\.ts|\.wasm)?)$/;
  assert.deepEqual(paths.filter((path) => !allowed.test(path)), []);
  // A file left over from a source that is gone would be shipped.
  const sources = readdirSync(`${folder}src`).filter((name) => name.endsWith('.ts')).map((name) => name.slice(0, -'.ts'.length));
  const modules = paths.filter((path) => /^dist\/[^/]+\.js$/.test(path)).map((path) => path.slice('dist/'.length, -'.js'.length));
  assert.deepEqual(modules.sort(), sources.sort());
});

test('the error codes are those of the driver, and those of what the facade does itself', () => {
  const rust = ['src/error.rs', 'protocol/src/error.rs'].map((path) => readFileSync(root + path, 'utf8')).join('');
  // The facade deals with that one itself.
  const codes = [...rust.matchAll(/=>\s*"([A-Z][A-Z_]+)"/g)].map(([, code]) => code).filter((code) => code !== 'NOT_LOADED');
  assert.deepEqual(Object.keys(errorClasses).sort(), [...new Set([...codes, 'WASM_FAILED', 'INVALID_FILE', 'MIGRATION_FAILED'])].sort());
});

test('the package itself does not bring the driver for ObjectQL along', () => {
  const reached = new Set();
  const reach = (path) => {
    if (reached.has(path)) return;
    reached.add(path);
    const code = readFileSync(`${folder}dist/${path}`, 'utf8');
    for (const [, other] of code.matchAll(/from '(\.[^']+)'/g)) if (!other.includes('/wasm/')) reach(new URL(other, `file:///${path}`).pathname.slice(1));
  };
  reach('index.js');
  assert.ok(reached.has('open.js'));
  assert.deepEqual([...reached].filter((path) => path.startsWith('object-driver/')), []);
});
