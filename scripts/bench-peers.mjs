// `npm run bench:peers`: the driver beside other client-side databases, in one browser; writes docs/benchmarks.md.
// `-- --peers driver,raw-idb,dexie --repeats 2` measures a part of them, `-- --merge` adds to what was measured before (bench/run.mjs).
// `-- --add name [--package npm-name]` makes a peer: its adapter from bench/adapters/template.js, and its line in bench/peers.mjs.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildPackage, buildServer } from './build.mjs';
import { Failure, npm, ROOT, run, runAsScript } from './process.mjs';
import { ensureChromium } from './setup.mjs';

const FOLDER = join(ROOT, 'bench');
const NPM_OPTIONS = ['--prefix', FOLDER, '--no-package-lock', '--no-audit', '--no-fund', '--ignore-scripts'];

await runAsScript(import.meta.url, async (options) => {
  const value = (name) => (options.includes(name) ? options[options.indexOf(name) + 1] : undefined);
  if (options.includes('--add')) return addPeer(value('--add'), value('--package'));
  await buildPackage();
  if (!existsSync(join(FOLDER, 'node_modules'))) {
    console.log('Installing the other databases in bench/node_modules (270 MB).');
    await npm('install', ...NPM_OPTIONS);
  }
  const env = { CHROMIUM: await ensureChromium(), OBJECTQL_TEST_SERVER: 'real', OBJECTQL_SYNC_SERVER: await buildServer() };
  await run(process.execPath, ['run.mjs', ...options], { cwd: FOLDER, env });
  await run(process.execPath, ['report.mjs'], { cwd: FOLDER });
});

async function addPeer(name, packageName) {
  // It becomes a label of a host name, which "--" ends.
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name ?? '')) throw new Failure('--add takes a name of small letters, digits and single hyphens');
  const adapter = `adapters/${name}.js`;
  const list = join(FOLDER, 'peers.mjs');
  const peers = readFileSync(list, 'utf8');
  const { PEERS } = await import('../bench/peers.mjs');
  if (Object.hasOwn(PEERS, name) || existsSync(join(FOLDER, adapter))) throw new Failure(`there is a peer or an adapter ${name} already`);
  if (packageName !== undefined) await npm('install', '--save-exact', packageName, ...NPM_OPTIONS);
  const bare = packageName?.replace(/(?<=.)@[^/]*$/, '') ?? name;
  const template = readFileSync(join(FOLDER, 'adapters/template.js'), 'utf8');
  writeFileSync(join(FOLDER, adapter), template.replaceAll('NAME', name).replaceAll('PACKAGE', bare));
  const line = `  '${name}': { label: '${name}', ${packageName === undefined ? '' : `pkg: '${bare}', `}adapter: '${adapter}' },\n`;
  writeFileSync(list, peers.replace(/^};\n/m, () => `${line}};\n`));
  console.log(`bench/${adapter} works, in memory: write the database into it. Then measure it beside the others, which keep their results:`);
  console.log(`  npm run bench:peers -- --peers ${name} --merge`);
}
