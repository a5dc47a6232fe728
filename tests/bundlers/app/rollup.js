import { show } from './run.js';

show({ workerUrl: 'worker.js' });
