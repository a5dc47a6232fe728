// `npm run bench:peers`: the driver beside other client-side databases, in one browser; writes docs/benchmarks.md.
// `-- --peers driver,raw-idb,dexie --repeats 2` measures a part of them, `-- --merge` adds to what was measured before (bench/run.mjs).
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { buildPackage } from './build.mjs';
import { ROOT, run, runAsScript } from './process.mjs';
import { ensureChromium } from './setup.mjs';

const FOLDER = join(ROOT, 'bench');

await runAsScript(import.meta.url, async (options) => {
  await buildPackage();
  if (!existsSync(join(FOLDER, 'node_modules'))) {
    console.log('Installing the other databases in bench/node_modules (270 MB).');
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
    await run(npm, ['install', '--no-package-lock', '--no-audit', '--no-fund', '--ignore-scripts'], { cwd: FOLDER });
  }
  const env = { CHROMIUM: await ensureChromium() };
  await run(process.execPath, ['run.mjs', ...options], { cwd: FOLDER, env });
  await run(process.execPath, ['report.mjs'], { cwd: FOLDER });
});
