/**
 * MADV_FREE: pages that may be taken away until they are written again (reclaim.ts takes them).
 *
 * Invariant: an entry is cleared, then stored again without accessed and dirty, under the PTE lock; a store of the
 * processor in between faults and waits there.
 * Lock: mmapLock shared, PTE locks. Source: Linux mm/madvise.c (madvise_free_pte_range).
 */
import type { Pfn, Va } from '../../src/abi/frames.js';
import { PAGE_ACCESSED, PAGE_DIRTY, PAGE_PRESENT } from '../../src/abi/pte.js';
import { RANK } from '../../src/sync/lock-order.js';
import { hi64, ldOnce, or, peek } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from './context.js';
import { addVa, alignDown, L1_SPAN, L2_SPAN, PFN_NONE } from './layout.js';
import { enterLazyMmu, leaveLazyMmu } from './lazy.js';
import { klock, kunlock, readLockMm, readUnlockMm } from './lock.js';
import { mm, type Mm } from './mm.js';
import { entryPfn } from './p2m.js';
import { page, pageOf, PG_lazyfree } from './page.js';
import { ptlOf } from './ptl.js';
import { getAndClear, PTE_SPECIAL, readEntry, setPte } from './pte.js';
import { flushMmRange } from './tlb.js';
import { vma, vmaAt, VM_OPS_ANON } from './vma.js';
import { findL1, indexAt } from './walk.js';

const USED = PAGE_ACCESSED | PAGE_DIRTY;

/** The pages of [at, at + pages) may go. */
export function* madviseFree(c: KernelCpu, m: Mm, at: Va, pages: number): Steps<void> {
  const end = addVa(at, pages * L1_SPAN);
  yield* readLockMm(c, mm.mmapLock(m), RANK.guestMmapLock);
  for (let va = at; va < end;) {
    const next = Math.min(addVa(alignDown(va, L2_SPAN), L2_SPAN), end) as Va;
    const v = yield* vmaAt(m, va);
    const table = v !== 0 && peek(vma.ops(v)) === VM_OPS_ANON ? yield* findL1(c, m, va) : PFN_NONE;
    if (table !== PFN_NONE) yield* freeTable(c, table, va, next);
    va = next;
  }
  yield* flushMmRange(c, m, at, end);
  yield* readUnlockMm(c, mm.mmapLock(m));
}

function* freeTable(c: KernelCpu, table: Pfn, start: Va, end: Va): Steps<void> {
  const ptl = ptlOf(c, table);
  yield* klock(c, ptl, RANK.guestPteLock);
  enterLazyMmu(c);
  for (let va = start; va < end; va = addVa(va, L1_SPAN)) {
    const i = indexAt(va, 1);
    const lo = yield* readEntry(c, table, i);
    if ((lo & PAGE_PRESENT) === 0 || (lo & PTE_SPECIAL) !== 0) continue;
    const pfn = yield* entryPfn(c, lo, hi64());
    // raced on purpose: a snapshot, as page_mapcount's; another process may be unmapping the page
    if (pfn === PFN_NONE || (yield* ldOnce(page.mapcount(pageOf(c.k, pfn)))) !== 1) continue;
    const old = yield* getAndClear(c, table, i);
    const hi = hi64();
    yield* or(page.flags(pageOf(c.k, pfn)), PG_lazyfree);
    yield* setPte(c, table, i, old & ~USED, hi);
  }
  yield* leaveLazyMmu(c);
  yield* kunlock(c, ptl);
}
