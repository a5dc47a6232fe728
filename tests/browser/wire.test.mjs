// What a wire does to the bytes of an exchange: cuts them anywhere, holds them, loses them, or brings them twice. Nothing is lost,
// and nothing is applied twice.
import assert from 'node:assert/strict';
import { held, isPlain, test, world } from './harness.mjs';

/** A world with the database open in a tab behind a wire, and two stories that are synced. */
async function start(t, options) {
  const all = await world(t, { isWired: true });
  const tab = await all.openTab();
  await tab.evaluate(async (options) => {
    window.db = await openDb(options);
    await write('create', 'known', { title: 'Zoë 😀' });
    await db.sync();
  }, options);
  return { ...all, tab };
}

const sync = (tab) => tab.evaluate(() => codeOf(db.sync()));
/** One write of each kind, on records of their own. */
const writeAll = (tab, round) => tab.evaluate(async (round) => {
  await write('create', `${round}-gone`);
  if (db.status.pending > 1) throw new Error('the round before is not settled');
  await db.sync();
  await write('create', `${round}-new`, { title: 'Größe 😀' });
  await write('update', 'known', { title: `😀 ${round}` });
  await write('delete', `${round}-gone`);
}, round);
const stateOf = (tab) => tab.evaluate(async () => JSON.stringify([await db.find('story'), (await db.pendingMutations()).map(({ state: _, ...rest }) => rest)]));

/** Where an answer may end: name to the number of bytes that arrive. */
const PLACES = {
  'before its first byte': () => 0,
  'in its first line': () => 7,
  'inside a header': (answer) => headOf(answer) >> 1,
  'before the last byte of the head': (answer) => headOf(answer) - 1,
  'between head and body': headOf,
  'after a byte of the body': (answer) => headOf(answer) + 1,
  'inside a character of four bytes': (answer) => startOf(answer, '😀') + 2,
  'before its last byte': (answer) => answer.length - 1,
};
const PLACES_IN_CHUNKS = {
  'inside the length of a chunk': (answer) => headOf(answer) + 1,
  'inside a chunk': (answer) => headOf(answer) + 11,
  'inside the line break after a chunk': (answer) => answer.indexOf('\r\n', headOf(answer) + 4) + 1,
  'before the last chunk, which is empty': (answer) => answer.length - 5,
  'before its last byte': (answer) => answer.length - 1,
};

function headOf(answer) {
  return startOf(answer, '\r\n\r\n') + 4;
}

function startOf(bytes, text) {
  assert.ok(bytes.includes(text), `no ${JSON.stringify(text)}`);
  return bytes.indexOf(text);
}

for (const how of ['end', 'reset']) {
  for (const [name, places, chunkBytes] of [['an answer', PLACES], ['an answer in chunks', PLACES_IN_CHUNKS, 100]]) {
    test(`${name} that is cut anywhere by ${how === 'end' ? 'the end' : 'a break'} of the connection changes nothing, and all is applied once`, async (t) => {
      const { tab, wire, proxy, ledger } = await start(t);
      for (const [place, at] of Object.entries(places)) {
        await t.test(place, async () => {
          await writeAll(tab, place);
          const before = await stateOf(tab);
          if (chunkBytes) proxy.faults.push(async (_request, forward) => ({ ...(await forward()), chunkBytes }));
          wire.faults.push(async (exchange) => {
            const answer = await exchange.forward(await exchange.request());
            const end = at(answer);
            assert.ok(end >= 0 && end < answer.length, `${end} of ${answer.length}`);
            await exchange.send(answer.subarray(0, end));
            exchange[how]();
          });
          assert.ok(['NETWORK', 'INVALID_ANSWER'].includes(await sync(tab)));
          assert.equal(await stateOf(tab), before);
          await ledger.settle(tab);
        });
      }
    });
  }
}

test('a request that is cut anywhere is applied once when it is sent again', async (t) => {
  const { tab, wire, ledger } = await start(t);
  for (const [place, at] of Object.entries(PLACES)) {
    await t.test(place, async () => {
      await writeAll(tab, place);
      wire.faults.push(async (exchange) => {
        const request = await exchange.request();
        await exchange.deliver(request.subarray(0, at(request)));
        exchange.reset();
      });
      assert.equal(await sync(tab), 'NETWORK');
      await ledger.settle(tab);
    });
  }
});

test('an answer that comes after nobody waits for it any more changes nothing', async (t) => {
  const timeoutMs = 20_000;
  const { tab, wire, ledger } = await start(t, { sync: { timeoutMs } });
  await tab.evaluate((ms) => watchTimers(ms), timeoutMs);
  await writeAll(tab, 'late');
  const { fault, answered, release } = held();
  wire.faults.push(async (exchange) => {
    const answer = await fault(undefined, async () => exchange.forward(await exchange.request()));
    await exchange.send(answer);
    exchange.end();
  });
  const before = await stateOf(tab);
  const synced = sync(tab);
  await answered;
  await tab.evaluate(() => elapse());
  assert.equal(await synced, 'TIMEOUT');
  assert.equal(await stateOf(tab), before);
  await ledger.settle(tab);
  const settled = await stateOf(tab);
  release();
  assert.equal(await sync(tab), 'none');
  assert.equal(await stateOf(tab), settled);
  await ledger.settle(tab);
});

test('an answer that comes twice on its connection is taken once', async (t) => {
  const { tab, wire, ledger } = await start(t);
  await writeAll(tab, 'twice');
  wire.faults.push(async (exchange) => {
    const answer = await exchange.forward(await exchange.request());
    await exchange.send(Buffer.concat([answer, answer]));
    exchange.end();
  });
  assert.equal(await sync(tab), 'none');
  await ledger.settle(tab);
});

test('a request that reaches the server twice is applied once', async (t) => {
  const { tab, wire, ledger } = await start(t);
  await writeAll(tab, 'twice');
  wire.faults.push(async (exchange) => {
    const request = await exchange.request();
    await exchange.forward(request);
    await exchange.send(await exchange.forward(request));
    exchange.end();
  });
  // The second answer says what a server says that has seen the mutations before, or that has not remembered them.
  assert.equal(await sync(tab), 'none');
  const { rejected, conflicts } = await ledger.settle(tab);
  assert.deepEqual([rejected, conflicts], [[], []]);
});

test('a request that reaches the server once more after newer ones changes nothing', async (t) => {
  const { tab, wire, ledger, server } = await start(t);
  await tab.evaluate(() => write('update', 'known', { points: 1 }));
  let old;
  wire.faults.push(async (exchange) => {
    old = await exchange.request();
    await exchange.send(await exchange.forward(old));
    exchange.end();
  });
  assert.equal(await sync(tab), 'none');
  await tab.evaluate(() => write('update', 'known', { points: 2 }));
  const again = new Promise((resolve, reject) => {
    wire.faults.push(async (exchange) => {
      await exchange.send(await exchange.forward(await exchange.request()));
      exchange.end();
      await exchange.forward(old).then(resolve, reject);
    });
  });
  assert.equal(await sync(tab), 'none');
  assert.match((await again).toString(), isPlain ? /"status":"conflict"/ : /"status":"applied"/);
  await ledger.settle(tab);
  assert.equal((await server.records()).get('known').points, 2);
});
