/**
 * The LRU: anonymous pages that reclaim may look at, oldest first; and the last put of a page.
 *
 * Invariant: a page on the list has PG_lru and a refcount of at least 1; it leaves the list before it is freed.
 * Lock: kernel.lruLock (rank guestLru).
 * Source: Linux mm/swap.c (release_pages), mm/vmscan.c.
 */
import type { Pfn } from '../../src/abi/frames.js';
import { listAddTail, listDel, listFirst } from '../../src/shm/list.js';
import { RANK } from '../../src/sync/lock-order.js';
import { and, ld, lock, or, st, unlock } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { freePage, putPageTest, tryGetPageRef } from './alloc.js';
import type { KernelCpu } from './context.js';
import { PFN_NONE } from './layout.js';
import { page, pageOf, pageOfLru, pfnOf, PG_ballooned, PG_lru } from './page.js';
import { kernel } from './records.js';
import { listUnpopulated } from './unpopulated.js';

export function* lruAdd(c: KernelCpu, pfn: Pfn): Steps<void> {
  const p = pageOf(c.k, pfn);
  yield* lock(c.cpu, kernel.lruLock(c.k), RANK.guestLru);
  yield* or(page.flags(p), PG_lru);
  yield* listAddTail(kernel.lru(c.k), page.lru(p));
  yield* st(kernel.nrLru(c.k), (yield* ld(kernel.nrLru(c.k))) + 1);
  yield* unlock(c.cpu, kernel.lruLock(c.k));
}

function* lruDel(c: KernelCpu, pfn: Pfn): Steps<void> {
  const p = pageOf(c.k, pfn);
  yield* lock(c.cpu, kernel.lruLock(c.k), RANK.guestLru);
  if (((yield* and(page.flags(p), ~PG_lru)) & PG_lru) !== 0) {
    yield* listDel(page.lru(p));
    yield* st(kernel.nrLru(c.k), (yield* ld(kernel.nrLru(c.k))) - 1);
  }
  yield* unlock(c.cpu, kernel.lruLock(c.k));
}

/** The oldest page with a reference for the caller, moved to the end; PFN_NONE when there is none to be had. */
export function* lruOldest(c: KernelCpu): Steps<Pfn> {
  yield* lock(c.cpu, kernel.lruLock(c.k), RANK.guestLru);
  const node = yield* listFirst(kernel.lru(c.k));
  let pfn = PFN_NONE;
  if (node !== 0) {
    yield* listDel(node);
    yield* listAddTail(kernel.lru(c.k), node);
    const oldest = pfnOf(c.k, pageOfLru(node));
    if (yield* tryGetPageRef(c, oldest)) pfn = oldest;
  }
  yield* unlock(c.cpu, kernel.lruLock(c.k));
  return pfn;
}

/** put_page: drops a reference; with the last one the page is free, or without a frame again. */
export function* releasePage(c: KernelCpu, pfn: Pfn): Steps<void> {
  if (!(yield* putPageTest(c, pfn))) return;
  const flags = yield* ld(page.flags(pageOf(c.k, pfn)));
  if ((flags & PG_ballooned) !== 0) {
    yield* listUnpopulated(c, pfn);
    return;
  }
  if ((flags & PG_lru) !== 0) yield* lruDel(c, pfn);
  yield* freePage(c, pfn);
}
