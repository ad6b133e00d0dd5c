/**
 * Where threads run, the common entries of an L1 go through the table kernels; the others the long way, one by one.
 *
 * Invariant: what a kernel does to an entry is what getPageFromL1e or putPageFromL1e would have done, as one step.
 * Lock: the table's validate lock.
 * Source: DESIGN "Atomicity is Xen's" (fused in the parallel build only), reference performance.md 2.3.
 */
import { ENTRIES, PAGE_GNTTAB_HI } from '../abi/pte.js';
import { FLUSH_CLOCK } from '../machine/clock.js';
import { CHANGED_HANDS, unvalidateL1, validateL1 } from '../machine/kernels/index.js';
import { FRAME_TABLE, FRAMES } from '../machine/layout.js';
import type { Cpu } from '../sync/actor.js';
import { BUILD, peek } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { domidOf, type DomainRef } from './domain.js';
import { globals } from './globals.js';
import { PAGE_CACHE_ATTRS, putPageFromL1e } from './l1e.js';
import { isTwinned } from './twins.js';

const build: string = BUILD;
/** Kernels hide the points between references: never where one thread runs all vCPUs. */
export const FUSED = build !== 'controlled';

/** High bits that the kernels leave to the long way: the grant mark, where it means something. */
export const slowHi = (): number => (peek(globals.debug) !== 0 ? PAGE_GNTTAB_HI : 0);

/** Takes the references of the entries of `d`'s table at `base` from `i` on; answers the first one left to the caller. */
export function* promoteFrom(cpu: Cpu, base: number, i: number, d: DomainRef): Steps<number> {
  if (!FUSED || i >= ENTRIES || isTwinned()) return i;
  const stop = validateL1(base, i, domidOf(d), FRAME_TABLE, FRAMES, PAGE_CACHE_ATTRS, slowHi());
  if ((stop & CHANGED_HANDS) === 0) return stop;
  const slot = base + 2 * (stop & ~CHANGED_HANDS);
  yield* putPageFromL1e(cpu, peek(slot), peek(slot + 1), d);
  return stop & ~CHANGED_HANDS;
}

/** Drops the references of entries `i` .. `n`-1; answers the first one left to the caller, `n` when none is. */
export function dropFrom(base: number, i: number, n: number): number {
  return FUSED && i < n && !isTwinned() ? unvalidateL1(base, i, n, FRAME_TABLE, FRAMES, slowHi(), FLUSH_CLOCK) : i;
}
