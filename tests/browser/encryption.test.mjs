// What is on the disk when the app wants it sealed: nothing that can be read, in the files themselves; and what happens with the wrong
// key, with another one, with values that were changed or moved, and with the databases of several accounts.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { reload, test, until, world } from './harness.mjs';

/** What a page needs: keys by name, the same in every page, and the stores themselves. */
async function prepare(tab) {
  await tab.evaluate(() => {
    window.keyOf = async (name) => {
      const bytes = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(name));
      return await crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['encrypt', 'decrypt']);
    };
    window.open = async (key, { previous = [], ...options } = {}) => {
      window.db = await openDb({ encryption: { key: await keyOf(key), previousKeys: await Promise.all(previous.map(keyOf)) }, ...options });
    };
    window.wait = (request) => new Promise((resolve, reject) => { request.onsuccess = () => resolve(request.result); request.onerror = () => reject(request.error); });
    window.inStore = async (name, change) => {
      const database = await wait(indexedDB.open('test'));
      const transaction = database.transaction(name, 'readwrite');
      const store = transaction.objectStore(name);
      const [keys, values] = await Promise.all([wait(store.getAllKeys()), wait(store.getAll())]);
      for (const [key, value] of change(new Map(keys.map((key, at) => [key, values[at]])))) store.put(value, key);
      await new Promise((resolve, reject) => Object.assign(transaction, { oncomplete: resolve, onabort: reject }));
      database.close();
    };
    /** What of the stores begins as what is sealed does, and what does not; by how many keys. */
    window.kinds = async () => {
      const counts = { sealed: 0, plain: 0, noted: '', keys: 0 };
      const names = new Set();
      for (const name of ['log', 'segments']) {
        await inStore(name, (all) => {
          for (const [key, bytes] of all) {
            if (key === -2) counts.noted = bytes.join();
            else if (key !== -1 && bytes.length > 0) {
              const isSealed = bytes[0] === 0x4f && bytes[1] === 0x45;
              counts[isSealed ? 'sealed' : 'plain']++;
              if (isSealed) names.add(bytes.slice(3, 7).join());
            }
          }
          return [];
        });
      }
      counts.keys = names.size;
      return counts;
    };
    window.titles = async () => (await db.find('story')).map(({ title }) => title).sort();
  });
}

async function start(t) {
  const all = await world(t);
  const tab = await all.openTab();
  await prepare(tab);
  return { ...all, tab };
}

const codeOfOpen = (tab, key, options) => tab.evaluate(async ([key, options]) => codeOf(key === null ? openDb(options) : open(key, options)), [key, options]);

/** The files of a profile that hold one of these texts, as bytes of UTF-8 or UTF-16. */
function filesWith(profile, texts) {
  const needles = texts.flatMap((text) => [Buffer.from(text), Buffer.from(text, 'utf16le')]);
  const files = readdirSync(profile, { recursive: true }).map((name) => join(profile, name)).filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
  return files.filter((path) => { const bytes = readFileSync(path); return needles.some((needle) => bytes.includes(needle)); });
}

for (const isSealed of [true, false]) {
  test(`what is written ${isSealed ? 'cannot be found in the files of a browser whose database is encrypted' : 'is found in those of one whose is not'}`, async (t) => {
    const { openBrowser } = await world(t);
    const browser = await openBrowser();
    const tab = await browser.openTab();
    await prepare(tab);
    // Made here, so that no script and no cache of one holds them; digits and letters, which LevelDB does not compress well.
    const markers = Array.from({ length: 3 }, () => `marker${Math.random().toString(36).slice(2)}${Math.random().toString(36).slice(2)}`);
    await tab.evaluate(async ([isSealed, [id, title, object]]) => {
      const objects = [...objectsWith(), { name: object, fields: { title: { type: 'text' } } }];
      window.db = await openDb({ objects, ...(isSealed && { encryption: { key: await keyOf('one') } }) });
      await db.create('story', { id, title });
      await db.create(object, { title });
      await db.bulkCreate('story', stories(3_000).map((story) => ({ ...story, notes: title })));
      await until(async () => { let root; await inStore('segments', (all) => { root = all.get(0); return []; }); return root; }, 'a compaction');
      await db.update('story', id, { notes: title });
      await db.close();
    }, [isSealed, markers]);
    await browser.close();
    const files = filesWith(browser.profile, markers);
    if (isSealed) assert.deepEqual(files, []);
    else assert.ok(files.some((path) => path.includes('IndexedDB')), 'the search finds what is there');
  });
}

