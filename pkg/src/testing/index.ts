export { type Fault, type Faults } from './faults.js';
export type { Fields, SyncMutation, SyncRequest } from './message.js';
export { openTestPair, type TestPair, type TestPairOptions } from './pair.js';
export { type TestRequest, TestServer, type TestServerOptions } from './server.js';
