/** Thread entry of one vCPU of a small scenario. Parallel build only. */
import { sideThread } from '../src/lab/small/side-thread.js';
import { attachSmall } from './step-vcpu.js';

sideThread(attachSmall);
