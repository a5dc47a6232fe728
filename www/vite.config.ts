import { createHash } from 'node:crypto';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { defineConfig, type Plugin } from 'vite';

/** Where `npm run dev` finds the sync server. */
const SYNC_SERVER = process.env['SYNC_SERVER'] ?? 'http://127.0.0.1:8787';

export default defineConfig({
  plugins: [serviceWorker()],
  build: { target: 'es2022', sourcemap: false },
  // The package finds its wasm beside its module; bundled ahead into Vite's cache folder it would look there.
  optimizeDeps: { exclude: ['objectql-offline'] },
  server: { proxy: { '/api': { target: SYNC_SERVER, ws: true } } },
});

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
