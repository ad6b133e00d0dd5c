/**
 * Primitives, controlled build: every access of shared state declares itself to the scheduler, then happens.
 *
 * Invariant: one thread runs all actors, so between two yields nothing else runs and plain words are atomic.
 * Lock: none; `lock` and `unlock` are these functions.
 * Source: DESIGN decision 3. The pair of this file is `primitives.parallel.ts`.
 *
 * `ld`/`st` claim freedom from races; `ldOnce`/`stOnce` are intended races and the call says why.
 * `peek`/`poke` are no points: for words just declared by `touch`, for the own record, for still machines.
 */
import { HypervisorBug, MachineLost } from '../abi/errors.js';
import { words } from '../ops/memory.js';
import * as ops from '../ops/plain.js';
import { actor, cpuIndex, REQ_ABORT, REQ_WAITS, type Cpu } from './actor.js';
import { checkOrder, popHeld, pushHeld } from './held.js';
import {
  POINT_ATOMIC,
  POINT_LOCK,
  POINT_ONCE,
  POINT_POLL,
  POINT_READ,
  POINT_UNLOCK,
  POINT_WAIT,
  POINT_WRITE,
  type Scheduler,
} from './schedule.js';
import type { Steps } from './steps.js';

export const BUILD = 'controlled';

const RMW = POINT_READ | POINT_WRITE | POINT_ATOMIC;
const LOOK = POINT_READ | POINT_ONCE | POINT_WAIT;

/** Nobody else: points never switch, and a wait that nobody can end is a bug. */
const nobody = (a: number): never => {
  throw new HypervisorBug(`a lone actor waits for word ${String(a)}, which nobody can change`);
};
const SOLO: Scheduler = {
  point: () => false,
  waitPoint: () => false,
  block: nobody,
  blockLock: nobody,
  choose: () => 0,
};

let scheduler: Scheduler = SOLO;

/** Runs `body` with `s` deciding at every point; the explorer's only way in. */
export function withScheduler<T>(s: Scheduler, body: () => T): T {
  const before = scheduler;
  scheduler = s;
  try {
    return body();
  } finally {
    scheduler = before;
  }
}

/** Runs one body alone to its end: boot, tests, tools over a still machine. */
export function run<T>(body: () => Steps<T>): T {
  const before = scheduler;
  scheduler = SOLO;
  try {
    const steps = body();
    for (;;) {
      const r = steps.next();
      if (r.done === true) return r.value;
    }
  } finally {
    scheduler = before;
  }
}

/**
 * Which of `n` things the machine does here (`what`: src/sync/choices.ts); 0 is what it does by itself. No point: nobody
 * else runs, and the answer belongs to the step under way.
 */
export function choose(_cpu: Cpu, what: number, n: number): number {
  return scheduler.choose(what, n);
}

/** What the build puts into the callers of a primitive that is one point and one operation (build/points.mjs). */
export const point = (a: number, kind: number, n: number): boolean => scheduler.point(a, kind, n);
export { ops };

export const peek = ops.ld;
export const poke = ops.st;
/** Two words of the own record, or of its like, as one number. */
export const peekDouble = ops.ldDouble;
export const pokeDouble = ops.stDouble;
/** The high word of the last `ld64` or `xchg64`; read it before the next primitive. */
export const hi64 = ops.hi64;

/** One point that declares `n` words; the accesses themselves follow as `peek`/`poke` or a kernel. */
export function* touch(a: number, n: number, kind: number): Steps<void> {
  if (scheduler.point(a, kind, n)) yield;
}

export function* ld(a: number): Steps<number> {
  if (scheduler.point(a, POINT_READ, 1)) yield;
  return ops.ld(a);
}
export function* st(a: number, v: number): Steps<void> {
  if (scheduler.point(a, POINT_WRITE, 1)) yield;
  ops.st(a, v);
}
export function* ldOnce(a: number): Steps<number> {
  if (scheduler.point(a, POINT_READ | POINT_ONCE, 1)) yield;
  return ops.ld(a);
}
export function* stOnce(a: number, v: number): Steps<void> {
  if (scheduler.point(a, POINT_WRITE | POINT_ONCE, 1)) yield;
  ops.st(a, v);
}
/** A store as a guest's instruction makes it (ops.ts): others may see it a little late, the actor itself never does. */
export function* stPlain(a: number, v: number): Steps<void> {
  if (scheduler.point(a, POINT_WRITE | POINT_ONCE, 1)) yield;
  ops.stPlain(a, v);
}
export function* cas(a: number, old: number, next: number): Steps<number> {
  if (scheduler.point(a, RMW, 1)) yield;
  return ops.cas(a, old, next);
}
export function* add(a: number, v: number): Steps<number> {
  if (scheduler.point(a, RMW, 1)) yield;
  return ops.add(a, v);
}
export function* and(a: number, v: number): Steps<number> {
  if (scheduler.point(a, RMW, 1)) yield;
  return ops.and(a, v);
}
export function* or(a: number, v: number): Steps<number> {
  if (scheduler.point(a, RMW, 1)) yield;
  return ops.or(a, v);
}
export function* xchg(a: number, v: number): Steps<number> {
  if (scheduler.point(a, RMW, 1)) yield;
  return ops.xchg(a, v);
}
export function* cas16(h: number, old: number, next: number): Steps<number> {
  if (scheduler.point(h >>> 1, RMW, 1)) yield;
  return ops.cas16(h, old, next);
}
export function* ld64(a: number): Steps<number> {
  if (scheduler.point(a, POINT_READ | POINT_ONCE, 2)) yield;
  return ops.ld64(a);
}
export function* st64(a: number, lo: number, hi: number): Steps<void> {
  if (scheduler.point(a, POINT_WRITE | POINT_ONCE, 2)) yield;
  ops.st64(a, lo, hi);
}
export function* stPlain64(a: number, lo: number, hi: number): Steps<void> {
  if (scheduler.point(a, POINT_WRITE | POINT_ONCE, 2)) yield;
  ops.stPlain64(a, lo, hi);
}
export function* xchg64(a: number, lo: number, hi: number): Steps<number> {
  if (scheduler.point(a, RMW, 2)) yield;
  return ops.xchg64(a, lo, hi);
}
export function* cas64(a: number, oldLo: number, oldHi: number, lo: number, hi: number): Steps<number> {
  if (scheduler.point(a, RMW, 2)) yield;
  return ops.cas64(a, oldLo, oldHi, lo, hi);
}
/** Zeroes `n` words; one point. */
export function* fill(a: number, n: number): Steps<void> {
  if (scheduler.point(a, POINT_WRITE, n)) yield;
  ops.fill(a, n);
}
/** Copies `n` words; one point, declared at the target (declare the source with `touch` when it is shared). */
export function* copy(to: number, from: number, n: number): Steps<void> {
  if (scheduler.point(to, POINT_WRITE, n)) yield;
  ops.copy(to, from, n);
}