test('with the wrong key, or without one, nothing is opened or changed; with the right one everything is there', async (t) => {
  const { tab } = await start(t);
  await tab.evaluate(async () => {
    await open('right');
    await db.bulkCreate('story', [{ title: 'A' }, { title: 'B' }]);
    await db.close();
  });
  const before = await tab.evaluate(() => countRows());
  for (const key of ['wrong', null]) assert.equal(await codeOfOpen(tab, key, {}), 'WRONG_KEY');
  assert.equal(await tab.evaluate(() => codeOf(openDb({ encryption: { key: 'a passphrase' } }))), 'WRONG_KEY');
  assert.equal(await tab.evaluate(() => countRows()), before);
  assert.equal(await codeOfOpen(tab, 'right', {}), 'none');
  assert.deepEqual(await tab.evaluate(() => titles()), ['A', 'B']);
});

test('a passphrase opens what it sealed, in another session too', async (t) => {
  const { tab } = await start(t);
  await tab.evaluate(async () => {
    window.db = await openDb({ encryption: { key: 'correct horse battery staple' } });
    await db.create('story', { title: 'A' });
  });
  await reload(tab);
  await prepare(tab);
  assert.equal(await tab.evaluate(() => codeOf(openDb({ encryption: { key: 'correct horse battery stapler' } }))), 'WRONG_KEY');
  await tab.evaluate(async () => { window.db = await openDb({ encryption: { key: 'correct horse battery staple' } }); });
  assert.deepEqual(await tab.evaluate(() => titles()), ['A']);
});

