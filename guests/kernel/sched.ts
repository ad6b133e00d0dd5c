/**
 * The scheduler: every vCPU takes tasks from one queue, runs one step of each, and idles when there is none.
 *
 * Invariant: between tasks a vCPU keeps the last mm loaded and holds it (lazy TLB); a task's mm is loaded while it runs.
 * Lock: none held across a step.
 * Source: Linux kernel/sched/core.c (context_switch), kernel/exit.c (do_exit: the mm goes before the files).
 */
import { add, ldOnce, peek, poke, st, stOnce } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { STEP_AGAIN, STEP_EXIT, STEP_EXIT_THREAD, STEP_SLEEP, type KernelCpu } from './context.js';
import { COUNT } from './counters.js';
import { count } from './count.js';
import { closeFiles } from './file.js';
import { hasOtherUsers, mmPut } from './exit.js';
import { enterLazyCpu, leaveLazyCpu } from './lazy.js';
import type { Mm } from './mm.js';
import { kernel, percpu } from './records.js';
import { activateMm, enterLazyTlb, initMm, loadedMm } from './switch.js';
import { AWAKE, kickIdle, killOthers, pickTask, reapTask, requeueTask, task, wakeAll, type Task } from './task.js';
import { runWork } from './work.js';
import { MARK } from '../../src/abi/marks.js';
import { mark } from './mark.js';

const SIGKILL = 9;

/** Runs tasks until the kernel is told to stop or, with `untilIdle`, until no task lives and no work waits. */
export function* vcpuLoop(c: KernelCpu, untilIdle: boolean): Steps<void> {
  const { k } = c;
  for (;;) {
    yield* c.g.poll();
    const kick = yield* ldOnce(kernel.kickSequence(k)); // raced on purpose: what has been looked at so far
    const sequence = yield* ldOnce(kernel.wakeSequence(k)); // raced on purpose: as above
    if ((yield* ldOnce(kernel.stop(k))) !== 0) break; // raced on purpose: set once
    if (untilIdle && (yield* isIdle(c))) break;
    const t = yield* pickTask(c, sequence);
    if (t !== 0) yield* runTask(c, t, sequence);
    else if (!(yield* runWork(c))) yield* idle(c, kick);
  }
  yield* activateMm(c, initMm(c));
  yield* add(kernel.stopped(k), 1);
  yield* wakeAll(c);
}

/** Waits for a wake-up; one that does not come in a while is made here, as a timer tick would. */
function* idle(c: KernelCpu, kick: number): Steps<void> {
  const a = kernel.kickSequence(c.k);
  yield* add(kernel.nrIdle(c.k), 1);
  yield* c.g.relax(a, kick);
  yield* add(kernel.nrIdle(c.k), -1);
  if ((yield* ldOnce(a)) === kick) yield* wakeAll(c); // raced on purpose: one tick more does no harm
}

function* isIdle(c: KernelCpu): Steps<boolean> {
  // raced on purpose: they only matter once nobody can raise them any more
  if ((yield* ldOnce(kernel.started(c.k))) === 0) return false;
  return (yield* ldOnce(kernel.liveTasks(c.k))) === 0 && (yield* ldOnce(kernel.nrWork(c.k))) === 0;
}

function* switchTo(c: KernelCpu, m: Mm): Steps<void> {
  yield* count(c, COUNT.contextSwitches);
  mark(c, MARK.context_switch);
  enterLazyCpu(c);
  if (m === 0) yield* enterLazyTlb(c, loadedMm(c));
  else yield* activateMm(c, m);
  yield* leaveLazyCpu(c);
  mark(c, MARK.context_switch_ret);
}

/** One step of `t`, then back on the queue, or its end. */
export function* runTask(c: KernelCpu, t: Task, sequence: number): Steps<void> {
  const m = peek(task.mm(t)) as Mm;
  yield* switchTo(c, m);
  poke(percpu.current(c.pc), t);
  let answer = STEP_EXIT;
  const program = c.programs[peek(task.program(t))];
  if (program !== undefined && (yield* ldOnce(task.killed(t))) === 0) answer = yield* program.step(c, t);
  if ((yield* ldOnce(task.killed(t))) !== 0) answer = STEP_EXIT; // raced on purpose: a signal may come at any time
  if (answer === STEP_EXIT || answer === STEP_EXIT_THREAD) yield* doExit(c, t, answer === STEP_EXIT);
  else {
    const now = peek(task.mm(t)) as Mm; // execve has changed it
    if (now !== 0) yield* enterLazyTlb(c, now);
    poke(percpu.current(c.pc), 0);
    yield* requeueTask(c, t, answer === STEP_SLEEP ? sequence : AWAKE);
    if (answer === STEP_AGAIN && (yield* ldOnce(kernel.nrIdle(c.k))) > 0) yield* kickIdle(c); // raced on purpose: a hint
  }
}

/** do_exit: when the whole `group` goes, the threads of the mm are told; the mm goes, then the files. */
export function* doExit(c: KernelCpu, t: Task, group = true): Steps<void> {
  yield* count(c, COUNT.exits);
  const m = peek(task.mm(t)) as Mm;
  const signal = yield* ldOnce(task.killed(t)); // raced on purpose: the first signal stays
  if (group) mark(c, MARK.do_group_exit);
  mark(c, MARK.do_exit, signal);
  yield* st(task.status(t), signal);
  if (m !== 0) {
    if (group && (yield* hasOtherUsers(m))) yield* killOthers(c, m, t, SIGKILL);
    yield* enterLazyTlb(c, m);
    yield* stOnce(task.mm(t), 0); // raced on purpose: who looks for the mm's other threads need not find this one
    yield* mmPut(c, m);
  }
  yield* closeFiles(c, t);
  poke(percpu.current(c.pc), 0);
  yield* reapTask(c, t);
}
