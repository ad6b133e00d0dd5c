/**
 * The page allocator: single pages, last freed first used, so that a stale use meets a new owner soon.
 *
 * Invariant: a page on the free list has refcount 0, mapcount 0, no flags but PG_free, and maps its own frame RW in the
 * direct map ([I18]).
 * Lock: kernel.allocLock (rank guestAllocator); nothing is called under it.
 * Source: Linux mm/page_alloc.c (order 0 only).
 */
import type { Pfn } from '../../src/abi/frames.js';
import { faultHit } from '../../src/fault/plan.js';
import { SITE } from '../../src/fault/sites.js';
import { listAdd, listDel, listFirst } from '../../src/shm/list.js';
import { slabAlloc } from '../../src/shm/slab.js';
import { RANK } from '../../src/sync/lock-order.js';
import { add, cas, ld, ldOnce, lock, or, peek, st, unlock } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from './context.js';
import { COUNT, WARN } from './counters.js';
import { count, warn } from './count.js';
import { directVa, PFN_NONE } from './layout.js';
import { page, pageOf, pageOfLru, pfnOf, PG_free, PG_quarantined } from './page.js';
import { kernel } from './records.js';

/** True when a planned failure (kernel.failPage, kernel.failSlab) falls on this allocation. */
function* planned(a: number): Steps<boolean> {
  for (;;) {
    const left = yield* ldOnce(a); // raced on purpose: decided by the cas below
    if (left === 0) return false;
    if ((yield* cas(a, left, left - 1)) === left) return left === 1;
  }
}

/** A page with one reference, contents as they were left; PFN_NONE when there is none. */
export function* allocPage(c: KernelCpu): Steps<Pfn> {
  const { k, cpu } = c;
  if (faultHit(cpu, SITE['guest.page.alloc']) !== 0) return yield* noPage(c);
  if (peek(kernel.failPage(k)) !== 0 && (yield* planned(kernel.failPage(k)))) return yield* noPage(c);
  yield* lock(cpu, kernel.allocLock(k), RANK.guestAllocator);
  const node = yield* listFirst(kernel.freePages(k));
  if (node !== 0) {
    yield* listDel(node);
    yield* st(kernel.nrFree(k), (yield* ld(kernel.nrFree(k))) - 1);
  }
  yield* unlock(cpu, kernel.allocLock(k));
  if (node === 0) return yield* noPage(c);
  const p = pageOfLru(node);
  yield* st(page.flags(p), 0);
  yield* st(page.refcount(p), 1);
  return pfnOf(k, p);
}

function* noPage(c: KernelCpu): Steps<Pfn> {
  yield* count(c, COUNT.allocationFailures);
  return PFN_NONE;
}

/** A zeroed page. */
export function* allocZeroedPage(c: KernelCpu): Steps<Pfn> {
  const pfn = yield* allocPage(c);
  if (pfn !== PFN_NONE) yield* c.g.clearPage(directVa(pfn));
  return pfn;
}

/** Puts a page whose refcount is 0 on the free list; a page that is still mapped somewhere is kept out and counted. */
export function* freePage(c: KernelCpu, pfn: Pfn): Steps<void> {
  const { k, cpu } = c;
  const p = pageOf(k, pfn);
  if ((yield* ld(page.mapcount(p))) !== 0) {
    yield* warn(c, WARN.badPage, pfn);
    return;
  }
  if (((yield* ld(page.flags(p))) & PG_quarantined) !== 0) {
    yield* count(c, COUNT.pagesLost);
    return;
  }
  yield* st(page.private(p), 0);
  yield* st(page.mapping(p), 0);
  yield* lock(cpu, kernel.allocLock(k), RANK.guestAllocator);
  yield* st(page.flags(p), PG_free);
  yield* listAdd(kernel.freePages(k), page.lru(p));
  yield* st(kernel.nrFree(k), (yield* ld(kernel.nrFree(k))) + 1);
  yield* unlock(cpu, kernel.allocLock(k));
}

export function* getPageRef(c: KernelCpu, pfn: Pfn): Steps<void> {
  yield* add(page.refcount(pageOf(c.k, pfn)), 1);
}

/** Takes a reference unless the page is free ([L3]). */
export function* tryGetPageRef(c: KernelCpu, pfn: Pfn): Steps<boolean> {
  const a = page.refcount(pageOf(c.k, pfn));
  for (;;) {
    const n = yield* ldOnce(a); // raced on purpose: decided by the cas below
    if (n <= 0) return false;
    if ((yield* cas(a, n, n + 1)) === n) return true;
  }
}

/** Drops a reference; true when it was the last one (the page is then the caller's to free). */
export function* putPageTest(c: KernelCpu, pfn: Pfn): Steps<boolean> {
  const was = yield* add(page.refcount(pageOf(c.k, pfn)), -1);
  if (was < 1) yield* warn(c, WARN.badPage, pfn);
  return was === 1;
}

/** Keeps the page out of the free list for ever once its last reference goes. */
export function* quarantinePage(c: KernelCpu, pfn: Pfn): Steps<void> {
  yield* or(page.flags(pageOf(c.k, pfn)), PG_quarantined);
}

/** A zeroed record of the kernel's slab at `slab`; 0 when there is none. */
export function* allocRecord(c: KernelCpu, slab: number): Steps<number> {
  const fail = kernel.failSlab(c.k);
  const injected = faultHit(c.cpu, SITE['guest.record.alloc']) !== 0 || (peek(fail) !== 0 && (yield* planned(fail)));
  const r = injected ? 0 : yield* slabAlloc(c.cpu, slab);
  if (r === 0) yield* count(c, COUNT.allocationFailures);
  return r;
}
