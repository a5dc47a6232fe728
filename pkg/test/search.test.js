// Search and `$icontains` in the real driver, whose tables of letters are those of JavaScript.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openDatabase } from '../dist/index.js';

let names = 0;
const open = () => openDatabase({ name: `search-${++names}`, storage: 'memory', objects: [{ name: 'note', fields: { title: { type: 'text' }, body: { type: 'textarea' }, owner: { type: 'lookup', reference_to: 'note' } } }] });

test('words are found by their beginnings, in any script, the best first', async () => {
  const db = await open();
  const titles = ['Größe zählt', 'İstanbul Οδος', '东京タワー', 'Привет мир', 'ジョン・スミス', 'plain words', 'plainly'];
  await db.bulkCreate('note', titles.map((title, id) => ({ id, title, owner: 'plain' })));
  const found = async (search) => (await db.find('note', { search })).map(({ id }) => id);
  for (const [search, expected] of [
    ['GRÖSSE', []], ['größe', [0]], ['grö', [0]], ['zÄHLT größe', [0]], ['istanbul', [1]], ['ΟΔΟΣ', [1]], ['οδοσ', [1]], ['οδός', []],
    ['京', [2]], ['东塔', []], ['ПРИВЕТ', [3]], ['мир при', [3]], ['ジョン スミス', [4]], ['plain', [5, 6]], ['plainl', [6]],
    ['lain', []], ['plain nothing', []], ['', [0, 1, 2, 3, 4, 5, 6]], ['  ', [0, 1, 2, 3, 4, 5, 6]], ['!!! 🎉', []],
  ]) assert.deepEqual(await found(search), expected, search);
  assert.deepEqual(await found({ query: 'мир plain', operator: 'or' }), [3, 5, 6].sort((a, b) => (a === 6 ? 1 : b === 6 ? -1 : a - b)));
  await db.destroy();
});

test('fields that are named first count more, and those that are no text are looked at only when they are named', async () => {
  const db = await open();
  await db.bulkCreate('note', [{ id: 1, body: 'fish' }, { id: 2, title: 'fish' }, { id: 3, owner: 'fish' }]);
  const found = async (query) => (await db.find('note', query)).map(({ id }) => id);
  assert.deepEqual(await found({ search: 'fish' }), [2, 1]);
  assert.deepEqual(await found({ search: 'fish', searchFields: ['body', 'title'] }), [1, 2]);
  assert.deepEqual(await found({ search: 'fish', searchFields: ['owner'] }), [3]);
  assert.deepEqual(await found({ search: 'fish', orderBy: [{ field: 'id' }], limit: 1 }), [1]);
  await assert.rejects(found({ search: 'a b c d e f g h i j k l m n o p q' }), { code: 'INVALID_QUERY' });
  await db.destroy();
});

test('long texts that nearly match are no reason to wait', { timeout: 20_000 }, async () => {
  const db = await open();
  await db.create('note', { title: 'a'.repeat(400_000) });
  const wanted = `${'a'.repeat(200_000)}b`;
  assert.deepEqual(await db.find('note', { where: { title: { $icontains: wanted } } }), []);
  assert.deepEqual(await db.find('note', { search: wanted }), []);
  const many = Array.from({ length: 80_000 }, (_, n) => `w${n}`).join(' ');
  await assert.rejects(db.find('note', { search: many }), { code: 'INVALID_QUERY' });
  await db.destroy();
});
