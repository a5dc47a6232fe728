import { run } from './run.js';

console.log(await run({ storage: 'memory' }));
