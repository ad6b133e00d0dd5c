/**
 * Slots 256 to 271 of an L4: Xen's own, written over whatever a guest left there when the table is validated.
 *
 * Invariant: all sixteen are written; only slot 256 (read-only M2P) has the user bit, so nothing else is reachable.
 * Lock: the table's validate lock; slot 256 also when the table becomes a base.
 * Source: init_xen_l4_slots, fill_ro_mpt, zap_ro_mpt, xen/arch/x86/mm.c.
 * Differs: what Xen maps above slot 258 is one frame of its own here, never walked.
 */
import { mfnWord, type Mfn } from '../abi/frames.js';
import {
  entryLo,
  PAGE_ACCESSED,
  PAGE_DIRTY,
  PAGE_NX_HI,
  PAGE_PRESENT,
  PAGE_RW,
  PAGE_USER,
  ROOT_LINEAR,
  ROOT_PERDOMAIN,
  ROOT_RO_MPT,
  ROOT_XEN_LAST,
} from '../abi/pte.js';
import { ld64, peek, poke, st64, touch } from '../sync/primitives.js';
import { POINT_WRITE } from '../sync/schedule.js';
import type { Steps } from '../sync/steps.js';
import { globals } from './globals.js';

const HYPERVISOR_RW = PAGE_PRESENT | PAGE_RW | PAGE_ACCESSED | PAGE_DIRTY;
const RO_MPT = PAGE_PRESENT | PAGE_USER | PAGE_ACCESSED;

/** Slots that Xen fills: MMCFG, the table itself, per-domain, text and direct map of a small machine. */
const PRESENT: ReadonlySet<number> = Object.freeze(
  new Set([ROOT_RO_MPT + 1, ROOT_LINEAR, ROOT_PERDOMAIN, ROOT_PERDOMAIN + 1, ROOT_PERDOMAIN + 2]),
);

const slotOf = (l4: Mfn, i: number): number => mfnWord(l4) + 2 * i;
const xenL3 = (): Mfn => peek(globals.xenL3) as Mfn;

/** Writes all of Xen's slots; `roMpt`: slot 256 is filled at once and stays through base changes (m2p_strict). */
export function* initXenL4Slots(l4: Mfn, roMpt: boolean): Steps<void> {
  yield* touch(slotOf(l4, ROOT_RO_MPT), 2 * (ROOT_XEN_LAST - ROOT_RO_MPT + 1), POINT_WRITE);
  for (let i = ROOT_RO_MPT; i <= ROOT_XEN_LAST; i++) {
    const present = i === ROOT_RO_MPT ? roMpt : PRESENT.has(i);
    const flags = i === ROOT_RO_MPT ? RO_MPT : HYPERVISOR_RW;
    poke(slotOf(l4, i), present ? entryLo(i === ROOT_LINEAR ? l4 : xenL3(), flags) : 0);
    poke(slotOf(l4, i) + 1, present && i !== ROOT_RO_MPT ? PAGE_NX_HI : 0);
  }
}

/** The table becomes a kernel base: the M2P is readable through it. */
export function* fillRoMpt(l4: Mfn): Steps<void> {
  const slot = slotOf(l4, ROOT_RO_MPT);
  if ((yield* ld64(slot)) === 0) yield* st64(slot, entryLo(xenL3(), RO_MPT), 0);
}
/** The table becomes a user base of a domain that hides the M2P. */
export function* zapRoMpt(l4: Mfn): Steps<void> {
  yield* st64(slotOf(l4, ROOT_RO_MPT), 0, 0);
}
