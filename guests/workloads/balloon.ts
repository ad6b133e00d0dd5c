/**
 * balloon: gives pages to Xen and takes as many back, so that frames change owner under everybody's feet.
 *
 * Arguments: pages. A kernel thread. Lock: none.
 */
import { peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { balloonIn, balloonOut } from '../drivers/balloon.js';
import { STEP_AGAIN, STEP_EXIT, type KernelCpu, type Program } from '../kernel/context.js';
import { taskArg, taskWord, type Task } from '../kernel/task.js';
import { quietProgram } from './quiet.js';
import { PROGRAM_ARGS } from './spawner.js';

const PAGES = PROGRAM_ARGS;

const STAGE = 0;
const OUT = 2;
const GIVE = 0;

export const balloon: Program = Object.freeze({
  name: 'balloon',
  kernelThread: true,
  *step(c: KernelCpu, t: Task): Steps<number> {
    const out = peek(taskWord(t, OUT));
    if (peek(taskWord(t, STAGE)) === GIVE) {
      const gave = out < taskArg(t, PAGES) && (yield* balloonOut(c));
      poke(taskWord(t, gave ? OUT : STAGE), gave ? out + 1 : GIVE + 1);
      return STEP_AGAIN;
    }
    if (out === 0 || !(yield* balloonIn(c))) return STEP_EXIT;
    poke(taskWord(t, OUT), out - 1);
    return STEP_AGAIN;
  },
  ...quietProgram,
});
