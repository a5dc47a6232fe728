// `test` of node:test for the browser tests, and the tests that only one of the two servers can have.
import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { after, test as register } from 'node:test';
import { SERVER } from './servers.mjs';

const NO_SOCKETS = 'realtime is an extension that the plain server does not have';

/** The tests about something which only one of the servers does: server, file, name, and the reason. The other has none of them. */
const ONLY = {
  real: {
    'offline.test.mjs': {
      'a rejected write falls back to what the server has, and goes through once it is put right': 'the plain server has no definitions to check a record against',
    },
    'realtime.test.mjs': {
      'a change reaches the live query of another client at once': NO_SOCKETS,
      'one of several tabs has a socket, and all of them follow': NO_SOCKETS,
      'a socket that is cut is opened again, and nothing is missed': NO_SOCKETS,
      'a socket on which nothing arrives any more is given up': NO_SOCKETS,
      'a server that was restarted rings again': NO_SOCKETS,
      'a token is in the first message and in no URL': NO_SOCKETS,
      'a client whose headers fail tries again later': NO_SOCKETS,
      'a closed database has no socket': NO_SOCKETS,
    },
    'network.test.mjs': {
      'a push whose answer is lost is sent again as it was and applied once': 'only a server that knows a mutation again may be sent the same request',
      'a push that does not arrive is sent again as it was': 'likewise: from others the driver asks first what became of it',
    },
    'worker-mode.test.mjs': {
      'the server rings for a driver in a worker': NO_SOCKETS,
      'a worker whose page is hidden for long lets go of its socket, and has one again when somebody looks': NO_SOCKETS,
    },
    'bfcache.test.mjs': { 'a page that is shown again syncs and rings by itself when no other one does': NO_SOCKETS },
    'workers.test.mjs': { 'the server rings for workers of all kinds': NO_SOCKETS },
  },
  plain: {},
};

const file = basename(process.argv[1]);
const met = new Set();

/** Registers a test, if it is one that this run's server can have. */
export function test(name, ...rest) {
  met.add(name);
  const isForOther = Object.entries(ONLY).some(([server, files]) => server !== SERVER && Object.hasOwn(files[file] ?? {}, name));
  if (!isForOther) register(name, ...rest);
}

after(() => {
  const named = Object.values(ONLY).flatMap((files) => Object.keys(files[file] ?? {}));
  assert.deepEqual(named.filter((name) => !met.has(name)), [], `tests/browser/only.mjs names tests that ${file} does not have`);
});
