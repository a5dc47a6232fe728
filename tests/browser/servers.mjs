// The two servers that every browser test runs against: `real`, objectql-sync-server, and `plain` (tests/plain-server), which
// does what the wire format says and no more. OBJECTQL_TEST_SERVER names the one of this run.

/** Which server this run is against. */
export const SERVER = process.env.OBJECTQL_TEST_SERVER ?? 'real';

/** Whether it is the one that promises nothing. */
export const isPlain = SERVER === 'plain';

/** The variable that names each server's program. */
const PROGRAMS = { real: 'OBJECTQL_SYNC_SERVER', plain: 'OBJECTQL_PLAIN_SERVER' };

/** The program of this run's server. */
export function serverProgram() {
  if (!Object.hasOwn(PROGRAMS, SERVER)) throw new Error(`OBJECTQL_TEST_SERVER is ${SERVER}: there are ${Object.keys(PROGRAMS).join(' and ')}`);
  const program = process.env[PROGRAMS[SERVER]];
  if (!program) throw new Error(`${PROGRAMS[SERVER]} must name the server program: run \`npm run test:browser\``);
  return program;
}
