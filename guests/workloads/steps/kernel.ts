/** Steps of kernel threads: reclaim, the balloon, deferred work, and doing nothing while interrupts are served. */
import { EAGAIN, ENOMEM } from '../../../src/abi/errno.js';
import type { Steps } from '../../../src/sync/steps.js';
import { balloonIn, balloonOut } from '../../drivers/balloon.js';
import type { KernelCpu } from '../../kernel/context.js';
import { reclaimOne } from '../../kernel/reclaim.js';
import { runWork } from '../../kernel/work.js';
import { arg, type Step } from './step.js';

export const kernelSteps: readonly Step[] = [
  {
    name: 'reclaim',
    process: false,
    *run(c: KernelCpu): Steps<number> {
      return (yield* reclaimOne(c)) ? 0 : -EAGAIN;
    },
  },
  {
    name: 'work',
    process: false,
    *run(c: KernelCpu): Steps<number> {
      return (yield* runWork(c)) ? 0 : -EAGAIN;
    },
  },
  {
    name: 'balloon-out',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      for (let n = arg(args, 0); n > 0; n--) if (!(yield* balloonOut(c))) return -ENOMEM;
      return 0;
    },
  },
  {
    name: 'balloon-in',
    process: false,
    *run(c: KernelCpu): Steps<number> {
      return (yield* balloonIn(c)) ? 0 : -ENOMEM;
    },
  },
  {
    name: 'poll',
    process: false,
    *run(c: KernelCpu): Steps<number> {
      yield* c.g.poll();
      return 0;
    },
  },
];
