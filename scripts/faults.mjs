// `npm run faults -- --rounds 200`: kills a browser in the middle of its writes so many times, and a server in the middle of
// a drain as often; after each kill, no write that resolved may be lost, and none may be applied twice. `--server plain`
// does it with the server that knows the wire format only. Prints the counts, and fails if any is not 0.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Failure, ROOT, runAsScript } from './process.mjs';
import { withRealParts } from './real-parts.mjs';

await runAsScript(import.meta.url, async (args) => {
  const { values } = parseArgs({ args, options: { rounds: { type: 'string', default: '20' }, server: { type: 'string', default: 'real' }, seed: { type: 'string' } } });
  const rounds = Number(values.rounds);
  if (!(rounds >= 1)) throw new Failure(`${values.rounds} is no number of rounds`);
  const seed = Number(values.seed ?? Date.now() % 1_000_000);
  await withRealParts((parts, folder, closers) => faults(parts, folder, closers, rounds, seed), values.server);
});

async function faults({ Browser, Proxy, SyncServer }, folder, closers, rounds, seed) {
  const { Ledger } = await import('../tests/browser/ledger.mjs');
  const { killBrowser, killServer, randomFrom } = await import('../tests/browser/rounds.mjs');
  const server = new SyncServer(folder, join(ROOT, 'tests/browser/objects'), []);
  closers.push(() => server.kill());
  await server.start();
  const proxy = new Proxy(server);
  closers.push(() => proxy.close());
  await proxy.listen();
  const browser = await Browser.launch(join(folder, 'profile'), proxy.origin);
  closers.push(() => browser.close());
  const ledger = await Ledger.open(server);
  const below = randomFrom(seed);
  console.log(`Server: ${process.env.OBJECTQL_TEST_SERVER}. ${rounds} rounds of each, seed ${seed}.`);

  let isWrong = false;
  let tab;
  const tally = async (name, kill) => {
    const began = performance.now();
    const before = ledger.size;
    let done = 0;
    let report = { lost: [], doubled: [], rejected: [], conflicts: [] };
    const say = () => {
      const { lost, doubled, rejected, conflicts } = report;
      const counts = `${ledger.size - before} writes resolved, ${lost.length} lost, ${doubled.length} doubled, ${rejected.length} rejected, ${conflicts.length} in conflict`;
      console.log(`${name} killed ${done} times: ${counts}; ${((performance.now() - began) / 1000 / done).toFixed(1)} s a round`);
    };
    await kill((latest) => {
      done++;
      report = latest;
      // Neither kind of mistake goes away again, so that the last report is enough; the first wrong one is told at once.
      const isRight = latest.lost.length + latest.doubled.length === 0;
      if (!isRight && !isWrong) console.log(`round ${done}: ${JSON.stringify({ lost: latest.lost, doubled: latest.doubled })}`);
      isWrong ||= !isRight;
      if (done % 20 === 0 && done < rounds) say();
    });
    say();
  };
  await tally('browser', async (onRound) => { tab = await killBrowser({ browser, ledger, rounds, below, onRound }); });
  await tally('server', (onRound) => killServer({ server, tab, ledger, rounds, below, onRound }));
  if (isWrong) throw new Failure('a write was lost or doubled');
  await ledger.settle(tab);
  console.log('Everything that resolved is once in effect, and the browser and the server hold equal records.');
}
