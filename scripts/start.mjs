// `npm start`: installs what is missing, builds, and serves the demo and its sync endpoint from one process.
import { mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
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
  const args = ['--db', 'data/demo.db', '--objects', 'www/objects', '--static', 'www/dist', '--listen', listen];
  // In a group of its own: else Ctrl+C would reach it twice, from the terminal and from here, and a second one means "at once".
  const child = start(server, args, { detached: process.platform !== 'win32' });
  const ended = new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  if (await answers(port, child)) console.log(`\n  The demo is at http://${listen} - Ctrl+C ends it.\n`);
  const { code, signal } = await ended;
  if (code !== 0 && process.exitCode === undefined) throw new Failure(`the server ended with ${signal ?? code}`);
  if (code === 0) process.exitCode = 0;
}

/** Waits until something listens on the port; false when the server ended instead. */
async function answers(port, child) {
  while (child.exitCode === null && child.signalCode === null) {
    const isOpen = await new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('connect', () => (socket.destroy(), resolve(true)));
      socket.once('error', () => resolve(false));
    });
    if (isOpen) return true;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return false;
}
