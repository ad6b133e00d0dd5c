/**
 * One round of a teardown benchmark: a process is made and loaded, then it ends; what the first vCPU does, and the others.
 *
 * The end begins with the threads' exits and is over when the task is reaped, deferred unmaps are done, no vCPU has the
 * tables loaded any more and the last holder of the mm has let go: also a design that unpins late is paid in full.
 * Invariant: between two rounds every vCPU is on the kernel's own tables, and the run queue is empty.
 * Lock: none held between two orders.
 */
import { ldOnce, peek, poke, stOnce } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { slabLive } from '../../src/shm/slab.js';
import { PAGE_SIZE } from '../../src/abi/frames.js';
import { restoresBacking } from '../drivers/gntdev/backing.js';
import type { KernelCpu } from '../kernel/context.js';
import { COUNT } from '../kernel/counters.js';
import { counted } from '../kernel/count.js';
import { mm, type Mm } from '../kernel/mm.js';
import { notifier, subscription } from '../kernel/notifier.js';
import { kernel, percpu } from '../kernel/records.js';
import { runTask } from '../kernel/sched.js';
import { activateMm, enterLazyTlb, initMm } from '../kernel/switch.js';
import { AWAKE, pickTask } from '../kernel/task.js';
import { userTouch } from '../kernel/user.js';
import { runWork } from '../kernel/work.js';
import { board, END, LEAVE, LOAD, nextPhase, order, QUIT, report, REST, awaitDone, tell } from './board.js';
import { addSibling, DATA, layProcess, mapForeign } from './process.js';

export interface RoundSpec {
  /** Ordinary pages of data, and granted ones. */
  readonly ordinary: number;
  readonly grants: number;
  /** Threads of the process, each on a vCPU of its own, the first one on the first. */
  readonly threads: number;
  /** vCPUs after those that keep the tables loaded without running any of its threads. */
  readonly lazy: number;
  /** vCPUs that take part, the first included. */
  readonly vcpus: number;
  /** Pages that a bystander reads; 0: there is none. */
  readonly bystander: number;
  /** Grant `i` is reference `refs`[i] of domain `granter` + i / `perGranter`. */
  readonly refs: number;
  readonly granter: number;
  readonly perGranter: number;
}

/** Tables of the process by level, and the bytes that mapping its grants took beside tables and the driver's own map. */
export interface RoundShape {
  readonly nL1: number;
  readonly nL2: number;
  readonly nL3: number;
  readonly stateBytes: number;
}

/** Instead of a phase: there will be no other round. */
export const GONE = -1;

/** Pages that a vCPU touches when it takes the mm, so that its TLB holds some of it. */
const TOUCHED = 16;

/** Bytes in use that a design may have taken: pages beside page tables, and records of the notifiers. */
function designBytes(c: KernelCpu, grants: number): number {
  const { k } = c;
  const tables = counted(k, COUNT.tablesAllocated) - counted(k, COUNT.tablesReleased);
  const backing = restoresBacking(c) ? grants : 0;
  const records =
    slabLive(kernel.subscriptionSlab(k)) * subscription.words + slabLive(kernel.notifierSlab(k)) * notifier.words;
  return -(peek(kernel.nrFree(k)) + tables + backing) * PAGE_SIZE + records * 4;
}

/** Makes the process and has the others take it; the first vCPU's. Answers its shape, nL1 0 when there is no memory. */
export function* prepareRound(c: KernelCpu, b: number, s: RoundSpec): Steps<RoundShape> {
  const none = { nL1: 0, nL2: 0, nL3: 0, stateBytes: 0 };
  const m = yield* layProcess(c, s.ordinary, true);
  if (m === 0) return none;
  const before = designBytes(c, 0);
  if (s.grants > 0 && (yield* mapForeign(c, m, s.grants, s.refs, s.granter, s.perGranter)) === 0) return none;
  const stateBytes = designBytes(c, s.grants) - before;
  for (let i = 1; i < s.threads; i++) if ((yield* addSibling(c, m)) === 0) return none;
  yield* stOnce(board.mm(b), m); // raced on purpose: published by the order
  if (s.vcpus > 1) yield* order(c, b, LOAD, s.vcpus - 1);
  return { nL1: peek(mm.nrL1(m)), nL2: peek(mm.nrL2(m)), nL3: peek(mm.nrL3(m)), stateBytes };
}

/** The end of the process, to its last trace; the first vCPU's. */
export function* endRound(c: KernelCpu, b: number, s: RoundSpec): Steps<void> {
  const others = s.vcpus - 1;
  if (others > 0) yield* tell(b, END);
  yield* endTask(c);
  if (others > 0) yield* awaitDone(c, b, others);
  while (yield* runWork(c)); // a task's end may leave an unmap for later
  if (others > 0) yield* tell(b, LEAVE);
  yield* letGo(c);
  if (others > 0) yield* awaitDone(c, b, others);
}

/** Sends the others out of guest mode; the first vCPU's. */
export function* restRound(c: KernelCpu, b: number, s: RoundSpec): Steps<void> {
  if (s.vcpus > 1) yield* order(c, b, REST, s.vcpus - 1);
}

export function* quit(b: number): Steps<void> {
  yield* tell(b, QUIT);
}

function* endTask(c: KernelCpu): Steps<void> {
  const sequence = yield* ldOnce(kernel.wakeSequence(c.k)); // raced on purpose: tasks here do not sleep
  const t = yield* pickTask(c, sequence);
  if (t !== 0) yield* runTask(c, t, AWAKE);
}

function* letGo(c: KernelCpu): Steps<void> {
  yield* activateMm(c, initMm(c));
  poke(percpu.current(c.pc), 0);
}

/** What vCPU `c.id` > 0 does in a round, from LOAD (phase `first`) to REST; answers REST's phase, or GONE. */
export function* serveRound(c: KernelCpu, b: number, s: RoundSpec, first: number): Steps<number> {
  const thread = c.id < s.threads;
  const lazy = !thread && c.id < s.threads + s.lazy;
  for (let phase = first; ; phase = yield* nextPhase(c, b, phase)) {
    const what = yield* ldOnce(board.order(b)); // raced on purpose: published by the phase
    if (what === QUIT) return GONE;
    if (what === LOAD && (thread || lazy)) yield* take(c, b, s, lazy);
    if (what === END && thread) yield* endTask(c);
    if (what === LEAVE) yield* letGo(c);
    yield* report(b);
    if (what === REST) return phase;
  }
}

/** This vCPU loads the mm of the round and touches some of it; a lazy one then has no task. */
function* take(c: KernelCpu, b: number, s: RoundSpec, lazy: boolean): Steps<void> {
  const m = (yield* ldOnce(board.mm(b))) as Mm; // raced on purpose: published by the order
  yield* activateMm(c, m);
  yield* userTouch(c, DATA, Math.min(s.ordinary, TOUCHED), false);
  if (lazy) yield* enterLazyTlb(c, m);
}
