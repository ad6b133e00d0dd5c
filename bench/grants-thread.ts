/** One thread of bench/grants.ts. */
import { workerData } from 'node:worker_threads';
import { serve } from './grants.js';

const { n, index } = workerData as { n: number; index: number };
serve(n, index);
