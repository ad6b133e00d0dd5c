/**
 * The balloon: pfns without a frame, which drivers borrow to map foreign frames at, and giving frames back to Xen.
 *
 * Invariant: a page on the balloon's list has p2m INVALID, nothing at its place in the direct map, refcount 0 ([I18]).
 * Lock: kernel.balloonLock (rank guestBalloon); hypercalls are made without it.
 * Source: Linux drivers/xen/balloon.c, unpopulated-alloc.c; [X1].
 */
import type { Pfn } from '../../src/abi/frames.js';
import { XENMEM_decrease_reservation, XENMEM_populate_physmap } from '../../src/abi/memory.js';
import { UVMF_INVLPG } from '../../src/abi/mmu.js';
import { entryLo, PAGE_NX_HI } from '../../src/abi/pte.js';
import { listAdd, listDel, listFirst } from '../../src/shm/list.js';
import { RANK } from '../../src/sync/lock-order.js';
import { ld, lock, or, st, unlock } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { setDirect } from '../kernel/alias.js';
import { allocZeroedPage } from '../kernel/alloc.js';
import type { KernelCpu } from '../kernel/context.js';
import { COUNT, WARN } from '../kernel/counters.js';
import { count, warn } from '../kernel/count.js';
import { PFN_NONE } from '../kernel/layout.js';
import { releasePage } from '../kernel/lru.js';
import { P2M_INVALID, pfnToMfn, setP2m } from '../kernel/p2m.js';
import { page, pageOf, pageOfLru, pfnOf, PG_ballooned } from '../kernel/page.js';
import { KERNEL_RW } from '../kernel/pte.js';
import { kernel } from '../kernel/records.js';
import { memoryReservation, populatedFrame } from '../xen/calls.js';

/** A page without a frame, with one reference; one is ballooned out when none is left; PFN_NONE when memory is short. */
export function* borrowUnpopulated(c: KernelCpu): Steps<Pfn> {
  const pfn = yield* takeFromList(c);
  if (pfn !== PFN_NONE) return pfn;
  return (yield* balloonOut(c)) ? yield* takeFromList(c) : PFN_NONE;
}

function* takeFromList(c: KernelCpu): Steps<Pfn> {
  const { k } = c;
  yield* lock(c.cpu, kernel.balloonLock(k), RANK.guestBalloon);
  const node = yield* listFirst(kernel.balloonPages(k));
  if (node !== 0) {
    yield* listDel(node);
    yield* st(kernel.nrBallooned(k), (yield* ld(kernel.nrBallooned(k))) - 1);
  }
  yield* unlock(c.cpu, kernel.balloonLock(k));
  if (node === 0) return PFN_NONE;
  yield* st(page.refcount(pageOfLru(node)), 1);
  return pfnOf(k, pageOfLru(node));
}

/** Gives a page back whose place in the direct map is empty; its last reference is the caller's. */
export function* returnUnpopulated(c: KernelCpu, pfn: Pfn): Steps<void> {
  const { k } = c;
  const p = pageOf(k, pfn);
  yield* st(page.refcount(p), 0);
  yield* st(page.private(p), 0);
  yield* st(page.flags(p), PG_ballooned);
  yield* lock(c.cpu, kernel.balloonLock(k), RANK.guestBalloon);
  yield* listAdd(kernel.balloonPages(k), page.lru(p));
  yield* st(kernel.nrBallooned(k), (yield* ld(kernel.nrBallooned(k))) + 1);
  yield* unlock(c.cpu, kernel.balloonLock(k));
}

/** Gives one frame to Xen: its page stays behind without a frame; false when there is none to give. */
export function* balloonOut(c: KernelCpu): Steps<boolean> {
  const pfn = yield* allocZeroedPage(c);
  if (pfn === PFN_NONE) return false;
  const mfn = yield* pfnToMfn(c, pfn);
  if (!(yield* setDirect(c, pfn, 0, 0, UVMF_INVLPG))) {
    yield* releasePage(c, pfn);
    return false;
  }
  yield* setP2m(c, pfn, P2M_INVALID);
  if ((yield* memoryReservation(c, XENMEM_decrease_reservation, mfn)) !== 1) yield* warn(c, WARN.hypercall, mfn);
  yield* or(page.flags(pageOf(c.k, pfn)), PG_ballooned);
  yield* count(c, COUNT.ballooned);
  yield* returnUnpopulated(c, pfn);
  return true;
}

/** Takes a frame from Xen for a page of the balloon, which becomes an ordinary free page; false when there is none. */
export function* balloonIn(c: KernelCpu): Steps<boolean> {
  const pfn = yield* takeFromList(c);
  if (pfn === PFN_NONE) return false;
  if ((yield* memoryReservation(c, XENMEM_populate_physmap, pfn)) !== 1) {
    yield* returnUnpopulated(c, pfn);
    return false;
  }
  const mfn = yield* populatedFrame(c);
  yield* setP2m(c, pfn, mfn);
  if (!(yield* setDirect(c, pfn, entryLo(mfn, KERNEL_RW), PAGE_NX_HI, UVMF_INVLPG))) return false;
  yield* st(page.flags(pageOf(c.k, pfn)), 0);
  yield* releasePage(c, pfn);
  return true;
}
