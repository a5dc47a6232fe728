// What the scripts need that measure or break the real thing: the built package, the real servers, a browser, a folder.
import { buildPackage, buildPlainServer, buildServer } from './build.mjs';
import { ensureChromium } from './setup.mjs';

/**
 * Builds and installs what is missing, and runs `task` with the tests' parts (`tests/browser/parts.mjs`), a folder of its own, and a
 * list of what is to be closed afterwards, last first. `server`: `real` or `plain`.
 */
export async function withRealParts(task, server = 'real') {
  await buildPackage();
  process.env.OBJECTQL_TEST_SERVER = server;
  process.env.OBJECTQL_SYNC_SERVER = await buildServer();
  if (server === 'plain') process.env.OBJECTQL_PLAIN_SERVER = await buildPlainServer();
  process.env.CHROMIUM = await ensureChromium();
  const parts = await import('../tests/browser/parts.mjs');
  const folder = parts.newFolder();
  const closers = [() => parts.removeFolder(folder)];
  try {
    await task(parts, folder, closers);
  } finally {
    for (const close of closers.reverse()) await close();
  }
}
