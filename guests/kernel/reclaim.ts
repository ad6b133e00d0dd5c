/**
 * Reclaim: looks at anonymous pages through the reverse map, and so touches page tables of any mm at any time ([X70]).
 *
 * A page used since the last look stays. One given up by MADV_FREE and not written since is unmapped everywhere and so
 * freed. Invariant: the page is held by a reference while it is looked at; its entry is cleared, then the TLB flushed,
 * then the mapping's reference dropped ([L8]).
 * Lock: the anon record's lock, inside it each table's PTE lock; no mmap lock.
 * Source: Linux mm/vmscan.c (shrink_folio_list), mm/rmap.c (folio_referenced, try_to_unmap).
 * Differs: no swap, so nothing else is ever unmapped.
 */
import type { Pfn, Va } from '../../src/abi/frames.js';
import { PAGE_DIRTY, PAGE_PRESENT } from '../../src/abi/pte.js';
import { listFirst, listNext } from '../../src/shm/list.js';
import { RANK } from '../../src/sync/lock-order.js';
import { add, and, hi64, ld, peek } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { putPageTest } from './alloc.js';
import type { KernelCpu } from './context.js';
import { COUNT } from './counters.js';
import { count } from './count.js';
import { PFN_NONE } from './layout.js';
import { klock, kunlock } from './lock.js';
import { lruOldest, releasePage } from './lru.js';
import { mm, type Mm } from './mm.js';
import { entryPfn } from './p2m.js';
import { page, pageOf, PG_lazyfree } from './page.js';
import { ptlOf } from './ptl.js';
import { getAndClear, readEntry, setPte, testAndClearYoung } from './pte.js';
import { anon, anonOf, anonPut, rmapAddress, vmaOfAnonNode, type Anon } from './rmap.js';
import { flushPage } from './tlb.js';
import { vma } from './vma.js';
import { findL1, indexAt } from './walk.js';

/** Looks at the oldest page; false when there is none to be had. */
export function* reclaimOne(c: KernelCpu): Steps<boolean> {
  const pfn = yield* lruOldest(c);
  if (pfn === PFN_NONE) return false;
  const a = yield* anonOf(c, pfn);
  if (a !== 0) {
    yield* lookEverywhere(c, a, pfn);
    yield* anonPut(c, a);
  }
  yield* releasePage(c, pfn);
  return true;
}

/** Looks at every entry that maps `pfn`; unmaps the page when it may go and nobody used it. */
function* lookEverywhere(c: KernelCpu, a: Anon, pfn: Pfn): Steps<void> {
  yield* klock(c, anon.lock(a), RANK.guestRmap);
  const young = yield* walkVmas(c, a, pfn, false);
  const free = ((yield* ld(page.flags(pageOf(c.k, pfn)))) & PG_lazyfree) !== 0;
  if (young === 0 && free) yield* walkVmas(c, a, pfn, true);
  yield* kunlock(c, anon.lock(a));
}

/** One pass over the VMAs of `a`; answers how many entries were used since the last look. */
function* walkVmas(c: KernelCpu, a: Anon, pfn: Pfn, unmap: boolean): Steps<number> {
  const head = anon.vmas(a);
  let young = 0;
  for (let n = yield* listFirst(head); n !== 0; n = yield* listNext(head, n)) {
    const v = vmaOfAnonNode(n);
    const va = yield* rmapAddress(pageOf(c.k, pfn), v);
    if (va >= 0) young += yield* lookAt(c, peek(vma.mm(v)) as Mm, va, pfn, unmap);
  }
  return young;
}

/** The entry for `va` of `m`, if it maps `pfn`. */
function* lookAt(c: KernelCpu, m: Mm, va: Va, pfn: Pfn, unmap: boolean): Steps<number> {
  const table = yield* findL1(c, m, va);
  if (table === PFN_NONE) return 0;
  const ptl = ptlOf(c, table);
  const i = indexAt(va, 1);
  let young = 0;
  yield* klock(c, ptl, RANK.guestPteLock);
  const lo = yield* readEntry(c, table, i);
  const maps = (lo & PAGE_PRESENT) !== 0 && (yield* entryPfn(c, lo, hi64())) === pfn;
  if (maps && unmap) yield* unmapOne(c, m, va, table, i, pfn, lo);
  else if (maps && (yield* testAndClearYoung(c, table, i))) young = 1;
  yield* kunlock(c, ptl);
  return young;
}

/** try_to_unmap: a page that was written after all is kept, and no longer free to go. */
function* unmapOne(c: KernelCpu, m: Mm, va: Va, table: Pfn, i: number, pfn: Pfn, lo: number): Steps<void> {
  const p = pageOf(c.k, pfn);
  if ((lo & PAGE_DIRTY) !== 0) {
    yield* and(page.flags(p), ~PG_lazyfree);
    return;
  }
  const old = yield* getAndClear(c, table, i);
  const hi = hi64();
  yield* flushPage(c, m, va);
  if ((old & PAGE_DIRTY) !== 0) {
    yield* setPte(c, table, i, old, hi);
    yield* and(page.flags(p), ~PG_lazyfree);
    return;
  }
  yield* add(mm.rss(m), -1);
  yield* add(page.mapcount(p), -1);
  yield* putPageTest(c, pfn);
  yield* count(c, COUNT.reclaimed);
}
