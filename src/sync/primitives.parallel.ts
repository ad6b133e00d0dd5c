/**
 * Primitives, parallel build: every actor is a thread; accesses are the ops themselves, waits are bounded.
 *
 * Invariant: no wait is endless: a lock wait sleeps at most WAIT_MS at a time and looks for REQ_ABORT in between.
 * Lock: `lock` is a three-state futex mutex (free; owner; owner with waiters) with a short spin.
 * Source: DESIGN decision 3; reference performance.md 2.6. The pair of this file is `primitives.ts`.
 */
import { HypervisorBug, MachineLost } from '../abi/errors.js';
import { doubles, words } from '../ops/memory.js';
import * as ops from '../ops/wasm.js';
import { actor, cpuIndex, REQ_ABORT, REQ_WAITS, type Cpu } from './actor.js';
import { checkOrder, popHeld, pushHeld } from './held.js';
import type * as controlled from './primitives.js';
import type { Scheduler } from './schedule.js';
import type { Erased } from './steps.js';

export const BUILD = 'parallel';

const WAITERS = 1 << 31;
const SPINS = 200;
const WAIT_MS = 2;

export function withScheduler<T>(_s: Scheduler, _body: () => T): T {
  throw new HypervisorBug('the parallel build has no scheduler');
}
export function run<T>(body: () => T): T {
  return body();
}

export const { cas, add, and, or, xchg, cas16, ld64, hi64, st64, stPlain, stPlain64, xchg64, cas64, fill, copy } = ops;
export const ldOnce = ops.ldPlain;
export const stOnce = ops.st;
export const peek = (a: number): number => words[a] as number;
export const poke = (a: number, v: number): void => {
  words[a] = v | 0; // else the engine takes a value that it knows nothing of through a double
};
export const peekDouble = (a: number): number => doubles[a >>> 1] as number;
export const pokeDouble = (a: number, v: number): void => {
  doubles[a >>> 1] = v;
};
/** These claim freedom from races: what orders them is the lock or atomic around them, so plain accesses will do. */
export const ld = peek;
export const st = poke;

/** No schedule, no choice: the machine does what it does by itself. */
export function choose(_cpu: Cpu, _what: number, _n: number): number {
  return 0;
}

export function touch(_a: number, _n: number, _kind: number): void {
  return;
}

export function stThenLook(cpu: Cpu, a: number, v: number): number {
  ops.st(a, v);
  return ops.ld(actor.request(cpu));
}

export const tally = (a: number, n: number): void => {
  ops.add(a, n);
};

export function lock(cpu: Cpu, a: number, rank: number): void {
  checkOrder(cpu, a, rank);
  const me = cpuIndex(cpu) + 1;
  if (ops.cas(a, 0, me) !== 0) lockSlow(cpu, a, me);
  pushHeld(cpu, a, rank);
}

function lockSlow(cpu: Cpu, a: number, me: number): void {
  words[actor.contended(cpu)] = (words[actor.contended(cpu)] as number) + 1;
  for (let i = 0; i < SPINS; i++) {
    if (ops.ld(a) === 0 && ops.cas(a, 0, me) === 0) return;
  }
  sleeps(cpu, a);
  for (;;) {
    const v = ops.ld(a);
    if (v === 0) {
      if (ops.cas(a, 0, me | WAITERS) === 0) break;
      continue;
    }
    if ((v & WAITERS) !== 0 || ops.cas(a, v, v | WAITERS) === v) {
      Atomics.wait(words, a, v | WAITERS, WAIT_MS);
    }
    abortCheck(cpu);
  }
  wakes(cpu);
}

export function tryLock(cpu: Cpu, a: number, rank: number): boolean {
  if (ops.cas(a, 0, cpuIndex(cpu) + 1) !== 0) return false;
  pushHeld(cpu, a, rank);
  return true;
}

export function unlock(cpu: Cpu, a: number): void {
  popHeld(cpu, a);
  const v = ops.xchg(a, 0);
  if ((v & ~WAITERS) !== cpuIndex(cpu) + 1) throw new HypervisorBug('unlock of a lock held by another');
  if ((v & WAITERS) !== 0) Atomics.notify(words, a, 1);
}

export function waitChange(cpu: Cpu, a: number, seen: number): void {
  waitRequest(cpu, a, seen, ops.ld(actor.request(cpu)));
}

export function waitRequest(cpu: Cpu, a: number, seen: number, request: number): void {
  const own = actor.request(cpu);
  abortCheck(cpu);
  for (let i = 0; i < SPINS; i++) if (ops.ld(a) !== seen || ops.ld(own) !== request) return;
  sleeps(cpu, a);
  Atomics.wait(words, a, a === own ? seen | REQ_WAITS : seen, WAIT_MS);
  wakes(cpu);
}

export function lockWait(cpu: Cpu, a: number, request: number): void {
  const own = actor.request(cpu);
  abortCheck(cpu);
  for (let i = 0; i < SPINS; i++) if (ops.ld(a) === 0 || ops.ld(own) !== request) return;
  sleeps(cpu, a);
  const v = ops.ld(a);
  if (v !== 0 && ((v & WAITERS) !== 0 || ops.cas(a, v, v | WAITERS) === v)) {
    Atomics.wait(words, a, v | WAITERS, WAIT_MS);
  }
  wakes(cpu);
}

/** While REQ_WAITS stands nobody waits for this actor; it looks at its requests again before its next guest access. */
function sleeps(cpu: Cpu, a: number): void {
  ops.st(actor.waiting(cpu), a);
  ops.or(actor.request(cpu), REQ_WAITS);
  Atomics.notify(words, actor.request(cpu));
}
function wakes(cpu: Cpu): void {
  ops.and(actor.request(cpu), ~REQ_WAITS);
  ops.st(actor.waiting(cpu), 0);
}

export function wake(a: number): void {
  Atomics.notify(words, a);
}

function abortCheck(cpu: Cpu): void {
  if ((ops.ld(actor.request(cpu)) & REQ_ABORT) !== 0) {
    throw new MachineLost(`actor ${String(cpuIndex(cpu))}: the machine was given up`);
  }
}

({
  BUILD,
  withScheduler,
  run,
  ld,
  st,
  ldOnce,
  stOnce,
  cas,
  add,
  and,
  or,
  xchg,
  cas16,
  ld64,
  hi64,
  st64,
  stPlain,
  stPlain64,
  xchg64,
  cas64,
  fill,
  copy,
  peek,
  poke,
  peekDouble,
  pokeDouble,
  touch,
  choose,
  stThenLook,
  tally,
  lock,
  tryLock,
  unlock,
  waitChange,
  waitRequest,
  lockWait,
  wake,
}) satisfies Omit<Erased<typeof controlled>, 'run' | 'point' | 'ops'> & { run: <T>(body: () => T) => T };
