// How each bundler builds the app: with the least that a user has to say. The README's table of bundlers says the same.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { importMetaAssets } from '@web/rollup-plugin-import-meta-assets';
import { nodeResolve } from '@rollup/plugin-node-resolve';
import * as esbuild from 'esbuild';
import { rollup } from 'rollup';
import { build as vite } from 'vite';
import webpack from 'webpack';

const MODULE = '<script type="module" src="main.js"></script>';
/** The module of the worker, which some have to be told of. */
const WORKER = 'objectql-offline/worker';
const SCRIPT = '<script defer src="main.js"></script>';

/** By name: builds the app in `folder` into `out`, with a page. */
export const BUNDLERS = {
  async Vite(folder, out) {
    writePage(folder, MODULE);
    await vite({ root: folder, logLevel: 'error', configFile: false, build: { outDir: out } });
  },

  async webpack(folder, out) {
    writePage(out, SCRIPT);
    const compiler = webpack({ context: folder, mode: 'production', entry: './main.js', output: { path: out }, performance: false });
    const stats = await promisify(compiler.run.bind(compiler))();
    await promisify(compiler.close.bind(compiler))();
    const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true });
    if (errors.length + warnings.length > 0) throw new Error(JSON.stringify([...errors, ...warnings], null, 2));
  },

  async esbuild(folder, out) {
    writePage(out, MODULE);
    const entryPoints = { main: join(folder, 'esbuild.js'), worker: WORKER };
    const { warnings } = await esbuild.build({ absWorkingDir: folder, entryPoints, bundle: true, format: 'esm', minify: true, outdir: out, loader: { '.wasm': 'file' }, logLevel: 'silent' });
    if (warnings.length > 0) throw new Error(JSON.stringify(warnings, null, 2));
  },

  async Rollup(folder, out) {
    writePage(out, MODULE);
    const onwarn = (warning) => { throw new Error(warning.message); };
    const bundle = await rollup({ input: { main: join(folder, 'rollup.js'), worker: WORKER }, plugins: [nodeResolve(), importMetaAssets()], onwarn });
    await bundle.write({ dir: out });
    await bundle.close();
  },

  /** Without a bundler: the files as they are in the package, and the path of its module instead of its name. */
  async 'a plain page'(folder, out) {
    writePage(out, MODULE);
    cpSync(join(folder, 'node_modules/objectql-offline'), join(out, 'objectql-offline'), { recursive: true });
    for (const name of ['main.js', 'run.js']) cpSync(join(folder, name), join(out, name));
    rewrite(join(out, 'run.js'), `'objectql-offline'`, `'./objectql-offline/dist/index.js'`);
  },
};

function writePage(folder, script) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'index.html'), `<!doctype html><title></title>${script}\n`);
}

function rewrite(path, text, other) {
  writeFileSync(path, readFileSync(path, 'utf8').replace(text, other));
}
