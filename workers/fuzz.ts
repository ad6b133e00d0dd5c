/** Thread entry of the fuzzer: episodes of hostile guests, or one vCPU of theirs. */
import { parentPort, workerData } from 'node:worker_threads';
import { serveFuzz, type FuzzTask } from '../src/lab/fuzz/serve.js';
import { hostileGuests } from './hostile.js';

serveFuzz((workerData as { task: FuzzTask }).task, hostileGuests, (m) => {
  parentPort?.postMessage(m);
});