test('keys that are none are refused with a code', async (t) => {
  const { tab } = await start(t);
  const codes = await tab.evaluate(async () => {
    const hmac = await crypto.subtle.generateKey({ name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
    const readOnly = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['decrypt']);
    return Promise.all([{}, { key: '' }, { key: hmac }, { key: readOnly }, { key: 'a', previousKeys: [7] }, null].map((encryption) => codeOf(openDb({ encryption }))));
  });
  assert.deepEqual(codes, ['INVALID_OPTIONS', 'INVALID_OPTIONS', 'INVALID_OPTIONS', 'INVALID_OPTIONS', 'INVALID_OPTIONS', 'INVALID_OPTIONS']);
});

for (const from of ['another key', 'no key']) {
  test(`a database changes from ${from} to a key: all of it is sealed anew beside its use, also after an interruption`, async (t) => {
    const { tab, ledger } = await start(t);
    await tab.evaluate(async (isPlain) => {
      if (isPlain) window.db = await openDb();
      else await open('old');
      await db.bulkCreate('story', stories(3_000));
      await until(async () => { let root; await inStore('segments', (all) => { root = all.get(0); return []; }); return root; }, 'a compaction');
      await write('create', 'before');
      await db.close();
    }, from === 'no key');
    await reload(tab);
    await prepare(tab);
    const { noted: before } = await tab.evaluate(() => kinds());
    // The page goes in the middle of it.
    await tab.evaluate(async () => {
      const { put } = IDBObjectStore.prototype;
      let left = 2;
      IDBObjectStore.prototype.put = function (...args) {
        if (this.transaction.mode === 'readwrite' && left-- <= 0) throw new Error('interrupted');
        return put.apply(this, args);
      };
      await open('new', { previous: ['old'] });
    });
    await until(() => tab.evaluate(async () => (await kinds()).sealed > 0), 'some of it is sealed');
    await reload(tab);
    await prepare(tab);
    await tab.evaluate(async () => {
      await open('new', { previous: ['old'] });
      await write('create', 'after');
    });
    await until(() => tab.evaluate(async (before) => { const { plain, noted } = await kinds(); return plain === 0 && noted !== before && noted.split(',').length === 5; }, before), 'all of it is sealed');
    await tab.evaluate(() => db.close());
    await reload(tab);
    await prepare(tab);
    assert.equal(await codeOfOpen(tab, 'old', {}), 'WRONG_KEY');
    assert.equal(await codeOfOpen(tab, null, {}), 'WRONG_KEY');
    assert.equal(await codeOfOpen(tab, 'new', {}), 'none');
    assert.equal(await tab.evaluate(() => db.count('story')), 3_002);
    await ledger.settle(tab);
  });
}

test('a sealed value that was changed, or put in another\'s place, counts as damaged', async (t) => {
  const { tab } = await start(t);
  for (const change of ['flipped', 'moved', 'named']) {
    await tab.evaluate(async (change) => {
      await open('one');
      for (const title of ['A', 'B', 'C']) await db.create('story', { title });
      await db.close();
      await inStore('log', (rows) => {
        const [one, two] = [...rows.keys()].slice(-2);
        const bytes = rows.get(change === 'moved' ? one : two).slice();
        if (change === 'flipped') bytes[bytes.length - 1] ^= 1;
        // The name of the key in the header.
        if (change === 'named') bytes[4] ^= 1;
        return [[two, bytes]];
      });
    }, change);
    const seen = await tab.evaluate(async () => {
      await open('one');
      const reasons = [];
      db.on('dataLost', ({ reason }) => reasons.push(reason));
      await db.create('task', { title: 'What was found is told by now' });
      const seen = { reasons, titles: await titles() };
      await db.destroy();
      return seen;
    });
    // A name that was changed keeps nobody from finding the key.
    const expected = change === 'named' ? { reasons: [], titles: ['A', 'B', 'C'] } : { reasons: ['damaged'], titles: ['A', 'B'] };
    assert.deepEqual(seen, expected, change);
  }
});

/** Has a database compacted twice: most records are in the first segments, one of them in an earlier state. */
const compactTwice = (tab) => tab.evaluate(async () => {
  const rootChanges = async (step) => {
    const read = async () => { let root; await inStore('segments', (all) => { root = all.get(0)?.join(); return []; }); return root; };
    const before = await read();
    await step();
    await until(async () => (await read()) !== before, 'a compaction');
  };
  await open('one');
  await rootChanges(async () => {
    await db.bulkCreate('story', [{ id: 'a', title: 'Old' }, ...stories(3_000)]);
    await db.sync();
  });
  await db.close();
  // It does not know yet which keys the next segments get.
  await open('one');
  await rootChanges(async () => {
    await db.update('story', 'a', { title: 'New', notes: 'x'.repeat(600_000) });
    await db.sync();
  });
  await db.close();
});

test('a version that was damaged on the disk does not pass for that of a newer release, whose values are refused', async (t) => {
  const { tab } = await start(t);
  const found = await tab.evaluate(async () => {
    await open('one');
    await db.create('story', { title: 'Kept' });
    await db.close();
    const change = (start, end) => inStore('log', (all) => [...all].filter(([, bytes]) => bytes.length > 0).map(([key, bytes]) => [key, bytes.fill(7, start, end)]));
    await change(2, 3);
    await open('one');
    const kept = await titles();
    await db.close();
    await change(2);
    return { kept, newer: await codeOf(open('one')) };
  });
  assert.deepEqual(found, { kept: ['Kept'], newer: 'STORAGE_OUTDATED' });
});

test('a segment in the place of another one counts as damaged, also where it has an earlier state of the same record', async (t) => {
  const { tab, ledger } = await start(t);
  await compactTwice(tab);
  await tab.evaluate(() => inStore('segments', (all) => {
    const segments = [...all].filter(([key]) => key > 0);
    // The first one with many records comes to where the large one is alone, and what can be undone of it.
    const [, older] = segments.find(([, bytes]) => bytes.length > 100_000 && bytes.length < 600_000);
    return segments.filter(([, bytes]) => bytes.length > 600_000).map(([key]) => [key, older]);
  }));
  await reload(tab);
  await prepare(tab);
  const seen = await tab.evaluate(async () => {
    await open('one');
    const reasons = [];
    db.on('dataLost', ({ reason }) => reasons.push(reason));
    const before = (await db.get('story', 'a'))?.title;
    await until(() => reasons.length > 0, 'the damage');
    await db.sync();
    return { before, after: (await db.get('story', 'a')).title, reasons };
  });
  assert.deepEqual(seen, { before: undefined, after: 'New', reasons: ['damaged'] });
  await ledger.settle(tab);
});

test('a row of another database by the same key counts as damaged', async (t) => {
  const { tab } = await start(t);
  const reasons = await tab.evaluate(async () => {
    for (const [name, title] of [['ann', 'Of Ann'], ['bob', 'Of Bob']]) {
      await open('one', { name });
      await db.create('story', { title });
      await db.close();
    }
    const connections = await Promise.all(['ann', 'bob'].map((name) => wait(indexedDB.open(name))));
    const [ann, bob] = connections.map((database) => () => database.transaction('log', 'readwrite').objectStore('log'));
    const [keys, rows] = await Promise.all([wait(ann().getAllKeys()), wait(ann().getAll())]);
    // All but the one that made the database.
    for (const [at, key] of keys.entries()) if (key > 1) await wait(bob().put(rows[at], key));
    connections.forEach((database) => database.close());
    await open('one', { name: 'bob' });
    const reasons = [];
    db.on('dataLost', ({ reason }) => reasons.push(reason));
    await until(() => reasons.length > 0, 'the damage');
    return [...reasons, ...(await titles())];
  });
  assert.deepEqual(reasons, ['damaged']);
});

test('what was sealed in the first version is opened, and sealed anew', async (t) => {
  const { tab, ledger } = await start(t);
  await compactTwice(tab);
  await tab.evaluate(async () => {
    const key = await keyOf('one');
    let identity;
    const all = [];
    for (const name of ['log', 'segments']) {
      await inStore(name, (values) => {
        identity ??= values.get(-1);
        for (const [at, bytes] of values) if (at >= 0 && bytes.length > 0) all.push([name, at, bytes]);
        return [];
      });
    }
    // Without a number for segments, and without the database in what is authenticated.
    const olden = await Promise.all(all.map(async ([name, at, bytes]) => {
      const place = name === 'log' ? 0 : at === 0 ? 2 : 1;
      const iv = bytes.slice(15, 27);
      const params = (header, ...more) => ({ name: 'AES-GCM', iv, additionalData: new Uint8Array([...header, place, ...more]) });
      const header = bytes.slice(0, 15);
      const plain = await crypto.subtle.decrypt(params(header, ...identity), key, bytes.slice(27));
      header[2] = 1;
      if (place === 1) header.fill(0, 7);
      return [name, at, new Uint8Array([...header, ...iv, ...new Uint8Array(await crypto.subtle.encrypt(params(header), key, plain))])];
    }));
    const noted = [['segments', -2, all[0][2].slice(3, 7)]];
    for (const name of ['log', 'segments']) await inStore(name, () => [...olden, ...noted].filter(([store]) => store === name).map(([, at, bytes]) => [at, bytes]));
  });
  await reload(tab);
  await prepare(tab);
  await tab.evaluate(() => open('one'));
  assert.deepEqual(await tab.evaluate(async () => [await db.count('story'), (await db.get('story', 'a')).title]), [3_001, 'New']);
  const versions = () => tab.evaluate(async () => {
    const versions = new Set();
    for (const name of ['log', 'segments']) await inStore(name, (all) => { for (const [at, bytes] of all) if (at >= 0 && bytes.length > 0) versions.add(bytes[2]); return []; });
    return [...versions].join();
  });
  await until(async () => (await versions()) === '2', 'all of it is sealed anew');
  await tab.evaluate(() => db.close());
  await reload(tab);
  await prepare(tab);
  await tab.evaluate(() => open('one'));
  assert.equal(await tab.evaluate(() => db.count('story')), 3_001);
  await ledger.settle(tab);
});

for (const [whose, key] of [['without a key', undefined], ['with the key of before', 'zero']]) {
  test(`a tab ${whose} that writes and compacts while another one encrypts writes nothing after it`, async (t) => {
    const { tab, openTab, ledger } = await start(t);
    const other = await openTab();
    await prepare(other);
    await tab.evaluate(async (key) => {
      if (key === undefined) window.db = await openDb();
      else await open(key);
      await db.bulkCreate('story', stories(2_000));
      window.written = 2_000;
      window.stopped = (async () => {
        const others = [];
        for (let code; code !== 'WRONG_KEY'; ) {
          const bulk = stories(10).map(({ id: _, ...story }) => story);
          const codes = await Promise.all([codeOf(db.bulkCreate('story', bulk)), ...Array.from({ length: 5 }, () => codeOf(write('create', crypto.randomUUID())))]);
          for (const [at, each] of codes.entries()) {
            code = each;
            if (code === 'none') written += at === 0 ? 10 : 1;
            else if (code !== 'WRONG_KEY') others.push(code);
          }
        }
        return others;
      })();
      await until(async () => { let root; await inStore('segments', (all) => { root = all.get(0); return []; }); return root; }, 'a compaction');
    }, key);
    await other.evaluate((key) => open('one', { previous: key === undefined ? [] : [key] }), key);
    assert.deepEqual(await tab.evaluate(() => stopped), []);
    await until(() => other.evaluate(async () => (await kinds()).noted.split(',').length === 5), 'all is sealed');
    assert.deepEqual(await other.evaluate(async () => [(await kinds()).plain, (await kinds()).keys]), [0, 1]);
    await other.evaluate(() => write('create', 'sealed'));
    assert.equal(await tab.evaluate(() => codeOf(db.create('story', { title: 'Never' }))), 'WRONG_KEY');
    assert.equal(await other.evaluate(() => db.count('story')), await tab.evaluate(() => written) + 1);
    await tab.close();
    await ledger.settle(other);
  });
}

test('two tabs share an encrypted database, compact it, and sync it', async (t) => {
  const { tab, openTab, server, ledger } = await start(t);
  const other = await openTab();
  await prepare(other);
  await Promise.all([tab, other].map((page) => page.evaluate(() => open('one'))));
  await Promise.all([tab.evaluate(() => burst('a', 20)), other.evaluate(() => burst('b', 20))]);
  await tab.evaluate(async () => {
    await db.bulkCreate('story', stories(2_000));
    await until(async () => { let root; await inStore('segments', (all) => { root = all.get(0); return []; }); return root; }, 'a compaction');
    await db.sync();
  });
  await ledger.settle(tab);
  await ledger.settle(other);
  const counts = await Promise.all([tab, other].map((page) => page.evaluate(() => db.count('story'))));
  assert.equal(counts[0], counts[1]);
  assert.equal((await server.records()).size, counts[0]);
  assert.equal((await tab.evaluate(() => kinds())).plain, 0);
});

test('each account has its own database: none sees or pushes what another one wrote, which is there when it comes back', async (t) => {
  const { tab, proxy } = await start(t);
  const as = (account) => tab.evaluate(async (account) => { window.db = await openDb({ account, sync: { headers: () => ({ authorization: account }) } }); }, account);
  await as('Ann');
  await tab.evaluate(async () => { await db.create('story', { id: 'ann', title: 'Of Ann' }); await db.close(); });
  await as('Bob/@:ä');
  assert.equal(await tab.evaluate(() => db.count('story')), 0);
  await tab.evaluate(async () => { await db.create('story', { id: 'bob', title: 'Of Bob' }); await db.sync(); });
  assert.deepEqual(proxy.batches.flat().map(({ recordId }) => recordId), ['bob']);
  // Signing out for good.
  await tab.evaluate(() => db.destroy());
  await as('Ann');
  assert.deepEqual(await tab.evaluate(async () => (await db.pendingMutations()).map(({ recordId }) => recordId)), ['ann']);
  await tab.evaluate(() => db.sync());
  assert.deepEqual(proxy.batches.flat().map(({ recordId }) => recordId), ['bob', 'ann']);
  assert.deepEqual(await tab.evaluate(async () => (await indexedDB.databases()).map(({ name }) => name)), ['test@Ann']);
  assert.deepEqual(await tab.evaluate(() => Promise.all(['', 7].map((account) => codeOf(openDb({ account }))))), ['INVALID_OPTIONS', 'INVALID_OPTIONS']);
});
