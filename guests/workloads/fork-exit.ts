/**
 * fork-exit: touches memory, forks; parent and child write to what they share, and exit; whoever is last.
 *
 * With `exec` the child replaces its address space before it exits.
 * Arguments: pages, children, exec. Lock: none.
 */
import { makeVa, type Va } from '../../src/abi/frames.js';
import { ldOnce, peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { forkTask } from '../kernel/clone.js';
import { STEP_AGAIN, STEP_EXIT, STEP_SLEEP, type KernelCpu, type Program } from '../kernel/context.js';
import { execTask } from '../kernel/exec.js';
import type { Mm } from '../kernel/mm.js';
import { mmapAnon } from '../kernel/mmap.js';
import { task, taskArg, taskWord, type Task } from '../kernel/task.js';
import { userTouch } from '../kernel/user.js';
import { VM_READ, VM_WRITE } from '../kernel/vma.js';
import { random } from './random.js';
import { quietProgram } from './quiet.js';
import { PROGRAM_ARGS, THREAD_NUMBER } from './spawner.js';

const PAGES = PROGRAM_ARGS;
const CHILDREN = PROGRAM_ARGS + 1;
const EXEC = PROGRAM_ARGS + 2;

const STAGE = 0;
const FORKED = 2;
const MAP = 0;
const FORK = 1;
const WRITE = 2;
const WAIT = 3;
const CHILD = 4;
const CHILD_EXEC = 5;

const range = (t: Task): Va => makeVa(64, 0, peek(taskWord(t, THREAD_NUMBER)), 0);

export const forkExit: Program = Object.freeze({
  name: 'fork-exit',
  kernelThread: false,
  *step(c: KernelCpu, t: Task): Steps<number> {
    switch (peek(taskWord(t, STAGE))) {
      case MAP:
        yield* mmapAnon(c, peek(task.mm(t)) as Mm, range(t), taskArg(t, PAGES), VM_READ | VM_WRITE);
        yield* userTouch(c, range(t), taskArg(t, PAGES), true);
        poke(taskWord(t, STAGE), FORK);
        return STEP_AGAIN;
      case FORK:
        return yield* forkNext(c, t);
      case WRITE:
        yield* writeSome(c, t);
        poke(taskWord(t, STAGE), WAIT);
        return STEP_AGAIN;
      case WAIT:
        // raced on purpose: each death wakes
        return (yield* ldOnce(task.children(t))) === 0 ? STEP_EXIT : STEP_SLEEP;
      case CHILD:
        yield* writeSome(c, t);
        poke(taskWord(t, STAGE), CHILD_EXEC);
        return taskArg(t, EXEC) === 0 ? STEP_EXIT : STEP_AGAIN;
      default:
        yield* execTask(c, t);
        return STEP_EXIT;
    }
  },
  ...quietProgram,
});

function* forkNext(c: KernelCpu, t: Task): Steps<number> {
  const forked = peek(taskWord(t, FORKED));
  if (forked < taskArg(t, CHILDREN)) {
    poke(taskWord(t, FORKED), forked + 1);
    yield* forkTask(c, t, CHILD);
  } else poke(taskWord(t, STAGE), WRITE);
  return STEP_AGAIN;
}

/** A store to half of the pages, at random. */
function* writeSome(c: KernelCpu, t: Task): Steps<void> {
  const pages = taskArg(t, PAGES);
  for (let i = 0; i < pages; i += 2) {
    yield* userTouch(c, (range(t) + random(c, t, pages) * 4096) as Va, 1, true);
  }
}