/**
 * Stores `v`, then reads the own request word and answers it. One step: a request is made before or after it, as an
 * interrupt comes before or after a processor changes its mode.
 */
export function* stThenLook(cpu: Cpu, a: number, v: number): Steps<number> {
  const own = actor.request(cpu);
  if (scheduler.waitPoint(a, POINT_WRITE | POINT_ONCE | POINT_POLL, own)) yield;
  ops.st(a, v);
  return ops.ld(own);
}

/** Adds to a counter that nobody acts on, so that it is no point. */
export function tally(a: number, n: number): void {
  ops.add(a, n);
}

/** Takes the lock word `a`; the order is checked; waits for its holder. */
export function* lock(cpu: Cpu, a: number, rank: number): Steps<void> {
  checkOrder(cpu, a, rank);
  if (scheduler.waitPoint(a, POINT_LOCK | RMW, actor.request(cpu))) yield;
  if (ops.ld(a) !== 0) {
    ops.add(actor.contended(cpu), 1);
    sleeps(cpu, a);
    while (ops.ld(a) !== 0) {
      abortCheck(cpu);
      scheduler.blockLock(a, actor.request(cpu));
      yield;
    }
    wakes(cpu);
  }
  ops.st(a, cpuIndex(cpu) + 1);
  pushHeld(cpu, a, rank);
}

/** Takes the lock word `a` if it is free. */
export function* tryLock(cpu: Cpu, a: number, rank: number): Steps<boolean> {
  if (scheduler.point(a, POINT_LOCK | RMW, 1)) yield;
  if (ops.ld(a) !== 0) return false;
  ops.st(a, cpuIndex(cpu) + 1);
  pushHeld(cpu, a, rank);
  return true;
}

export function* unlock(cpu: Cpu, a: number): Steps<void> {
  if (scheduler.point(a, POINT_UNLOCK | RMW, 1)) yield;
  if (ops.ld(a) !== cpuIndex(cpu) + 1) throw new HypervisorBug(`unlock of a lock held by another`);
  popHeld(cpu, a);
  ops.st(a, 0);
}

/** Waits until the word at `a` is not `seen`, or a bounded while; callers loop and re-read. */
export function* waitChange(cpu: Cpu, a: number, seen: number): Steps<void> {
  if (scheduler.waitPoint(a, LOOK, actor.request(cpu))) yield;
  yield* sleepOn(cpu, a, seen, ops.ld(actor.request(cpu)));
}

/** The same, but also ends when the own request word is not `request`, the value that the caller has served. */
export function* waitRequest(cpu: Cpu, a: number, seen: number, request: number): Steps<void> {
  if (scheduler.waitPoint(a, LOOK, actor.request(cpu))) yield;
  yield* sleepOn(cpu, a, seen, request);
}

/** Waits until the lock at `a` is free or the own request word is not `request`; takes nothing. */
export function* lockWait(cpu: Cpu, a: number, request: number): Steps<void> {
  if (scheduler.waitPoint(a, LOOK, actor.request(cpu))) yield;
  const holder = ops.ld(a);
  if (holder !== 0) yield* sleepOn(cpu, a, holder, request);
}

/** Sleeps once: ends at any change, even one that was undone before this actor ran again; callers loop. */
function* sleepOn(cpu: Cpu, a: number, seen: number, request: number): Steps<void> {
  const own = actor.request(cpu);
  abortCheck(cpu);
  if (ops.ld(a) !== seen || ops.ld(own) !== request) return;
  sleeps(cpu, a);
  scheduler.block(a, own);
  yield;
  wakes(cpu);
  abortCheck(cpu);
}

/** While REQ_WAITS stands nobody waits for this actor; it looks at its requests again before its next guest access. */
function sleeps(cpu: Cpu, a: number): void {
  ops.st(actor.waiting(cpu), a);
  ops.or(actor.request(cpu), REQ_WAITS);
}
function wakes(cpu: Cpu): void {
  ops.and(actor.request(cpu), ~REQ_WAITS);
  ops.st(actor.waiting(cpu), 0);
}

/** Wakes who waits for the word at `a`; in this build the scheduler sees the change itself. */
export function wake(_a: number): void {
  return;
}

function abortCheck(cpu: Cpu): void {
  if (((words[actor.request(cpu)] as number) & REQ_ABORT) !== 0) {
    throw new MachineLost(`actor ${String(cpuIndex(cpu))}: the machine was given up`);
  }
}
