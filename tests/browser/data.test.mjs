// Real data through the whole path: all movies and 5,000 cities. `npm run load` does the same with all cities, and measures.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assertEqual, assertFromSource, DEFINITIONS, recordsIn, sets, writeDefinitions } from '../load/sets.mjs';
import { reload, test, world } from './harness.mjs';
import { removeFolder } from './parts.mjs';

test('movies and cities are equal on the device that imported them, the server and another device', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'objectql-test-'));
  t.after(() => removeFolder(folder));
  const { openTab, openDevice, proxy, server } = await world(t, { objects: writeDefinitions(folder), serverArgs: ['--max-mutations', '1000'] });
  const sources = sets(5_000);
  const open = (tab) => tab.evaluate(async (objects) => { window.db = await openDb({ objects }); }, DEFINITIONS);
  const allIn = async (tab) => ({ movie: await recordsIn(tab, 'movie'), city: await recordsIn(tab, 'city') });

  const tab = await openTab();
  proxy.isDown = true;
  await open(tab);
  for (const [object, records] of Object.entries(sources)) {
    await tab.evaluate(async ([object, json]) => {
      const records = JSON.parse(json);
      while (records.length > 0) await db.bulkCreate(object, records.splice(0, 1_000));
    }, [object, JSON.stringify(records)]);
  }
  await reload(tab);
  await open(tab);
  const imported = await allIn(tab);
  for (const [object, records] of Object.entries(sources)) assertFromSource(imported[object], records);

  proxy.isDown = false;
  await tab.evaluate(() => db.sync());
  const other = await (await openDevice()).openTab();
  await open(other);
  await other.evaluate(() => db.sync());
  const pulled = await allIn(other);
  for (const object of Object.keys(sources)) {
    assertEqual(await server.records(object), imported[object], `${object} on the server`);
    assertEqual(pulled[object], imported[object], `${object} on the other device`);
  }
});
