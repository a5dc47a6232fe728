// Child processes: run to their end, and never left behind.
import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The root of the repository, with a slash at the end. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url));

const children = new Set();

process.on('exit', () => {
  for (const child of children) child.kill();
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    for (const child of children) child.kill(signal);
    // Without children nothing ends this process; with them, their end does.
    if (children.size === 0) process.exit(1);
    process.exitCode = 1;
  });
}

/** Starts a command at the root; the child is ended when this process ends. */
export function start(command, args, { env = {}, ...options } = {}) {
  const child = spawn(command, args, { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, ...env }, ...options });
  children.add(child);
  child.once('exit', () => children.delete(child));
  child.once('error', () => children.delete(child));
  return child;
}

/** Runs a command at the root and waits for it; rejects when it does not end with 0. */
export function run(command, args, options) {
  return new Promise((resolve, reject) => {
    const child = start(command, args, options);
    child.once('error', (cause) => reject(new Failure(`${command} cannot be run: ${cause.message}`)));
    child.once('exit', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Failure(`${[command, ...args].join(' ')} ended with ${signal ?? code}`));
    });
  });
}

/** Runs npm: the one that runs this script, if one does. */
export function npm(...args) {
  const { npm_execpath: path } = process.env;
  if (path?.endsWith('js')) return run(process.execPath, [path, ...args]);
  return run('npm', args, { shell: process.platform === 'win32' });
}

/** What a command prints; undefined when it is not there or fails. */
export function output(command, args) {
  const { status, stdout } = spawnSync(command, args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return status === 0 ? stdout.trim() : undefined;
}

/** A failure that its message says all about; no stack is shown. */
export class Failure extends Error {}

/** Runs a script's `main` when the script is the one that was started, and says how it failed. */
export async function runAsScript(url, main) {
  if (process.argv[1] === undefined || fileURLToPath(url) !== (await import('node:fs')).realpathSync(process.argv[1])) return;
  try {
    await main(process.argv.slice(2));
  } catch (error) {
    console.error(`\n${error instanceof Failure ? error.message : error.stack}`);
    process.exitCode = 1;
  }
}
