import { createHash } from 'node:crypto';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { defineConfig, type Plugin } from 'vite';
// @ts-expect-error: plain JavaScript, like all of the benchmark.
import { summarise } from '../bench/summary.mjs';
// @ts-expect-error: see above.
import { pageOf } from './charts.mjs';

/** Where `npm run dev` finds the sync server. */
const SYNC_SERVER = process.env['SYNC_SERVER'] ?? 'http://127.0.0.1:8787';

export default defineConfig({
  plugins: [benchmarks(), serviceWorker()],
  build: { target: 'es2022', sourcemap: false, rolldownOptions: { input: ['index.html', 'benchmarks.html'].map((page) => join(import.meta.dirname, page)) } },
  // The package finds its wasm beside its module; bundled ahead into Vite's cache folder it would look there.
  optimizeDeps: { exclude: ['objectql-offline'] },
  server: { proxy: { '/api': { target: SYNC_SERVER, ws: true } } },
});

/** Puts what was measured (bench/results.json) into `benchmarks.html`. */
function benchmarks(): Plugin {
  return {
    name: 'benchmarks',
    transformIndexHtml: {
      order: 'pre',
      async handler(html, { path }) {
        if (path !== '/benchmarks.html') return html;
        const results = JSON.parse(await readFile(new URL('../bench/results.json', import.meta.url), 'utf8'));
        return html.replace('<!-- benchmarks -->', () => pageOf(summarise(results)));
      },
    },
  };
}

/** Writes `sw.js` last, when every file it has to keep is on the disk. */
function serviceWorker(): Plugin {
  let outDir = '';
  return {
    name: 'service-worker',
    apply: 'build',
    configResolved(config) {
      outDir = join(config.root, config.build.outDir);
    },
    async closeBundle() {
      const files = (await filesIn(outDir)).filter((file) => file !== 'sw.js').sort();
      const hash = createHash('sha256');
      for (const file of files) hash.update(file).update(await readFile(join(outDir, file)));
      const template = await readFile(new URL('service-worker.js', import.meta.url), 'utf8');
      hash.update(template);
      const worker = template
        .replace('__VERSION__', hash.digest('hex').slice(0, 12))
        .replace('__SHELL__', JSON.stringify(files.map((file) => `/${file}`)));
      await writeFile(join(outDir, 'sw.js'), worker);
    },
  };
}

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'));
}
