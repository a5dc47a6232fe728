// Builds the driver, the package and the demo. What has not changed is not built again.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { npm, ROOT, run, runAsScript } from './process.mjs';
import { ensureNpmPackages, ensureRust, ensureWasmBindgen, ensureWasmTarget } from './setup.mjs';

/** Where cargo puts what it builds. */
export const TARGET = process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target');

const STAMPS = join(ROOT, '.tools/stamps');
const WASM = join(ROOT, 'pkg/wasm');
const BUILT_WASM = join(WASM, 'objectql_offline_bg.wasm');

/** What Rust's compiler uses and every browser since 2023 has; `wasm-opt` must know to read its output. */
const WASM_FEATURES = ['bulk-memory', 'multivalue', 'mutable-globals', 'nontrapping-float-to-int', 'reference-types', 'sign-ext'];
/**
 * -O3, -Os and -Oz differ by less than half a percent once compressed, so it may as well be the fastest. But nothing larger goes into the only
 * function that calls it: in functions of 50 KB less is alike, and a browser compiles all of one at its first call and again when it is hot.
 */
const OPTIMISE = ['-O3', '--one-caller-inline-max-function-size=20', '--strip-producers', ...WASM_FEATURES.map((name) => `--enable-${name}`)];

/** The places of panics name files: relative ones, the same on every machine and nobody else's business. */
const CARGO_HOME = process.env.CARGO_HOME ?? join(homedir(), '.cargo');
const RELATIVE_PATHS = [`--remap-path-prefix=${join(CARGO_HOME, 'registry/src')}=`, `--remap-path-prefix=${ROOT}=`].join('\x1f');

/** Installs what is missing and builds the package: wasm, JavaScript and types. */
export async function buildPackage() {
  await ensureNpmPackages();
  await ensureRust();
  await ensureWasmTarget();
  await buildWasm(await ensureWasmBindgen());
  await buildTypeScript();
}

/** Builds the demo on top of the package. */
export async function buildDemo() {
  const measured = hashOf('bench/results.json', 'bench/summary.mjs', 'bench/peers.mjs');
  const inputs = [hashOf('pkg/dist', 'pkg/wasm', 'www'), hashOf('package-lock.json'), measured];
  await unlessDone('www', inputs, ['www/dist/index.html', 'www/dist/benchmarks.html'], async () => {
    console.log('Building the demo.');
    await npm('run', 'build', '-w', 'www');
  });
}

/** Builds the sync server and returns the path of its program. */
export async function buildServer() {
  return buildProgram('objectql-sync-server', 'release');
}

/** Builds the server that knows the wire format only, which tests need, and returns the path of its program. */
export async function buildPlainServer() {
  return buildProgram('plain-server', 'debug');
}

async function buildProgram(name, profile) {
  await run('cargo', ['build', '--quiet', ...(profile === 'release' ? ['--release'] : []), '-p', name]);
  return join(TARGET, profile, `${name}${process.platform === 'win32' ? '.exe' : ''}`);
}

async function buildWasm(wasmBindgen) {
  const compiled = await compileWasm();
  const outputs = ['objectql_offline.js', 'objectql_offline.d.ts', 'objectql_offline_bg.wasm'].map((name) => `pkg/wasm/${name}`);
  await unlessDone('wasm', [readFileSync(compiled), hashOf('package-lock.json', 'scripts/build.mjs')], outputs, async () => {
    console.log('Building the driver for the browser.');
    rmSync(WASM, { recursive: true, force: true });
    await bind(wasmBindgen, compiled, WASM);
    // A .gitignore in here would keep the files from being packed, and a package.json would be taken for the package's.
    for (const name of ['.gitignore', 'package.json', 'README.md']) rmSync(join(WASM, name), { force: true });
    await optimise(BUILT_WASM, '--strip-debug');
  });
}

/** Builds the wasm as it is shipped, but with the names of its functions, into a folder; returns its path. */
export async function buildWasmWithNames(folder) {
  await ensureNpmPackages();
  await ensureRust();
  await ensureWasmTarget();
  await bind(await ensureWasmBindgen(), await compileWasm(), folder);
  const path = join(folder, basename(BUILT_WASM));
  await optimise(path, '--debuginfo');
  return path;
}

async function compileWasm() {
  // Cargo knows best whether anything changed, its compiler included; it says so in a fraction of a second.
  await run('cargo', ['build', '--quiet', '--profile', 'wasm', '--target', 'wasm32-unknown-unknown', '-p', 'objectql-offline'], {
    env: { CARGO_ENCODED_RUSTFLAGS: RELATIVE_PATHS },
  });
  return join(TARGET, 'wasm32-unknown-unknown/wasm/objectql_offline.wasm');
}

async function bind(wasmBindgen, compiled, folder) {
  // The package says itself where the wasm is (pkg/src/driver.ts); twice would have bundlers copy it twice.
  const flags = ['--target', 'web', '--omit-default-module-path', '--out-dir', folder, '--out-name', 'objectql_offline'];
  await run(wasmBindgen, [...flags, compiled]);
}

async function optimise(path, names) {
  const optimised = `${path}.tmp`;
  await run(process.execPath, [join(ROOT, 'node_modules/binaryen/bin/wasm-opt'), ...OPTIMISE, names, path, '-o', optimised]);
  renameSync(optimised, path);
}

async function buildTypeScript() {
  const inputs = [hashOf('pkg/src', 'pkg/generate', 'pkg/tsconfig.json', 'pkg/wasm/objectql_offline.d.ts', 'package-lock.json')];
  await unlessDone('pkg', inputs, ['pkg/dist/index.js', 'pkg/dist/generate/cli.js'], async () => {
    console.log('Building the package.');
    // What a source that is gone left behind would be packed.
    rmSync(join(ROOT, 'pkg/dist'), { recursive: true, force: true });
    for (const project of ['pkg', 'pkg/generate']) await run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', project]);
  });
}

/** Runs `build` unless it ended well for the same inputs before and its outputs are still there. */
async function unlessDone(name, inputs, outputs, build) {
  const stamp = join(STAMPS, name);
  const hash = createHash('sha256');
  for (const input of inputs) hash.update(input);
  const now = hash.digest('hex');
  const isDone = existsSync(stamp) && readFileSync(stamp, 'utf8') === now && outputs.every((path) => existsSync(join(ROOT, path)));
  if (isDone) return;
  await build();
  mkdirSync(STAMPS, { recursive: true });
  writeFileSync(stamp, now);
}

/** A hash over the names and the bytes of files and folders, without what is built or installed in them. */
function hashOf(...paths) {
  const hash = createHash('sha256');
  const add = (path) => {
    const entry = join(ROOT, path);
    const children = readFolder(entry);
    if (children === undefined) hash.update(`${path}\0`).update(readFileSync(entry)).update('\0');
    else for (const child of children) if (!isBuilt(`${path}/${child}`)) add(`${path}/${child}`);
  };
  for (const path of paths) add(path);
  return hash.digest();
}

function isBuilt(path) {
  return /(^|\/)node_modules$|^www\/(dist|src\/generated)$/.test(path);
}

function readFolder(path) {
  try {
    return readdirSync(path).sort();
  } catch (error) {
    if (error.code === 'ENOTDIR') return undefined;
    throw error;
  }
}

await runAsScript(import.meta.url, async () => {
  await buildPackage();
  await buildDemo();
});
