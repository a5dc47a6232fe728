// `npm test`: installs what is missing, builds, and runs every test; `npm test -- rust|pkg|browser|check` runs a part of it.
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { buildDemo, buildPackage, buildPlainServer, buildServer } from './build.mjs';
import { Failure, npm, ROOT, run, runAsScript } from './process.mjs';
import { ensureChromium, ensureRust, ensureWasmTarget } from './setup.mjs';

const cargo = (...args) => run('cargo', args);
const tsc = (project) => run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', project]);
/** How long a file of tests may take: one that hangs fails, and does not hold up the others. */
const MOST_MS = 600_000;
const nodeTest = (files, env, ...flags) => run(process.execPath, ['--test', '--test-reporter=spec', `--test-timeout=${MOST_MS}`, ...flags, ...files], { env });

const lint = [
  ['Formatting of the Rust code', () => cargo('fmt', '--all', '--check')],
  ['Lints, native', () => cargo('clippy', '--quiet', '--workspace', '--all-targets', '--', '-D', 'warnings')],
  ['Lints, wasm', () => cargo('clippy', '--quiet', '-p', 'objectql-offline', '--target', 'wasm32-unknown-unknown', '--', '-D', 'warnings')],
  ['Rust documentation', () => run('cargo', ['doc', '--quiet', '--workspace', '--no-deps'], { env: { RUSTDOCFLAGS: '-D warnings' } })],
];
const buildSteps = [
  ['Package', buildPackage],
  ['Demo', buildDemo],
];
const types = [
  ['Types that must and must not compile', () => tsc('pkg/test/types')],
  ['Types of the driver and of the engine', () => tsc('pkg/test/driver-types')],
  ['Types of the demo', () => npm('run', 'check', '-w', 'www')],
];

/** Browser tests of the driver's own end, to which any server is the same: they run against ours only. */
const OF_ANY_SERVER = ['bfcache', 'calls', 'disk', 'encryption', 'lockless', 'migrations', 'queries', 'segments', 'storage', 'torn', 'transactions', 'worker-mode'];

/** The parts, and the steps of each in order. A step that several parts have runs once. */
const PARTS = {
  rust: [
    ['Rust', async () => (await ensureRust(), await ensureWasmTarget())],
    ...lint,
    ['Rust tests', () => cargo('test', '--quiet', '--workspace')],
    // Defects that are built in on purpose, each of which the simulator has to find: it would prove nothing if it did not.
    ['Deliberate defects', () => cargo('test', '--quiet', '--profile', 'simulation', '-p', 'simulation', '--features', 'defects', '--test', 'defects')],
  ],
  pkg: [
    ...buildSteps,
    ...types,
    ['Package tests', () => nodeTest(testsIn('pkg/test'))],
    ['Size', () => run(process.execPath, [join(ROOT, 'scripts/size.mjs')])],
  ],
  browser: [
    ...buildSteps,
    ['Bundlers', async () => nodeTest(testsIn('tests/bundlers'), { CHROMIUM: await ensureChromium() })],
    ['Servers', async () => (await buildServer(), await buildPlainServer())],
    ['Browser tests against objectql-sync-server', () => testInBrowser('real', 'tests/browser')],
    ['Browser tests against the plain server', () => testInBrowser('plain', 'tests/browser')],
    ['Demo tests', () => testInBrowser('real', 'www/test')],
    ['Speed beside raw IndexedDB', () => run(process.execPath, [join(ROOT, 'scripts/ratios.mjs')])],
  ],
};
const CHECK = [...buildSteps, ...lint, ...types];

await runAsScript(import.meta.url, async (names) => {
  const steps = new Map(stepsOf(names));
  const began = performance.now();
  for (const [title, task] of steps) {
    console.log(`\n── ${title}`);
    const from = performance.now();
    try {
      await task();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      throw new Failure(`${title}: failed. ${error.message}`);
    }
    console.log(`   ${seconds(from)}`);
  }
  console.log(`\nAll ${steps.size} steps passed, ${seconds(began)}.`);
});

function stepsOf(names) {
  if (names.length === 0) return Object.values(PARTS).flat();
  return names.flatMap((name) => {
    if (name === 'check') return CHECK;
    if (Object.hasOwn(PARTS, name)) return PARTS[name];
    throw new Failure(`there is no part ${name}: take ${Object.keys(PARTS).join(', ')} or check`);
  });
}

async function testInBrowser(server, folder) {
  const programs = { OBJECTQL_SYNC_SERVER: await buildServer(), OBJECTQL_PLAIN_SERVER: await buildPlainServer() };
  // Browsers wait more than they work: on two cores, two files at a time take a third less than one.
  const atOnce = `--test-concurrency=${Math.max(2, availableParallelism() - 1)}`;
  const files = testsIn(folder).filter((file) => server === 'real' || !OF_ANY_SERVER.includes(basename(file, '.test.mjs')));
  await nodeTest(files, { CHROMIUM: await ensureChromium(), OBJECTQL_TEST_SERVER: server, ...programs }, atOnce);
}

/** The test files of a folder; that there are none is a mistake, not a success. */
function testsIn(folder) {
  const names = existsSync(join(ROOT, folder)) ? readdirSync(join(ROOT, folder)) : [];
  const files = names.filter((name) => /\.test\.m?js$/.test(name)).map((name) => `${folder}/${name}`);
  if (files.length === 0) throw new Failure(`there are no tests in ${folder}`);
  return files;
}

function seconds(from) {
  return `${((performance.now() - from) / 1000).toFixed(1)} s`;
}
