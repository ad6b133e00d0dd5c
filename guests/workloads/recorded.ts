/**
 * recorded: a program that does what a script says, one operation a step, in the order of the script.
 *
 * Several tasks may follow one script: each waits until the operation at the cursor is its own. The system calls are the
 * kernel's own functions, as other programs call them.
 * Invariant: the cursor moves when the operation is done, before exit or exec leaves the step.
 * Lock: none; the cursor is stored by whose turn it is, and read by all.
 * Source: abi/script.ts; ../linux-teardown.
 */
import type { Va } from '../../src/abi/frames.js';
import { MARK } from '../../src/abi/marks.js';
import {
  ACTOR_ELSEWHERE,
  ACTOR_MAIN,
  ACTOR_OTHER,
  OP,
  OP_A,
  OP_ACTOR,
  OP_B,
  OP_C,
  OP_CODE,
  OP_COUNT,
  OP_PAGE_HI,
  OP_PAGE_LO,
  OP_WORDS,
  SCRIPT_COUNT,
  SCRIPT_CURSOR,
  SCRIPT_HEADER,
  SCRIPT_UP,
} from '../../src/abi/script.js';
import { add, ldOnce, peek, poke, stOnce, wake } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { startVcpu } from '../guest.js';
import type { KernelParams } from '../kernel/boot.js';
import { forkTask } from '../kernel/clone.js';
import {
  STEP_AGAIN,
  STEP_EXIT,
  STEP_EXIT_THREAD,
  STEP_SLEEP,
  type KernelCpu,
  type Program,
} from '../kernel/context.js';
import { execTask, newProcessMm } from '../kernel/exec.js';
import { mmapFile } from '../kernel/file-map.js';
import { mark } from '../kernel/mark.js';
import { mm, type Mm } from '../kernel/mm.js';
import { madviseDontneed, mmapAnon, munmap } from '../kernel/mmap.js';
import { mprotect, mremap } from '../kernel/mprotect.js';
import { inodeAlloc, type Inode } from '../kernel/page-cache.js';
import { kernel } from '../kernel/records.js';
import { vcpuLoop } from '../kernel/sched.js';
import { killTask, task, taskAlloc, taskArg, taskStart, taskWord, wakeAll, type Task } from '../kernel/task.js';
import { userTouch } from '../kernel/user.js';
import { quietProgram } from './quiet.js';
import { closeGrants, forgetGrants, mapGrants, openGrants } from './recorded-grants.js';

/** Arguments: the script; objects by number. */
const SCRIPT = 0;
const OBJECTS = 1;
const ELSEWHERE = 5;
/** State: which actor this task is (forkTask stores it as the stage). */
const ACTOR = 0;

export const recorded: Program = Object.freeze({
  name: 'recorded',
  kernelThread: false,
  *step(c: KernelCpu, t: Task): Steps<number> {
    const script = taskArg(t, SCRIPT);
    const cursor = yield* ldOnce(script + SCRIPT_CURSOR); // raced on purpose: whose turn it is
    if (cursor >= peek(script + SCRIPT_COUNT)) return STEP_EXIT;
    const op = script + SCRIPT_HEADER + cursor * OP_WORDS;
    if (peek(op + OP_ACTOR) !== peek(taskWord(t, ACTOR))) return STEP_SLEEP;
    const code = peek(op + OP_CODE);
    // raced on purpose: each death wakes
    if (code === OP.end && (yield* ldOnce(kernel.liveTasks(c.k))) > 1) return STEP_SLEEP;
    if (code === OP.exit || code === OP.exitThread) {
      yield* nextTurn(c, script, cursor);
      return code === OP.exit ? STEP_EXIT : STEP_EXIT_THREAD;
    }
    yield* perform(c, t, op);
    yield* nextTurn(c, script, cursor);
    return STEP_AGAIN;
  },
  ...quietProgram,
});

function* nextTurn(c: KernelCpu, script: number, cursor: number): Steps<void> {
  yield* stOnce(script + SCRIPT_CURSOR, cursor + 1); // raced on purpose: the others wait for it
  yield* wakeAll(c);
}

const pageVa = (lo: number, hi: number): Va => ((hi * 2 ** 32 + (lo >>> 0)) * 4096) as Va;

