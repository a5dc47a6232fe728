import { show } from './run.js';

show();
