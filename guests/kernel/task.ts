/**
 * Tasks: what the scheduler runs. Threads are tasks that share an mm.
 *
 * Invariant: a task is on the run queue, or running on one vCPU, or dead. It sleeps by saying up to which wake-up it has
 * looked (`sleepSequence`): it is runnable again as soon as kernel.wakeSequence differs, so no wake-up is lost.
 * Lock: kernel.runqueueLock guards both lists; `killed` is set by anyone; the rest is the running task's own.
 * Source: Linux include/linux/sched.h.
 */
import { listAddTail, listDel, listFirst, listNext, LIST_WORDS } from '../../src/shm/list.js';
import { record, type Ref } from '../../src/shm/record.js';
import { slabFree } from '../../src/shm/slab.js';
import { RANK } from '../../src/sync/lock-order.js';
import { add, cas, ld, ldOnce, peek, st, wake } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { allocRecord } from './alloc.js';
import type { KernelCpu } from './context.js';
import { COUNT } from './counters.js';
import { count } from './count.js';
import { klock, kunlock } from './lock.js';
import type { Mm } from './mm.js';
import { kernel } from './records.js';
import { stackPut } from './kernel-stack.js';

export const TASK_FILES = 4;
export const TASK_ARGS = 12;
export const TASK_WORDS = 20;

export const task = record('task', {
  node: LIST_WORDS,
  runNode: LIST_WORDS,
  pid: 1,
  parent: 1,
  /** 0: kernel thread, or the task has left its address space. */
  mm: 1,
  program: 1,
  state: 1,
  /** Signal that ends the task at its next step, 0 none; and with what it ended. */
  killed: 1,
  status: 1,
  sleepSequence: 1,
  /** vCPU + 1 that alone may run it; 0: any. */
  cpu: 1,
  /** Its kernel stack (kernel-stack.ts). */
  stack: 1,
  /** Children not yet reaped. */
  children: 1,
  files: TASK_FILES,
  /** The program's parameters, copied by fork. */
  args: TASK_ARGS,
  /** The program's state; the first word is its stage. */
  locals: TASK_WORDS,
});
export type Task = Ref<'task'>;

export const TASK_READY = 0;
export const TASK_RUNNING = 1;
export const TASK_DEAD = 2;
/** sleepSequence of a task that does not sleep. */
export const AWAKE = -1;

const NODE = task.node(0 as Task);
const RUN_NODE = task.runNode(0 as Task);
export const taskOfNode = (node: number): Task => (node - NODE) as Task;
export const taskOfRunNode = (node: number): Task => (node - RUN_NODE) as Task;

export const taskArg = (t: Task, i: number): number => peek(task.args(t) + i);
export const taskWord = (t: Task, i: number): number => task.locals(t) + i;

/** A task that is not on any list yet; 0 when memory is short. It takes over the caller's use of `m`. */
export function* taskAlloc(c: KernelCpu, program: number, m: Mm, parent: Task): Steps<Task> {
  const t = (yield* allocRecord(c, kernel.taskSlab(c.k))) as Task;
  if (t === 0) return t;
  yield* st(task.program(t), program);
  yield* st(task.mm(t), m);
  yield* st(task.parent(t), parent);
  yield* st(task.sleepSequence(t), AWAKE);
  yield* st(task.pid(t), (yield* add(kernel.nextPid(c.k), 1)) + 1);
  return t;
}

/** Lets `t` run. */
export function* taskStart(c: KernelCpu, t: Task): Steps<void> {
  const parent = (yield* ld(task.parent(t))) as Task;
  if (parent !== 0) yield* add(task.children(parent), 1);
  yield* klock(c, kernel.runqueueLock(c.k), RANK.guestRunqueue);
  yield* listAddTail(kernel.tasks(c.k), task.node(t));
  yield* listAddTail(kernel.runqueue(c.k), task.runNode(t));
  yield* kunlock(c, kernel.runqueueLock(c.k));
  yield* add(kernel.liveTasks(c.k), 1);
  yield* wakeAll(c);
}

/** Something happened that a sleeping task or an idle vCPU may wait for. */
export function* wakeAll(c: KernelCpu): Steps<void> {
  yield* add(kernel.wakeSequence(c.k), 1);
  yield* kickIdle(c);
}

