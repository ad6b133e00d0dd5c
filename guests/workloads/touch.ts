/**
 * touch: maps memory, touches it, unmaps it, over and over, then exits.
 *
 * Every thread has a range of its own in one address space, so that faults, zaps and table frees of several vCPUs meet
 * under the mm's locks; with `share` all use one range, and some access finds it gone: SIGSEGV ends the process.
 * Arguments: pages, loops, share, free (MADV_FREE after touching, so that reclaim may take the pages). Lock: none.
 */
import { makeVa, type Va } from '../../src/abi/frames.js';
import { peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { STEP_AGAIN, STEP_EXIT, type KernelCpu, type Program } from '../kernel/context.js';
import { madviseFree } from '../kernel/madvise-free.js';
import type { Mm } from '../kernel/mm.js';
import { mmapAnon, munmap } from '../kernel/mmap.js';
import { task, taskArg, taskWord, type Task } from '../kernel/task.js';
import { userTouch } from '../kernel/user.js';
import { VM_READ, VM_WRITE } from '../kernel/vma.js';
import { quietProgram } from './quiet.js';
import { PROGRAM_ARGS, THREAD_NUMBER } from './spawner.js';

const PAGES = PROGRAM_ARGS;
const LOOPS = PROGRAM_ARGS + 1;
const SHARE = PROGRAM_ARGS + 2;
const FREE = PROGRAM_ARGS + 3;

const STAGE = 0;
const DONE = 2;
const LOOP = 3;
const MAP = 0;
const TOUCH = 1;
const UNMAP = 2;

/** Pages touched in one step. */
const QUANTUM = 8;

const range = (t: Task): Va => makeVa(64, 0, taskArg(t, SHARE) !== 0 ? 0 : peek(taskWord(t, THREAD_NUMBER)), 0);

export const touch: Program = Object.freeze({
  name: 'touch',
  kernelThread: false,
  *step(c: KernelCpu, t: Task): Steps<number> {
    const m = peek(task.mm(t)) as Mm;
    const pages = taskArg(t, PAGES);
    const stage = peek(taskWord(t, STAGE));
    if (stage === MAP) {
      if (peek(taskWord(t, LOOP)) >= taskArg(t, LOOPS)) return STEP_EXIT;
      yield* mmapAnon(c, m, range(t), pages, VM_READ | VM_WRITE);
      poke(taskWord(t, DONE), 0);
      poke(taskWord(t, STAGE), TOUCH);
    } else if (stage === TOUCH) {
      const done = peek(taskWord(t, DONE));
      const n = Math.min(QUANTUM, pages - done);
      yield* userTouch(c, (range(t) + done * 4096) as Va, n, true);
      poke(taskWord(t, DONE), done + n);
      if (done + n < pages) return STEP_AGAIN;
      if (taskArg(t, FREE) !== 0) yield* madviseFree(c, m, range(t), pages);
      poke(taskWord(t, STAGE), UNMAP);
    } else {
      yield* munmap(c, m, range(t), pages);
      poke(taskWord(t, LOOP), peek(taskWord(t, LOOP)) + 1);
      poke(taskWord(t, STAGE), MAP);
    }
    return STEP_AGAIN;
  },
  ...quietProgram,
});
