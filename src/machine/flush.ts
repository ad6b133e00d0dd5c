/**
 * Remote TLB flushes: a request bit that the target serves by itself.
 *
 * Invariant: when `flushMask` returns, no CPU of the set will make another guest access through an entry it held before:
 * it flushed, or it is outside guest memory and flushes before it comes back.
 * Each side writes its own word, then reads the other's (sequentially consistent): the target its mode, then the request;
 * the requester the request, then the mode.
 * Lock: none; may be called with any hypervisor lock held, for a CPU that is inside the hypervisor is never waited for.
 * Source: xen/arch/x86/smp.c (flush_area_mask), asm/flushtlb.h (tlbflush_filter); DESIGN decision 5; [X13], [X54].
 *
 * A set of CPUs is two words: actor index i (1 to 64) is bit i-1. Xen's dirty mask of a domain is the set of its vCPUs.
 */
import {
  actor,
  cpuAt,
  cpuIndex,
  MAX_CPUS,
  MODE_ACCESS,
  MODE_GUEST,
  MODE_HYPERVISOR,
  MODE_OFF,
  REQ_FLUSH,
  REQ_WAITS,
  type Cpu,
} from '../sync/actor.js';
import { and, hi64, ld64, ldOnce, or, peek, poke, stThenLook, waitChange, wake } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { flushClock, needFlush, openPeriod } from './clock.js';
import { vcpu } from './cpu-record.js';
import { tlbFlushLocal } from './tlb.js';

/** The two words of the set that holds this CPU alone. */
export const maskLo = (cpu: Cpu): number => (isIn(cpuIndex(cpu), 1, 32) ? 1 << (cpuIndex(cpu) - 1) : 0);
export const maskHi = (cpu: Cpu): number => (cpuIndex(cpu) > 32 ? 1 << (cpuIndex(cpu) - 33) : 0);
const isIn = (x: number, from: number, to: number): boolean => x >= from && x <= to;
const inMask = (index: number, lo: number, hi: number): boolean =>
  ((index <= 32 ? lo >>> (index - 1) : hi >>> (index - 33)) & 1) !== 0;

/** Flushes the TLBs of the set (`lo`, `hi`), this CPU's own included when it is a member; waits until all are safe. */
export function* flushMask(cpu: Cpu, lo: number, hi: number): Steps<void> {
  if ((lo | hi) === 0) return;
  poke(vcpu.nFlushes(cpu), peek(vcpu.nFlushes(cpu)) + 1);
  const self = cpuIndex(cpu);
  const othersLo = lo & ~maskLo(cpu);
  const othersHi = hi & ~maskHi(cpu);
  const others = (othersLo | othersHi) !== 0;
  if (others) {
    for (let i = 1; i < MAX_CPUS; i++) {
      if (inMask(i, othersLo, othersHi)) yield* or(actor.request(cpuAt(i)), REQ_FLUSH);
    }
  }
  if (self > 0 && inMask(self, lo, hi)) yield* tlbFlushLocal(cpu);
  if (!others) return;
  for (let i = 1; i < MAX_CPUS; i++) {
    if (inMask(i, othersLo, othersHi)) yield* awaitFlush(cpu, cpuAt(i));
  }
}

/** Flushes those CPUs of the set whose last flush is not newer than `stamp` (a frame's word 3). */
export function* flushMaskSince(cpu: Cpu, lo: number, hi: number, stamp: number): Steps<void> {
  const now = yield* flushClock();
  let needLo = 0;
  let needHi = 0;
  for (let i = 1; i < MAX_CPUS; i++) {
    if (!inMask(i, lo, hi)) continue;
    const last = yield* ldOnce(vcpu.flushTime(cpuAt(i))); // raced on purpose: a newer time only spares a request
    if (!needFlush(last, stamp, now)) continue;
    const mode = yield* ldOnce(actor.mode(cpuAt(i))); // raced on purpose: a CPU that comes up starts with an empty TLB
    if (mode === MODE_OFF && cpuAt(i) !== cpu) continue;
    needLo |= maskLo(cpuAt(i));
    needHi |= maskHi(cpuAt(i));
  }
  yield* flushMask(cpu, needLo, needHi);
  if (now === 0) yield* newFlushPeriod(cpu);
}

/** The clock wrapped: every CPU is told to flush, then the next period begins. */
function* newFlushPeriod(cpu: Cpu): Steps<void> {
  yield* flushMask(cpu, -1, MAX_CPUS > 33 ? -1 : 0);
  yield* openPeriod();
}

function* awaitFlush(cpu: Cpu, target: Cpu): Steps<void> {
  for (;;) {
    const request = yield* ld64(actor.request(target)); // raced on purpose: second half of the handshake; waits for its change
    const mode = hi64(); // the next word, as it was at that moment
    if ((request & REQ_FLUSH) === 0 || (request & REQ_WAITS) !== 0) return;
    if (mode !== MODE_GUEST && mode !== MODE_ACCESS) return;
    yield* waitChange(cpu, actor.request(target), request);
  }
}

/** Does what a pending request asks, then clears it: flush first, so that a cleared bit means a flushed TLB. */
export function* serveFlush(cpu: Cpu): Steps<void> {
  poke(vcpu.flushLate(cpu), 0);
  yield* tlbFlushLocal(cpu);
  yield* and(actor.request(cpu), ~REQ_FLUSH);
  wake(actor.request(cpu));
}

/**
 * The hypervisor is about to reach through the TLB into guest memory on behalf of `cpu`: a pending flush is done now, and
 * until `endAccess` requesters wait. Take no lock and wait for nothing in between.
 */
export function* beginAccess(cpu: Cpu): Steps<void> {
  yield* enterMode(cpu, MODE_ACCESS);
}

export function* endAccess(cpu: Cpu): Steps<void> {
  yield* enterMode(cpu, MODE_HYPERVISOR);
}

/**
 * Changes the mode, then looks at the request word: whoever sees the old mode waits for the answer given here. One step for
 * a schedule: on a processor an interrupt comes before or after a change of mode, never in the middle.
 */
export function* enterMode(cpu: Cpu, mode: number): Steps<void> {
  const request = yield* stThenLook(cpu, actor.mode(cpu), mode);
  if ((request & REQ_FLUSH) !== 0) yield* serveFlush(cpu);
}
