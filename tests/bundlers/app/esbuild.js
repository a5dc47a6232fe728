import wasm from 'objectql-offline/objectql_offline_bg.wasm';
import { show } from './run.js';

show({ wasm: new URL(wasm, import.meta.url), workerUrl: 'worker.js' });
