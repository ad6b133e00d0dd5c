/**
 * The spawner: a kernel thread per process slot. It starts a process (all its threads), waits until the last one is
 * gone, counts a round, and starts the next, until the rounds are done or the kernel is told to stop.
 *
 * Invariant: at most one process of a slot lives; `task.children` of the spawner counts its threads.
 * Arguments: program, threads, then the program's own. Lock: none.
 */
import { add, ldOnce, peek, poke, st, stOnce, wake } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { STEP_AGAIN, STEP_EXIT, STEP_SLEEP, type KernelCpu, type Program } from '../kernel/context.js';
import { quietProgram } from './quiet.js';
import { newProcessMm } from '../kernel/exec.js';
import { mmPut } from '../kernel/exit.js';
import { mm, type Mm } from '../kernel/mm.js';
import { kernel } from '../kernel/records.js';
import { task, taskAlloc, taskArg, TASK_ARGS, taskStart, taskWord, wakeAll, type Task } from '../kernel/task.js';

/** Index of the spawner among the programs. */
export const PROGRAM_SPAWNER = 0;
export const SPAWN_PROGRAM = 0;
export const SPAWN_THREADS = 1;
/** The program's own arguments begin here, in the spawner and in its children alike. */
export const PROGRAM_ARGS = 2;

const STAGE = 0;
const ROUNDS = 1;
const FAILURES = 2;
const BEGUN = 3;
/** Left by a process for `Program.ended`. */
export const SPAWNER_NOTE = 5;

const START = 0;
const RUNNING = 1;
/** Starts that may fail in a row for want of memory before the slot gives up. */
const MAX_FAILURES = 1000;

/** Words of a thread, after its stage: its number within the process. */
export const THREAD_NUMBER = 1;

export const spawner: Program = Object.freeze({
  name: 'spawner',
  kernelThread: true,
  *step(c: KernelCpu, t: Task): Steps<number> {
    if (peek(taskWord(t, STAGE)) === START) return yield* startRound(c, t);
    if ((yield* ldOnce(task.children(t))) !== 0) return STEP_SLEEP; // raced on purpose: each death wakes
    const program = c.programs[taskArg(t, SPAWN_PROGRAM)];
    if (program !== undefined) yield* program.ended(c, t);
    poke(taskWord(t, STAGE), START);
    poke(taskWord(t, ROUNDS), peek(taskWord(t, ROUNDS)) + 1);
    yield* add(kernel.rounds(c.k), 1);
    wake(kernel.rounds(c.k));
    return STEP_AGAIN;
  },
  ...quietProgram,
});

function* startRound(c: KernelCpu, t: Task): Steps<number> {
  if (yield* isDone(c, t)) return yield* finish(c, t);
  if (peek(taskWord(t, BEGUN)) === 0) yield* begin(c, t);
  yield* stOnce(taskWord(t, SPAWNER_NOTE), 0); // raced on purpose: no child lives yet
  if (yield* startProcess(c, t)) {
    poke(taskWord(t, STAGE), RUNNING);
    poke(taskWord(t, FAILURES), 0);
    return STEP_AGAIN;
  }
  const failures = peek(taskWord(t, FAILURES)) + 1;
  poke(taskWord(t, FAILURES), failures);
  return failures < MAX_FAILURES ? STEP_AGAIN : yield* finish(c, t);
}

function* isDone(c: KernelCpu, t: Task): Steps<boolean> {
  const wanted = peek(kernel.roundsWanted(c.k));
  if (wanted !== 0 && peek(taskWord(t, ROUNDS)) >= wanted) return true;
  return (yield* ldOnce(kernel.windDown(c.k))) !== 0; // raced on purpose: set once
}

function* begin(c: KernelCpu, t: Task): Steps<void> {
  const program = c.programs[taskArg(t, SPAWN_PROGRAM)];
  poke(taskWord(t, BEGUN), 1);
  if (program !== undefined) yield* program.begin(c);
}

function* finish(c: KernelCpu, t: Task): Steps<number> {
  const program = c.programs[taskArg(t, SPAWN_PROGRAM)];
  if (program !== undefined && peek(taskWord(t, BEGUN)) !== 0) yield* program.finish(c);
  return STEP_EXIT;
}

/** All threads of a new process; false when memory is short (then none runs). */
function* startProcess(c: KernelCpu, t: Task): Steps<boolean> {
  const program = c.programs[taskArg(t, SPAWN_PROGRAM)];
  if (program === undefined) return false;
  const m = program.kernelThread ? (0 as Mm) : yield* newProcessMm(c);
  if (!program.kernelThread && m === 0) return false;
  let started = 0;
  for (let i = 0; i < Math.max(1, taskArg(t, SPAWN_THREADS)); i++) {
    const child = yield* taskAlloc(c, taskArg(t, SPAWN_PROGRAM), m, t);
    if (child === 0) break;
    for (let a = 0; a < TASK_ARGS; a++) yield* st(task.args(child) + a, taskArg(t, a));
    poke(taskWord(child, THREAD_NUMBER), i);
    if (m !== 0) yield* add(mm.users(m), 1);
    yield* taskStart(c, child);
    started++;
  }
  if (m !== 0) yield* mmPut(c, m);
  yield* wakeAll(c);
  return started > 0;
}
