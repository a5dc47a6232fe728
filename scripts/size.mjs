// Prints what the package weighs in an app, as Vite bundles it, and fails above the limit of size-limit.json. With `--report` it
// prints what the wasm is made of instead.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { buildWasmWithNames } from './build.mjs';
import { Failure, ROOT, runAsScript } from './process.mjs';
import { crateOf, moduleOf, plainName, sumBy, wasmContents } from './wasm-contents.mjs';

const ENTRY = 'an-app.js';
const LARGEST = 30;

/** Bundles an app that uses the whole package; returns the bytes of the wasm, of the JavaScript that it loads at first, and of that which only worker mode loads. */
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
  const chunks = output.filter(({ type }) => type === 'chunk');
  const atFirst = chunks.filter(({ fileName, isEntry }) => isEntry || chunks.some(({ imports }) => imports.includes(fileName)));
  const javaScript = atFirst.map(({ code }) => code).join('');
  const worker = output.find(({ type, fileName }) => type === 'asset' && /\bworker-.*\.js$/.test(fileName));
  if (worker === undefined) throw new Failure('the bundle has no worker');
  const later = chunks.filter((chunk) => !atFirst.includes(chunk)).map(({ code }) => code);
  return { wasm: Buffer.from(wasm[0].source), javaScript: Buffer.from(javaScript), worker: Buffer.from(later.join('') + worker.source) };
}

await runAsScript(import.meta.url, async ([option]) => {
  if (option === '--report') return report();
  if (option !== undefined) throw new Failure(`there is no option ${option}: take --report or none`);
  const { gzipBytes: limit } = JSON.parse(readFileSync(`${ROOT}scripts/size-limit.json`, 'utf8'));
  const sizes = Object.entries(await bundle()).map(([name, bytes]) => ({
    name,
    plain: bytes.length,
    gzip: gzipSync(bytes, { level: 9 }).length,
    brotli: brotliCompressSync(bytes).length,
  }));
  // Who does without worker mode never loads its scripts.
  const [worker] = sizes.splice(2);
  const sum = (key) => sizes.reduce((total, size) => total + size[key], 0);
  const total = { name: 'total', plain: sum('plain'), gzip: sum('gzip'), brotli: sum('brotli') };
  const cell = (bytes) => bytes.toLocaleString('en').padStart(11);
  console.log(`${''.padEnd(11)}${['bytes', 'gzip', 'brotli'].map((title) => title.padStart(11)).join('')}`);
  for (const { name, plain, gzip, brotli } of [...sizes, total, worker]) console.log(name.padEnd(11) + [plain, gzip, brotli].map(cell).join(''));
  if (total.gzip > limit) {
    throw new Failure(`the package has ${total.gzip - limit} bytes more than the ${limit} of scripts/size-limit.json`);
  }
  console.log(`${(limit - total.gzip).toLocaleString('en')} bytes below the limit of ${limit.toLocaleString('en')} (gzip).`);
});

/** The wasm by section, crate and module, and its largest functions, from a build with names. */
async function report() {
  const folder = mkdtempSync(join(tmpdir(), 'objectql-size-'));
  try {
    const { sections, functions } = wasmContents(readFileSync(await buildWasmWithNames(folder)));
    const total = functions.reduce((sum, { bytes }) => sum + bytes, 0);
    const own = functions.filter(({ name }) => /^objectql_/.test(crateOf(name)));
    print('Sections', sections.filter(({ name }) => name !== 'name'), total);
    print('Functions by the crate that their code is from', sumBy(functions, crateOf), total);
    print('Those of our own crates by module', sumBy(own, moduleOf), total);
    const largest = functions.map(({ name, bytes }) => ({ name: plainName(name), bytes })).sort((one, two) => two.bytes - one.bytes);
    print(`The ${LARGEST} largest functions`, largest.slice(0, LARGEST), total);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function print(title, rows, total) {
  console.log(`\n${title}: bytes before compression, and their share of all functions`);
  for (const { name, bytes, count } of rows) {
    const share = `${((100 * bytes) / total).toFixed(1)} %`;
    console.log(`${bytes.toLocaleString('en').padStart(9)}${share.padStart(8)}  ${name}${count === undefined ? '' : ` (${count})`}`);
  }
}
