// What `npm run size -- --report` says of a wasm file.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { crateOf, moduleOf, plainName, sumBy, wasmContents } from '../../scripts/wasm-contents.mjs';

const part = (...bytes) => [bytes.length, ...bytes];
const text = (value) => part(...Buffer.from(value));
const named = (number, name) => [number, ...text(name)];

/** Four imports, one of which is a function, and two functions of 3 and 5 bytes of which the first has a name. */
const MODULE = Buffer.from([
  ...Buffer.from('\0asm'), 1, 0, 0, 0,
  1, ...part(1, 0x60, 0, 0),
  2, ...part(
    4,
    ...text('a'), ...text('memory'), 2, 1, 1, 0x80, 0x02,
    ...text('a'), ...text('table'), 1, 0x70, 0, 1,
    ...text('a'), ...text('function'), 0, 0,
    ...text('a'), ...text('global'), 3, 0x7f, 0,
  ),
  3, ...part(2, 0, 0),
  10, ...part(2, ...part(0, 0x0b), ...part(0, 1, 1, 0x0b)),
  0, ...part(...text('name'), 0, ...part(...text('module')), 1, ...part(2, ...named(0, 'imported'), ...named(1, 'some::function'))),
]);

test('a wasm file is taken apart into sections, and functions with their names', () => {
  assert.doesNotThrow(() => new WebAssembly.Module(MODULE));
  const { sections, functions } = wasmContents(MODULE);
  assert.deepEqual(sections.map(({ name }) => name), ['header', 'type', 'import', 'function', 'code', 'name']);
  assert.deepEqual(functions, [{ name: 'some::function', bytes: 3 }, { name: 'function 2', bytes: 5 }]);
});

test('the sections of the driver add up to its file, and its functions to their section', () => {
  const bytes = readFileSync(new URL('../wasm/objectql_offline_bg.wasm', import.meta.url));
  const { sections, functions } = wasmContents(bytes);
  const sum = (parts) => parts.reduce((total, part) => total + part.bytes, 0);
  assert.equal(sum(sections), bytes.length);
  // The section's id, its length and the number of functions.
  const frame = sections.find(({ name }) => name === 'code').bytes - sum(functions);
  assert.ok(frame > 3 && frame < 10, `${frame} bytes`);
  assert.ok(functions.length > 1000, `${functions.length} functions`);
});

test('a file that is cut, or none of wasm, is refused', () => {
  for (let length = 0; length < 8; length += 1) assert.throws(() => wasmContents(MODULE.subarray(0, length)), /no wasm file/);
  assert.throws(() => wasmContents(MODULE.subarray(0, MODULE.length - 1)), /ends too early/);
});

test('a function counts for the crate and the module that its code is from', () => {
  const places = {
    'objectql_offline::engine::query::parse::field::h0123456789abcdef': ['objectql_offline', 'objectql_offline::engine::query'],
    'objectql_offline::engine::Engine::aggregate::{{closure}}': ['objectql_offline', 'objectql_offline::engine'],
    'objectql_offline::engine::log::<impl objectql_offline::engine::Engine>::load': ['objectql_offline', 'objectql_offline::engine::log'],
    '<hashbrown::raw::RawTable<T,A> as core::ops::drop::Drop>::drop': ['hashbrown', 'hashbrown::raw'],
    '<&str as core[c5930c85a12de822]::str::pattern::Pattern>::is_contained_in': ['core', 'core::str::pattern'],
    '<char>::escape_debug_ext': ['core', 'core'],
    'driver_open externref shim': ['exports', 'exports'],
  };
  for (const [name, expected] of Object.entries(places)) assert.deepEqual([crateOf(name), moduleOf(name)], expected, name);
  assert.equal(plainName('alloc[0123456789abcdef]::vec::grow::h0123456789abcdef'), 'alloc::vec::grow');
  const functions = [{ name: 'a::one', bytes: 2 }, { name: 'b::two', bytes: 4 }, { name: 'a::three', bytes: 3 }];
  assert.deepEqual(sumBy(functions, crateOf), [{ name: 'a', bytes: 5, count: 2 }, { name: 'b', bytes: 4, count: 1 }]);
});
