/**
 * Calling a function on other vCPUs and waiting for all of them (smp_call_function_many).
 *
 * One function exists: leaving an mm ([X72]). Invariant: while a bit of callPending is set, its vCPU has not finished.
 * Lock: kernel.callLock, taken with no other lock held; the waiting caller goes on serving interrupts, so two callers
 * that call each other both end.
 */
import { RANK } from '../../src/sync/lock-order.js';
import { ldOnce, peek, stOnce, wake } from '../../src/sync/primitives.js';
import type { Cpu } from '../../src/sync/actor.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from './context.js';
import { COUNT } from './counters.js';
import { count } from './count.js';
import { inSet, isMember, leaveSet } from './cpu-set.js';
import { klock, kunlock } from './lock.js';
import type { Mm } from './mm.js';
import { kernel } from './records.js';
import { dropMmRefHere } from './switch.js';
import { MARK } from '../../src/abi/marks.js';
import { mark } from './mark.js';

/** Makes the vCPUs in the set (lo, hi) leave `m`; returns when all have. */
export function* crossCallDropMm(c: KernelCpu, lo: number, hi: number, m: Mm): Steps<void> {
  const pending = kernel.callPending(c.k);
  yield* klock(c, kernel.callLock(c.k), RANK.guestCall);
  yield* count(c, COUNT.crossCalls);
  yield* stOnce(kernel.callMm(c.k), m); // raced on purpose: published by the pending bits
  yield* stOnce(pending, lo); // raced on purpose: the handlers clear bits
  yield* stOnce(pending + 1, hi); // raced on purpose: as above
  for (let i = 0; i < peek(kernel.nrVcpus(c.k)); i++) {
    if (!inSet(i, lo, hi)) continue;
    yield* count(c, COUNT.ipis);
    yield* c.g.sendIpi(peek(kernel.actors(c.k) + i) as Cpu);
  }
  for (const word of [pending, pending + 1]) {
    for (;;) {
      const left = yield* ldOnce(word); // raced on purpose: the handlers clear bits
      if (left === 0) break;
      yield* c.g.relax(word, left);
    }
  }
  yield* kunlock(c, kernel.callLock(c.k));
}

/** The interrupt handler. */
export function* serveCrossCall(c: KernelCpu): Steps<void> {
  const pending = kernel.callPending(c.k);
  if (!(yield* isMember(pending, c.id))) return;
  mark(c, MARK.cross_call);
  yield* dropMmRefHere(c, (yield* ldOnce(kernel.callMm(c.k))) as Mm); // raced on purpose: stable while a bit is set
  mark(c, MARK.cross_call_ret);
  yield* leaveSet(pending, c.id);
  wake(pending + (c.id >> 5));
}
