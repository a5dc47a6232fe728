// `npm start`: installs what is missing, builds, and serves the demo and its sync endpoint from one process.
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { buildDemo, buildPackage, buildServer } from './build.mjs';
import { Failure, ROOT, runAsScript, start } from './process.mjs';

await runAsScript(import.meta.url, async () => {
  const port = Number(process.env.PORT ?? 8787);
  if (!Number.isInteger(port) || port < 1 || port > 65535) throw new Failure(`PORT is ${process.env.PORT}, which is no port`);
  await buildPackage();
  await buildDemo();
  console.log('Building the server.');
  const server = await buildServer();
  mkdirSync(join(ROOT, 'data'), { recursive: true });
  await serve(server, port);
});

async function serve(server, port) {
  const listen = `127.0.0.1:${port}`;
  const args = ['--db', 'data/demo.db', '--objects', 'www/objects', '--static', 'www/dist', '--realtime', '--listen', listen];
  // In a group of its own: else Ctrl+C would reach it twice, from the terminal and from here, and a second one means "at once".
  const child = start(server, args, { stdio: ['ignore', 'pipe', 'inherit'], detached: process.platform !== 'win32' });
  createInterface({ input: child.stdout }).on('line', (line) => {
    const address = line.match(/^listening on (.*)/)?.[1];
    console.log(address === undefined ? line : `\n  The demo is at ${address} - Ctrl+C ends it.\n`);
  });
  const [code, signal] = await once(child, 'exit');
  if (code === 0) process.exitCode = 0;
  else throw new Failure(`the server ended with ${signal ?? code}; where the port is taken, try another: PORT=8788 npm start`);
}
