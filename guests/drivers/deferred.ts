/**
 * Granted pages whose access could not be ended because the other domain has them mapped: kept, and tried again. And pages
 * for domains that are not trusted: never used for anything else.
 *
 * Rule: a page that somebody may still write to is not used again, whoever that is and however long it lasts; the granter
 * goes on without it. Xen clears the bits of a dying mapper's grants before its page tables go ([X64]): until then the page
 * can be no page table, which Linux, that gives it back to its allocator, would learn from a refused pin.
 * Invariant: a page on either list has one reference and belongs to nobody else; that of a deferred one is in its `index`.
 * Lock: kernel.grantLock for the lists.
 * Source: Linux 6.1 drivers/xen/grant-table.c (gnttab_add_deferred, gnttab_handle_deferred: ten a second).
 * Differs: tried at the next end of an access, not by a timer; Linux has no pool.
 */
import type { Pfn } from '../../src/abi/frames.js';
import { listAddTail, listDel, listFirst } from '../../src/shm/list.js';
import { RANK } from '../../src/sync/lock-order.js';
import { add, ldOnce, lock, peek, st, unlock } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { allocZeroedPage } from '../kernel/alloc.js';
import type { KernelCpu } from '../kernel/context.js';
import { COUNT } from '../kernel/counters.js';
import { count } from '../kernel/count.js';
import { PFN_NONE } from '../kernel/layout.js';
import { releasePage } from '../kernel/lru.js';
import { page, pageOf, pageOfLru, pfnOf } from '../kernel/page.js';
import { kernel } from '../kernel/records.js';
import { endAccess } from './grants.js';

const AT_ONCE = 10;

/** Word of `page.index` that says where the page goes in the end: 1, to the pool. */
const TO_POOL = 1;

/** A page to be granted to a domain that is not trusted. */
export function* pooledPage(c: KernelCpu): Steps<Pfn> {
  const pfn = yield* takeFirst(c, kernel.grantPool(c.k));
  return pfn === PFN_NONE ? yield* allocZeroedPage(c) : pfn;
}

/** Such a page comes back. */
export function* toPool(c: KernelCpu, pfn: Pfn): Steps<void> {
  yield* addLast(c, kernel.grantPool(c.k), pfn);
}

/** Takes over `pfn`, granted under `ref`, from who granted it; `pooled` says where it goes in the end. */
export function* deferEnd(c: KernelCpu, pfn: Pfn, ref: number, pooled: boolean): Steps<void> {
  yield* count(c, COUNT.endsDeferred);
  yield* st(page.index(pageOf(c.k, pfn)), ref);
  yield* st(page.index(pageOf(c.k, pfn)) + TO_POOL, pooled ? 1 : 0);
  yield* addLast(c, kernel.deferredEnds(c.k), pfn);
  yield* add(kernel.nrDeferred(c.k), 1);
}

/** Tries the oldest again, a few of them. */
export function* endDeferred(c: KernelCpu): Steps<void> {
  const waiting = yield* ldOnce(kernel.nrDeferred(c.k)); // raced on purpose: a hint
  for (let left = Math.min(waiting, AT_ONCE); left > 0; left--) {
    const pfn = yield* takeFirst(c, kernel.deferredEnds(c.k));
    if (pfn === PFN_NONE) return;
    if (yield* endAccess(c, peek(page.index(pageOf(c.k, pfn))))) yield* endedLate(c, pfn);
    else yield* addLast(c, kernel.deferredEnds(c.k), pfn);
  }
}

function* endedLate(c: KernelCpu, pfn: Pfn): Steps<void> {
  yield* add(kernel.nrDeferred(c.k), -1);
  yield* count(c, COUNT.endsLate);
  if (peek(page.index(pageOf(c.k, pfn)) + TO_POOL) !== 0) yield* toPool(c, pfn);
  else yield* releasePage(c, pfn);
}

function* addLast(c: KernelCpu, head: number, pfn: Pfn): Steps<void> {
  yield* lock(c.cpu, kernel.grantLock(c.k), RANK.guestP2m);
  yield* listAddTail(head, page.lru(pageOf(c.k, pfn)));
  yield* unlock(c.cpu, kernel.grantLock(c.k));
}

function* takeFirst(c: KernelCpu, head: number): Steps<Pfn> {
  yield* lock(c.cpu, kernel.grantLock(c.k), RANK.guestP2m);
  const node = yield* listFirst(head);
  if (node !== 0) yield* listDel(node);
  yield* unlock(c.cpu, kernel.grantLock(c.k));
  return node === 0 ? PFN_NONE : pfnOf(c.k, pageOfLru(node));
}
