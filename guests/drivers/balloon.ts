/**
 * The balloon: giving frames back to Xen and taking them again.
 *
 * Invariant: a frame is given up only when nothing maps it, the direct map included; while Xen has it, its page is on the
 * list of pages without a frame.
 * Lock: none across hypercalls; the page is the caller's own meanwhile.
 * Source: Linux drivers/xen/balloon.c; [X1].
 * Differs: a frame that Xen refuses to take goes back to its page, and a refused alias is asked for again; Linux has a
 * BUG_ON at both (drivers/xen/mem-reservation.c).
 */
import type { Mfn, Pfn } from '../../src/abi/frames.js';
import { XENMEM_decrease_reservation, XENMEM_populate_physmap } from '../../src/abi/memory.js';
import { UVMF_ALL, UVMF_INVLPG } from '../../src/abi/mmu.js';
import { entryLo, PAGE_NX_HI } from '../../src/abi/pte.js';
import { st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { insistDirect, setDirect } from '../kernel/alias.js';
import { allocZeroedPage } from '../kernel/alloc.js';
import type { KernelCpu } from '../kernel/context.js';
import { COUNT, WARN } from '../kernel/counters.js';
import { count, warn } from '../kernel/count.js';
import { PFN_NONE } from '../kernel/layout.js';
import { releasePage } from '../kernel/lru.js';
import { P2M_INVALID, pfnToMfn, setP2m } from '../kernel/p2m.js';
import { page, pageOf, PG_ballooned } from '../kernel/page.js';
import { KERNEL_RW } from '../kernel/pte.js';
import { takeUnpopulated } from '../kernel/unpopulated.js';
import { memoryReservation, populatedFrame } from '../xen/calls.js';

/** A page without a frame, with one reference; one is ballooned out when none is left; PFN_NONE when memory is short. */
export function* borrowUnpopulated(c: KernelCpu): Steps<Pfn> {
  const pfn = yield* takeUnpopulated(c);
  if (pfn !== PFN_NONE) return pfn;
  return (yield* balloonOut(c)) ? yield* takeUnpopulated(c) : PFN_NONE;
}

/** Gives one frame to Xen: its page stays behind without a frame; false when there is none to give. */
export function* balloonOut(c: KernelCpu): Steps<boolean> {
  const pfn = yield* allocZeroedPage(c);
  if (pfn === PFN_NONE) return false;
  const mfn = yield* pfnToMfn(c, pfn);
  // everywhere: another vCPU's stale translation would lead to a frame that is Xen's, or no longer this page's
  if (!(yield* setDirect(c, pfn, 0, 0, UVMF_INVLPG | UVMF_ALL))) {
    yield* releasePage(c, pfn);
    return false;
  }
  yield* setP2m(c, pfn, P2M_INVALID);
  if ((yield* memoryReservation(c, XENMEM_decrease_reservation, mfn)) !== 1) {
    yield* warn(c, WARN.hypercall, mfn);
    yield* takeBack(c, pfn, mfn);
    return false;
  }
  yield* st(page.flags(pageOf(c.k, pfn)), PG_ballooned);
  yield* count(c, COUNT.ballooned);
  yield* releasePage(c, pfn);
  return true;
}

/** A frame that Xen would not have is its page's again; a page whose alias is refused as well is never used again. */
export function* takeBack(c: KernelCpu, pfn: Pfn, mfn: Mfn): Steps<void> {
  yield* setP2m(c, pfn, mfn);
  if (yield* insistDirect(c, pfn, entryLo(mfn, KERNEL_RW), PAGE_NX_HI, UVMF_INVLPG)) yield* releasePage(c, pfn);
}

/** Takes a frame from Xen for a page that has none, which becomes an ordinary free page; false when there is none. */
export function* balloonIn(c: KernelCpu): Steps<boolean> {
  const pfn = yield* takeUnpopulated(c);
  if (pfn === PFN_NONE) return false;
  if ((yield* memoryReservation(c, XENMEM_populate_physmap, pfn)) !== 1) {
    yield* releasePage(c, pfn);
    return false;
  }
  const mfn = yield* populatedFrame(c);
  yield* setP2m(c, pfn, mfn);
  const ok = yield* insistDirect(c, pfn, entryLo(mfn, KERNEL_RW), PAGE_NX_HI, UVMF_INVLPG);
  yield* st(page.flags(pageOf(c.k, pfn)), 0);
  if (ok) yield* releasePage(c, pfn);
  return ok;
}