/** The operation, but for exit. */
function* perform(c: KernelCpu, t: Task, op: number): Steps<void> {
  const m = peek(task.mm(t)) as Mm;
  const at = pageVa(peek(op + OP_PAGE_LO), peek(op + OP_PAGE_HI));
  const n = peek(op + OP_COUNT);
  const a = peek(op + OP_A);
  switch (peek(op + OP_CODE)) {
    case OP.mark:
      mark(c, MARK.user, a);
      return;
    case OP.end:
      mark(c, MARK.end);
      return;
    case OP.begin:
      mark(c, MARK.begin);
      return;
    case OP.touch:
      yield* touch(c, at, n, a !== 0, peek(op + OP_B));
      return;
    case OP.fork:
      yield* forkTask(c, t, ACTOR_OTHER);
      return;
    case OP.thread:
      yield* startThread(c, t, a);
      return;
    case OP.prepareOther:
      poke(task.args(t) + ELSEWHERE, yield* newProcess(c, taskArg(t, SCRIPT), ACTOR_ELSEWHERE, a));
      return;
    case OP.startOther:
      if (taskArg(t, ELSEWHERE) !== 0) yield* taskStart(c, taskArg(t, ELSEWHERE) as Task);
      return;
    case OP.pass:
      return;
    case OP.exec:
      yield* execTask(c, t);
      return;
    case OP.kill:
      yield* killTask(c, t, a);
      return;
    case OP.object:
      poke(task.args(t) + OBJECTS + a, yield* inodeAlloc(c, n));
      return;
    case OP.openGrants:
      yield* openGrants(c, t, n);
      return;
    case OP.mapGrants:
      yield* mapGrants(c, t, m, at);
      return;
    case OP.close:
      yield* closeGrants(c, t);
      return;
    case OP.forget:
      yield* forgetGrants(c, t);
      return;
    default:
      yield* changeMappings(c, t, m, op, at, n);
  }
}

/** The calls that change mappings. */
function* changeMappings(c: KernelCpu, t: Task, m: Mm, op: number, at: Va, n: number): Steps<void> {
  const a = peek(op + OP_A);
  const b = peek(op + OP_B);
  switch (peek(op + OP_CODE)) {
    case OP.mmap:
      yield* mmapAnon(c, m, at, n, a);
      return;
    case OP.mmapFile:
      yield* mmapFile(c, m, at, n, a, taskArg(t, OBJECTS + b) as Inode, peek(op + OP_C));
      return;
    case OP.munmap:
      yield* munmap(c, m, at, n);
      return;
    case OP.mprotect:
      yield* mprotect(c, m, at, n, a);
      return;
    case OP.madvise:
      yield* madviseDontneed(c, m, at, n);
      return;
    default:
      yield* mremap(c, m, at, n, a, pageVa(b, peek(op + OP_C)));
  }
}

/** Touches `n` pages, `stride` pages apart, until one is refused. */
function* touch(c: KernelCpu, at: Va, n: number, write: boolean, stride: number): Steps<void> {
  if (stride <= 1) {
    yield* userTouch(c, at, n, write);
    return;
  }
  for (let i = 0; i < n; i++) if ((yield* userTouch(c, (at + i * stride * 4096) as Va, 1, write)) !== 1) return;
}

/** clone(CLONE_VM): another task of the same mm, for vCPU `id` only. */
function* startThread(c: KernelCpu, t: Task, id: number): Steps<void> {
  const m = peek(task.mm(t)) as Mm;
  const other = yield* taskAlloc(c, peek(task.program(t)), m, t);
  if (other === 0) return;
  poke(task.args(other) + SCRIPT, taskArg(t, SCRIPT));
  poke(taskWord(other, ACTOR), ACTOR_OTHER);
  poke(task.cpu(other), id + 1);
  yield* add(mm.users(m), 1);
  yield* taskStart(c, other);
}

/** A process that follows the script as `actor` on vCPU `id`, not started yet; 0 when memory is short. */
function* newProcess(c: KernelCpu, script: number, actor: number, id: number): Steps<Task> {
  const m = yield* newProcessMm(c);
  const t = m === 0 ? (0 as Task) : yield* taskAlloc(c, c.programs.indexOf(recorded), m, 0 as Task);
  if (t === 0) return t;
  poke(task.args(t) + SCRIPT, script);
  poke(taskWord(t, ACTOR), actor);
  poke(task.cpu(t), id + 1);
  return t;
}

/** Starts the script at `script`: its main process, on vCPU 0; false when memory is short. */
export function* startRecorded(c: KernelCpu, script: number): Steps<boolean> {
  const t = yield* newProcess(c, script, ACTOR_MAIN, 0);
  if (t !== 0) yield* taskStart(c, t);
  return t !== 0;
}

/** Waits until every vCPU has booted, so that no boot falls into the recording. */
function* allUp(c: KernelCpu, script: number): Steps<void> {
  const up = script + SCRIPT_UP;
  yield* add(up, 1);
  wake(up);
  for (;;) {
    const seen = yield* ldOnce(up); // raced on purpose: a count of who is there
    if (seen === peek(kernel.nrVcpus(c.k))) return;
    yield* c.g.relax(up, seen);
  }
}

/** What vCPU `c` does from its boot on, until nothing is left to run; the first one starts the script. False: no start. */
export function* recordedLife(c: KernelCpu, p: KernelParams, script: number): Steps<boolean> {
  if (!(yield* startVcpu(c, p))) return false;
  yield* allUp(c, script);
  if (c.id === 0) {
    if (!(yield* startRecorded(c, script))) return false;
    yield* stOnce(kernel.started(c.k), 1); // raced on purpose: idle vCPUs look
  }
  yield* vcpuLoop(c, true);
  return true;
}
