/** Adding to counters and warnings. Lock: none (atomic adds). */
import { add, peek, stOnce, tally } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from './context.js';
import type { Counter, Warning } from './counters.js';
import { kernel, type Kernel } from './records.js';

export function* count(c: KernelCpu, what: Counter, n = 1): Steps<void> {
  tally(kernel.counters(c.k) + what, n);
}

/** Counts a warning and keeps `detail` of the last one of its kind. */
export function* warn(c: KernelCpu, what: Warning, detail: number): Steps<void> {
  yield* add(kernel.warnings(c.k) + 2 * what, 1);
  yield* stOnce(kernel.warnings(c.k) + 2 * what + 1, detail); // raced on purpose: the last one's, whoever that is
}

/** A counter of a still kernel, or a figure for people. */
export const counted = (k: Kernel, what: Counter): number => peek(kernel.counters(k) + what);
export const warned = (k: Kernel, what: Warning): number => peek(kernel.warnings(k) + 2 * what);
export const warnedWith = (k: Kernel, what: Warning): number => peek(kernel.warnings(k) + 2 * what + 1);
