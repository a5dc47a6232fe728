// Installs what is missing. Each function checks first, in milliseconds, and says in a line what it installs and why.
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { Failure, npm, output, ROOT, run, runAsScript } from './process.mjs';

const WASM_TARGET = 'wasm32-unknown-unknown';
const TOOLS = join(ROOT, '.tools');
const EXE = process.platform === 'win32' ? '.exe' : '';

/** The npm packages, at the versions of package-lock.json. */
export async function ensureNpmPackages() {
  if (arePackagesInstalled()) return;
  console.log('Installing the npm packages of package-lock.json: the bundler, the compiler, the test browser library.');
  await npm('ci', '--no-audit', '--no-fund');
}

/** Compares what npm says it installed with package-lock.json. Dates would not do: `npm install` writes both at once. */
function arePackagesInstalled() {
  const packagesOf = (path) => JSON.parse(readFileSync(join(ROOT, path), 'utf8')).packages;
  if (!existsSync(join(ROOT, 'node_modules/.package-lock.json'))) return false;
  const installed = packagesOf('node_modules/.package-lock.json');
  return Object.entries(packagesOf('package-lock.json')).every(([path, { version, optional, link }]) => {
    if (path === '' || optional) return true;
    return path in installed && (link || installed[path].version === version);
  });
}

/** Cargo, with the parts that `npm test` calls. Rust itself is the one thing that is not installed from here. */
export async function ensureRust() {
  if (output('cargo', ['--version']) === undefined) {
    throw new Failure('Rust is not installed. Get it from https://rustup.rs and run this again.');
  }
  for (const [name, command] of [['clippy', 'cargo-clippy'], ['rustfmt', 'rustfmt']]) {
    if (output(command, ['--version']) !== undefined) continue;
    console.log(`Installing ${name} through rustup: npm test checks the Rust code with it.`);
    await run('rustup', ['component', 'add', name]);
  }
}

/** The standard library for WebAssembly. */
export async function ensureWasmTarget() {
  const sysroot = output('rustc', ['--print', 'sysroot']);
  if (sysroot !== undefined && existsSync(join(sysroot, 'lib/rustlib', WASM_TARGET))) return;
  console.log(`Installing the Rust target ${WASM_TARGET} through rustup: the driver is compiled to it.`);
  await run('rustup', ['target', 'add', WASM_TARGET]);
}

/** wasm-bindgen's tool, whose version must be that of the library; returns its path. */
export async function ensureWasmBindgen() {
  const version = lockedVersion('wasm-bindgen');
  const own = join(TOOLS, 'bin', `wasm-bindgen${EXE}`);
  const isRight = (command) => output(command, ['--version']) === `wasm-bindgen ${version}`;
  for (const command of ['wasm-bindgen', own]) if (isRight(command)) return command;
  console.log(`Installing wasm-bindgen-cli ${version} into .tools, a few minutes: it writes the JavaScript side of the driver.`);
  const args = ['install', 'wasm-bindgen-cli', '--version', version, '--root', TOOLS, '--force'];
  try {
    await run('cargo', [...args, '--locked']);
  } catch {
    console.log('That did not build with its own Cargo.lock; trying with the newest versions that fit.');
    await run('cargo', args);
  }
  if (!isRight(own)) throw new Failure(`${own} is not wasm-bindgen ${version} after its installation`);
  return own;
}

function lockedVersion(name) {
  const lock = readFileSync(join(ROOT, 'Cargo.lock'), 'utf8');
  const version = lock.match(new RegExp(`^name = "${name}"\\r?\\nversion = "([^"]+)"`, 'm'))?.[1];
  if (version === undefined) throw new Failure(`Cargo.lock has no ${name}`);
  return version;
}

/** A Chromium for the browser tests: CHROMIUM, one that is installed, else apt's, else Playwright's; returns its path. */
export async function ensureChromium() {
  const { CHROMIUM } = process.env;
  if (CHROMIUM) {
    if (existsSync(CHROMIUM)) return CHROMIUM;
    throw new Failure(`CHROMIUM is ${CHROMIUM}, which does not exist`);
  }
  const installed = [...installedBrowsers()].find((path) => existsSync(path));
  return installed ?? (await playwrightsBrowser()) ?? (await installWithApt()) ?? (await installWithPlaywright());
}

async function playwrightsBrowser() {
  const { chromium } = await import('playwright-core');
  return existsSync(chromium.executablePath()) ? chromium.executablePath() : undefined;
}

function* installedBrowsers() {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'];
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    for (const name of names) yield join(folder, name + EXE);
  }
  for (const app of ['Google Chrome', 'Chromium']) {
    for (const home of ['', process.env.HOME ?? '']) yield `${home}/Applications/${app}.app/Contents/MacOS/${app}`;
  }
  for (const folder of [process.env.PROGRAMFILES, process.env['PROGRAMFILES(X86)'], process.env.LOCALAPPDATA]) {
    if (folder) yield* ['Google/Chrome/Application/chrome.exe', 'Microsoft/Edge/Application/msedge.exe'].map((path) => join(folder, path));
  }
}

async function installWithApt() {
  if (process.platform !== 'linux' || output('apt-get', ['--version']) === undefined) return undefined;
  const isRoot = process.getuid() === 0;
  // Without -n a missing password would be asked for, on a machine where nobody answers.
  if (!isRoot && output('sudo', ['-n', 'true']) === undefined) return undefined;
  console.log('Installing Chromium with apt-get: the browser tests run in it.');
  const asRoot = (...command) => (isRoot ? run(command[0], command.slice(1), options) : run('sudo', ['-n', ...command], options));
  const options = { env: { DEBIAN_FRONTEND: 'noninteractive' } };
  try {
    await asRoot('apt-get', 'update', '-qq');
    await asRoot('apt-get', 'install', '-y', '-qq', '--no-install-recommends', 'chromium');
  } catch (error) {
    console.log(`That did not work: ${error.message}`);
    return undefined;
  }
  // On Ubuntu the package is a stub that wants snap, which a container does not have.
  const path = '/usr/bin/chromium';
  return output(path, ['--version']) === undefined ? undefined : path;
}

async function installWithPlaywright() {
  console.log("Installing Playwright's Chromium into its cache folder: the browser tests run in it.");
  const isRoot = process.platform === 'linux' && process.getuid() === 0;
  const cli = join(ROOT, 'node_modules/playwright-core/cli.js');
  await run(process.execPath, [cli, 'install', ...(isRoot ? ['--with-deps'] : []), 'chromium']);
  const path = await playwrightsBrowser();
  if (path === undefined) throw new Failure('no Chromium was found or could be installed: install one and set CHROMIUM to its path');
  return path;
}

await runAsScript(import.meta.url, async () => {
  await ensureNpmPackages();
  await ensureRust();
  await ensureWasmTarget();
  await ensureWasmBindgen();
  console.log(`Everything is there; the browser tests run in ${await ensureChromium()}.`);
});
