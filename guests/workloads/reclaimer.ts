/**
 * reclaim: a kernel thread that looks at anonymous pages of all processes, and so stores to their page tables at any time.
 *
 * Arguments: pages looked at per round. Lock: none.
 */
import { peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { STEP_AGAIN, STEP_EXIT, type KernelCpu, type Program } from '../kernel/context.js';
import { reclaimOne } from '../kernel/reclaim.js';
import { taskArg, taskWord, type Task } from '../kernel/task.js';
import { quietProgram } from './quiet.js';
import { PROGRAM_ARGS } from './spawner.js';

const PAGES = PROGRAM_ARGS;
const DONE = 2;
/** Pages looked at in one step. */
const QUANTUM = 4;

export const reclaimer: Program = Object.freeze({
  name: 'reclaim',
  kernelThread: true,
  *step(c: KernelCpu, t: Task): Steps<number> {
    const done = peek(taskWord(t, DONE));
    for (let i = 0; i < QUANTUM; i++) yield* reclaimOne(c);
    poke(taskWord(t, DONE), done + QUANTUM);
    return done + QUANTUM < taskArg(t, PAGES) ? STEP_AGAIN : STEP_EXIT;
  },
  ...quietProgram,
});