/** There is something to run: vCPUs that have nothing to do look again. */
export function* kickIdle(c: KernelCpu): Steps<void> {
  yield* add(kernel.kickSequence(c.k), 1);
  wake(kernel.kickSequence(c.k));
}

/** Sends `signal`: the task ends at its next step; the first signal stays. */
export function* killTask(c: KernelCpu, t: Task, signal: number): Steps<void> {
  if ((yield* cas(task.killed(t), 0, signal)) === 0) yield* count(c, COUNT.kills);
  yield* wakeAll(c);
}

/** exit_group: kills every other task of `m`. */
export function* killOthers(c: KernelCpu, m: Mm, self: Task, signal: number): Steps<void> {
  const head = kernel.tasks(c.k);
  yield* klock(c, kernel.runqueueLock(c.k), RANK.guestRunqueue);
  for (let n = yield* listFirst(head); n !== 0; n = yield* listNext(head, n)) {
    const t = taskOfNode(n);
    // raced on purpose: a thread that leaves the mm meanwhile ends by itself
    if (t !== self && (yield* ldOnce(task.mm(t))) === m) yield* cas(task.killed(t), 0, signal);
  }
  yield* kunlock(c, kernel.runqueueLock(c.k));
  yield* wakeAll(c);
}

/** The next runnable task, taken off the queue; 0 when there is none. `sequence` is the wake-up it is judged by. */
export function* pickTask(c: KernelCpu, sequence: number): Steps<Task> {
  const head = kernel.runqueue(c.k);
  let picked = 0 as Task;
  yield* klock(c, kernel.runqueueLock(c.k), RANK.guestRunqueue);
  for (let n = yield* listFirst(head); n !== 0; n = yield* listNext(head, n)) {
    const t = taskOfRunNode(n);
    const only = peek(task.cpu(t));
    if (only !== 0 && only !== c.id + 1) continue;
    const slept = yield* ld(task.sleepSequence(t));
    if (slept !== AWAKE && slept === sequence && (yield* ld(task.killed(t))) === 0) continue;
    yield* listDel(n);
    yield* st(task.sleepSequence(t), AWAKE);
    yield* st(task.state(t), TASK_RUNNING);
    picked = t;
    break;
  }
  yield* kunlock(c, kernel.runqueueLock(c.k));
  return picked;
}

/** Back on the queue; `slept` is AWAKE or the wake-up up to which the task has looked. */
export function* requeueTask(c: KernelCpu, t: Task, slept: number): Steps<void> {
  yield* klock(c, kernel.runqueueLock(c.k), RANK.guestRunqueue);
  yield* st(task.sleepSequence(t), slept);
  yield* st(task.state(t), TASK_READY);
  yield* listAddTail(kernel.runqueue(c.k), task.runNode(t));
  yield* kunlock(c, kernel.runqueueLock(c.k));
}

/** The task is over: off the list; its parent may go on; the record goes. */
export function* reapTask(c: KernelCpu, t: Task): Steps<void> {
  yield* klock(c, kernel.runqueueLock(c.k), RANK.guestRunqueue);
  yield* listDel(task.node(t));
  yield* st(task.state(t), TASK_DEAD);
  const parent = (yield* ld(task.parent(t))) as Task;
  if (parent !== 0) yield* add(task.children(parent), -1);
  if ((yield* ld(task.children(t))) !== 0) yield* orphan(c, t);
  yield* kunlock(c, kernel.runqueueLock(c.k));
  yield* stackPut(c, peek(task.stack(t)));
  yield* slabFree(c.cpu, kernel.taskSlab(c.k), t);
  yield* add(kernel.liveTasks(c.k), -1);
  yield* wakeAll(c);
}

/** Children of a task that ends have no parent any more. Lock held: runqueueLock. */
function* orphan(c: KernelCpu, t: Task): Steps<void> {
  const head = kernel.tasks(c.k);
  for (let n = yield* listFirst(head); n !== 0; n = yield* listNext(head, n)) {
    const child = taskOfNode(n);
    if ((yield* ld(task.parent(child))) === t) yield* st(task.parent(child), 0);
  }
}
