/**
 * Steps about processes: making, forking, executing, killing and ending them; their own memory; leaving a vCPU lazy.
 *
 * Invariant: a process of the board is a living task; it is current on at most one vCPU. Ordinary memory and grants lie
 * under one L1, beside the stack, so that a small process has as few tables as one can have.
 * Lock: a task is looked up and killed under the run queue's lock, so that it cannot be freed in between.
 */
import { ENOMEM, ESRCH } from '../../../src/abi/errno.js';
import { makeVa, type Va } from '../../../src/abi/frames.js';
import { listDel, listFirst, listNext } from '../../../src/shm/list.js';
import { RANK } from '../../../src/sync/lock-order.js';
import { add, cas, ld, peek, poke, st } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import { forkTask } from '../../kernel/clone.js';
import type { KernelCpu } from '../../kernel/context.js';
import { execTask, newProcessMm } from '../../kernel/exec.js';
import { addVa, L1_SPAN } from '../../kernel/layout.js';
import { klock, kunlock } from '../../kernel/lock.js';
import { mm, type Mm } from '../../kernel/mm.js';
import { madviseDontneed, mmapAnon, munmap } from '../../kernel/mmap.js';
import { kernel, percpu } from '../../kernel/records.js';
import { doExit } from '../../kernel/sched.js';
import { activateMm, enterLazyTlb } from '../../kernel/switch.js';
import { task, taskAlloc, taskOfNode, taskStart, TASK_RUNNING, type Task } from '../../kernel/task.js';
import { userTouch } from '../../kernel/user.js';
import { VM_READ, VM_WRITE } from '../../kernel/vma.js';
import { slotNow, slotSet, taskSlot } from './board.js';
import { arg, currentMm, currentTask, type Step } from './step.js';

const SIGKILL = 9;
/** No such program: these tasks are run by their steps alone. */
const NO_PROGRAM = 999;
const ANON = makeVa(255, 511, 511, 128);

/** Page `i` of the process's ordinary memory. */
const anonAt = (i: number): Va => addVa(ANON, i * L1_SPAN);

/** Takes a task that was made ready off the queue and runs it here. */
function* takeOver(c: KernelCpu, t: Task): Steps<void> {
  yield* klock(c, kernel.runqueueLock(c.k), RANK.guestRunqueue);
  yield* listDel(task.runNode(t));
  yield* st(task.state(t), TASK_RUNNING);
  yield* kunlock(c, kernel.runqueueLock(c.k));
  poke(percpu.current(c.pc), t);
  yield* activateMm(c, peek(task.mm(t)) as Mm);
}

/** A task of address space `m`, whose use it takes over, running here as process `slot`. */
function* begin(c: KernelCpu, m: Mm, slot: number): Steps<number> {
  const t = yield* taskAlloc(c, NO_PROGRAM, m, 0 as Task);
  if (t === 0) return -ENOMEM;
  yield* taskStart(c, t);
  yield* takeOver(c, t);
  yield* slotSet(taskSlot(c, slot), t);
  return 0;
}

/** The end of the current task, from exit or from a signal. */
export function* endCurrent(c: KernelCpu): Steps<number> {
  const t = currentTask(c);
  for (let i = 0; i < 8; i++) if (peek(taskSlot(c, i)) === t) yield* slotSet(taskSlot(c, i), 0);
  yield* doExit(c, t);
  return 0;
}

/** Finds the living task in `slot` and, under the lock that keeps it alive, sends it a signal. */
function* killSlot(c: KernelCpu, slot: number): Steps<number> {
  const wanted = yield* slotNow(taskSlot(c, slot));
  const head = kernel.tasks(c.k);
  let answer = -ESRCH;
  yield* klock(c, kernel.runqueueLock(c.k), RANK.guestRunqueue);
  for (let n = yield* listFirst(head); n !== 0; n = yield* listNext(head, n)) {
    if (taskOfNode(n) !== wanted) continue;
    yield* cas(task.killed(taskOfNode(n)), 0, SIGKILL);
    answer = 0;
    break;
  }
  yield* kunlock(c, kernel.runqueueLock(c.k));
  return answer;
}

/** The child of the last fork, by its pid. */
function* childOf(c: KernelCpu, pid: number): Steps<Task> {
  const head = kernel.tasks(c.k);
  let found = 0 as Task;
  yield* klock(c, kernel.runqueueLock(c.k), RANK.guestRunqueue);
  for (let n = yield* listFirst(head); n !== 0; n = yield* listNext(head, n)) {
    if ((yield* ld(task.pid(taskOfNode(n)))) === pid) found = taskOfNode(n);
  }
  yield* kunlock(c, kernel.runqueueLock(c.k));
  return found;
}

export const processSteps: readonly Step[] = [
  {
    name: 'process',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      const m = yield* newProcessMm(c);
      return m === 0 ? -ENOMEM : yield* begin(c, m, arg(args, 0));
    },
  },
  {
    name: 'thread',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      const other = peek(taskSlot(c, arg(args, 0))) as Task;
      if (other === 0) return -ESRCH;
      const m = peek(task.mm(other)) as Mm;
      yield* add(mm.users(m), 1);
      return yield* begin(c, m, arg(args, 1));
    },
  },
  {
    name: 'run',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      const t = (yield* slotNow(taskSlot(c, arg(args, 0)))) as Task;
      if (t === 0) return -ESRCH;
      yield* takeOver(c, t);
      return 0;
    },
  },
  {
    name: 'lazy',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      const t = peek(taskSlot(c, arg(args, 0))) as Task;
      if (t === 0) return -ESRCH;
      const m = peek(task.mm(t)) as Mm;
      yield* activateMm(c, m);
      poke(percpu.current(c.pc), 0);
      yield* enterLazyTlb(c, m);
      return 0;
    },
  },
  {
    name: 'fork',
    process: true,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      const pid = yield* forkTask(c, currentTask(c), 0);
      if (pid < 0) return pid;
      yield* slotSet(taskSlot(c, arg(args, 0)), yield* childOf(c, pid));
      return 0;
    },
  },
  {
    name: 'exec',
    process: true,
    *run(c: KernelCpu): Steps<number> {
      return yield* execTask(c, currentTask(c));
    },
  },
  {
    name: 'exit',
    process: true,
    *run(c: KernelCpu): Steps<number> {
      return yield* endCurrent(c);
    },
  },
  {
    name: 'kill',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      return yield* killSlot(c, arg(args, 0));
    },
  },
  {
    name: 'mmap',
    process: true,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      return yield* mmapAnon(c, currentMm(c), anonAt(arg(args, 0)), arg(args, 1), VM_READ | VM_WRITE);
    },
  },
  {
    name: 'write',
    process: true,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      return (yield* userTouch(c, anonAt(arg(args, 0)), arg(args, 1), true)) - arg(args, 1);
    },
  },
  {
    name: 'munmap',
    process: true,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      return yield* munmap(c, currentMm(c), anonAt(arg(args, 0)), arg(args, 1));
    },
  },
  {
    name: 'dontneed',
    process: true,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      return yield* madviseDontneed(c, currentMm(c), anonAt(arg(args, 0)), arg(args, 1));
    },
  },
];
