/**
 * The TLB flush clock: ticks on every TLB flush of any CPU, so that a stamp says which CPUs flushed since.
 *
 * Invariant: a CPU's flushTime is the clock value taken before its last flush; 0 as clock value means "wrapped": until
 * the next period is opened every CPU counts as needing a flush.
 * Lock: none; the clock moves by compare-exchange.
 * Source: xen/arch/x86/flushtlb.c (pre_flush, post_flush), asm/flushtlb.h (NEED_FLUSH); [X13].
 */
import { cas, ldOnce, peek } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { GLOBALS } from './layout.js';

/** The first line of GLOBALS is this file's. A zeroed memory starts in the wrapped state, which is safe. */
export const FLUSH_CLOCK = GLOBALS;

/** tlbflush_current_time: what page_set_tlbflush_timestamp stores in a frame's word 3. */
export function* flushClock(): Steps<number> {
  return yield* ldOnce(FLUSH_CLOCK); // raced on purpose: any CPU may tick it
}

/** Advances the clock; to be called before the flush it stands for. Answers the new value, 0 while wrapped. */
export function* tick(): Steps<number> {
  // Looked at with `peek`: a compare-exchange proves the look, and a wrapped clock is read again.
  let t = peek(FLUSH_CLOCK);
  if (t === 0) t = yield* ldOnce(FLUSH_CLOCK); // raced on purpose: any CPU may open the next period
  while (t !== 0) {
    const next = (t + 1) | 0;
    const was = yield* cas(FLUSH_CLOCK, t, next);
    if (was === t) return next;
    t = was;
  }
  return 0;
}

/** Opens the next period after a wrap (or at boot); every CPU must have been told to flush before. */
export function* openPeriod(): Steps<void> {
  yield* cas(FLUSH_CLOCK, 0, 1);
}

/** NEED_FLUSH: whether a CPU that last flushed at `cpuStamp` may hold a translation used until `lastUse`. */
export const needFlush = (cpuStamp: number, lastUse: number, now: number): boolean =>
  now === 0 || (cpuStamp >>> 0 <= lastUse >>> 0 && lastUse >>> 0 <= now >>> 0);
