import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeEmptyRow, encodeRow } from '../dist/row-bytes.js';

/** The same as in `src/engine/row.rs`. */
const ROW = '4f510564fe92728080808080808008ac02010c067570646174650573746f7279c8010422c3a9220c7b22706f696e7473223a337d';
const EMPTY_ROW = '4f5101bc9089fe000000';

test('a row that a page writes has the bytes that an engine reads', () => {
  const row = encodeRow(2 ** 52, 300, { kind: 'update', object: 'story', version: 200, first: '"é"', second: '{"points":3}' });
  assert.equal(Buffer.from(row).toString('hex'), ROW);
  assert.equal(Buffer.from(encodeEmptyRow()).toString('hex'), EMPTY_ROW);
});
