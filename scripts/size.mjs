// Prints what the package weighs in an app, as Vite bundles it, and fails above the limit of size-limit.json.
import { readFileSync } from 'node:fs';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { Failure, ROOT, runAsScript } from './process.mjs';

const ENTRY = 'an-app.js';

/** Bundles an app that uses the whole package; returns the bytes of its JavaScript and of the wasm. */
export async function bundle() {
  const { build } = await import('vite');
  const app = {
    name: 'an-app',
    resolveId: (id) => (id === ENTRY ? `${ROOT}${ENTRY}` : undefined),
    load: (id) => (id === `${ROOT}${ENTRY}` ? `import * as api from 'objectql-offline'; globalThis.api = api;` : undefined),
  };
  const { output } = await build({
    root: ROOT,
    configFile: false,
    logLevel: 'error',
    publicDir: false,
    plugins: [app],
    build: { write: false, target: 'es2022', modulePreload: false, rollupOptions: { input: ENTRY } },
  });
  const wasm = output.filter(({ fileName }) => fileName.endsWith('.wasm'));
  if (wasm.length !== 1) throw new Failure(`the bundle has ${wasm.length} wasm files instead of 1`);
  const javaScript = output.filter(({ type }) => type === 'chunk').map(({ code }) => code).join('');
  return { wasm: Buffer.from(wasm[0].source), javaScript: Buffer.from(javaScript) };
}

await runAsScript(import.meta.url, async () => {
  const { gzipBytes: limit } = JSON.parse(readFileSync(`${ROOT}scripts/size-limit.json`, 'utf8'));
  const sizes = Object.entries(await bundle()).map(([name, bytes]) => ({
    name,
    plain: bytes.length,
    gzip: gzipSync(bytes, { level: 9 }).length,
    brotli: brotliCompressSync(bytes).length,
  }));
  const sum = (key) => sizes.reduce((total, size) => total + size[key], 0);
  const total = { name: 'total', plain: sum('plain'), gzip: sum('gzip'), brotli: sum('brotli') };
  const cell = (bytes) => bytes.toLocaleString('en').padStart(11);
  console.log(`${''.padEnd(11)}${['bytes', 'gzip', 'brotli'].map((title) => title.padStart(11)).join('')}`);
  for (const { name, plain, gzip, brotli } of [...sizes, total]) console.log(name.padEnd(11) + [plain, gzip, brotli].map(cell).join(''));
  if (total.gzip > limit) {
    throw new Failure(`the package has ${total.gzip - limit} bytes more than the ${limit} of scripts/size-limit.json`);
  }
  console.log(`${(limit - total.gzip).toLocaleString('en')} bytes below the limit of ${limit.toLocaleString('en')} (gzip).`);
});
