/**
 * Pages without a frame: lent to drivers, which map foreign frames at them, and taken back with their last reference.
 *
 * Invariant: a page on the list has p2m INVALID, nothing at its place in the direct map, refcount 0 ([I18]). A borrowed
 * page keeps PG_ballooned, so whoever drops its last reference, I/O included, brings it here.
 * Lock: kernel.balloonLock (rank guestBalloon).
 * Source: Linux drivers/xen/unpopulated-alloc.c.
 */
import type { Pfn } from '../../src/abi/frames.js';
import { listAdd, listDel, listFirst } from '../../src/shm/list.js';
import { RANK } from '../../src/sync/lock-order.js';
import { ld, lock, st, unlock } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from './context.js';
import { PFN_NONE } from './layout.js';
import { page, pageOf, pageOfLru, pfnOf, PG_ballooned } from './page.js';
import { kernel } from './records.js';

/** A page without a frame, with one reference; PFN_NONE when the list is empty. */
export function* takeUnpopulated(c: KernelCpu): Steps<Pfn> {
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

/** Puts a page on the list whose last reference is gone and whose place in the direct map is empty. */
export function* listUnpopulated(c: KernelCpu, pfn: Pfn): Steps<void> {
  const { k } = c;
  const p = pageOf(k, pfn);
  yield* st(page.private(p), 0);
  yield* st(page.flags(p), PG_ballooned);
  yield* lock(c.cpu, kernel.balloonLock(k), RANK.guestBalloon);
  yield* listAdd(kernel.balloonPages(k), page.lru(p));
  yield* st(kernel.nrBallooned(k), (yield* ld(kernel.nrBallooned(k))) + 1);
  yield* unlock(c.cpu, kernel.balloonLock(k));
}
