/**
 * Upper levels: stores into them, tables that join and leave a tree.
 *
 * Rules: a store into a pinned table is a queued mmu_update, into another a plain store ([X66]); an L4 entry goes into
 * both roots. A table that joins a pinned tree is made read-only first, an L1 also pinned ([X71], item 19); leaving
 * mirrors it (item 18). Read-only but unpinned is poison for others, so an L1 gets there only before it is reachable.
 * Lock: mm.pageTableLock for joining; the exclusive mmap lock, or the end of the mm, for leaving.
 * Source: Linux arch/x86/xen/mmu_pv.c (xen_set_pmd, xen_set_p4d, xen_alloc_ptpage, xen_release_ptpage).
 */
import type { Pfn } from '../../src/abi/frames.js';
import { MMU_NORMAL_PT_UPDATE, MMUEXT_PIN_L1_TABLE, MMUEXT_UNPIN_TABLE } from '../../src/abi/mmu.js';
import { entryLo, PAGE_PRESENT } from '../../src/abi/pte.js';
import { add, and, ld, or, peek, st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { batchBegin, batchIssue, queueMmuext, queueMmuUpdate } from '../xen/batch.js';
import { queueAlias } from './alias.js';
import { allocZeroedPage, quarantinePage } from './alloc.js';
import type { KernelCpu } from './context.js';
import { COUNT } from './counters.js';
import { count } from './count.js';
import { entryVa, PFN_NONE } from './layout.js';
import { mm, pgdOf, type Mm } from './mm.js';
import { pfnToMfn } from './p2m.js';
import { page, pageOf, PG_level1, PG_levels, PG_pinned, PG_table } from './page.js';
import { userPgd } from './pgd.js';
import { KERNEL_RO, KERNEL_RW, machineHi, machineLo, TABLE_FLAGS } from './pte.js';
import { splitLocks } from './ptl.js';
import { LAZY_MMU, type Kernel } from './records.js';
import { MARK, MARK_CLEARED, MARK_PINNED } from '../../src/abi/marks.js';
import { markTable } from './mark.js';
import { untypeAgain } from './untype.js';

export const isPinned = (k: Kernel, table: Pfn): boolean => (peek(page.flags(pageOf(k, table))) & PG_pinned) !== 0;

/**
 * Stores an upper-level entry of table `table`; an entry of the root (level 4) goes into the user root as well. False:
 * Xen refused.
 */
export function* setUpper(c: KernelCpu, level: number, table: Pfn, i: number, lo: number, hi: number): Steps<boolean> {
  const user = level === 4 ? userPgd(c, table) : PFN_NONE;
  markTable(c, MARK.set_upper, level * 1024 + i + ((lo & PAGE_PRESENT) === 0 ? MARK_CLEARED : 0), table);
  if (((yield* ld(page.flags(pageOf(c.k, table)))) & PG_pinned) === 0) {
    yield* c.g.store(entryVa(table, i), lo, hi);
    if (user !== PFN_NONE) yield* c.g.store(entryVa(user, i), lo, hi);
    return true;
  }
  batchBegin(c);
  yield* queueUpper(c, table, i, lo, hi);
  if (user !== PFN_NONE) yield* queueUpper(c, user, i, lo, hi);
  return (yield* batchIssue(c, LAZY_MMU)) === 0;
}

function* queueUpper(c: KernelCpu, table: Pfn, i: number, lo: number, hi: number): Steps<void> {
  const mfn = yield* pfnToMfn(c, table);
  yield* queueMmuUpdate(c, machineLo(mfn, i) | MMU_NORMAL_PT_UPDATE, machineHi(mfn), lo, hi);
}

const levelFlag = (level: number): number => PG_level1 << (level - 1);
const counterOf = (m: Mm, level: number): number => (level === 1 ? mm.nrL1(m) : level === 2 ? mm.nrL2(m) : mm.nrL3(m));

/** A zeroed page to become a table; PFN_NONE when memory is short. */
export function* allocTable(c: KernelCpu, level: number): Steps<Pfn> {
  const pfn = yield* allocZeroedPage(c);
  if (pfn !== PFN_NONE) yield* or(page.flags(pageOf(c.k, pfn)), PG_table | levelFlag(level));
  return pfn;
}

/**
 * Hangs the fresh table `pfn` of `level` below entry `i` of `parent`; false, and it is memory again, when Xen refuses.
 * Lock held: pageTableLock.
 */
export function* joinTable(c: KernelCpu, m: Mm, level: number, pfn: Pfn, parent: Pfn, i: number): Steps<boolean> {
  yield* count(c, COUNT.tablesAllocated);
  yield* add(counterOf(m, level), 1);
  yield* st(page.mapping(pageOf(c.k, pfn)), m);
  markTable(c, MARK.alloc_pt, level + (isPinned(c.k, pgdOf(m)) ? MARK_PINNED : 0), pfn);
  if (isPinned(c.k, pgdOf(m))) yield* protectTable(c, level, pfn);
  if (yield* setUpper(c, level + 1, parent, i, entryLo(yield* pfnToMfn(c, pfn), TABLE_FLAGS), 0)) return true;
  // Of a root's two halves one may have it.
  yield* setUpper(c, level + 1, parent, i, 0, 0);
  yield* add(counterOf(m, level), -1);
  if (isPinned(c.k, pfn) && !(yield* untypeAgain(c, level, pfn))) yield* quarantinePage(c, pfn);
  else yield* and(page.flags(pageOf(c.k, pfn)), ~(PG_pinned | PG_table | PG_levels));
  return false;
}

/** xen_alloc_ptpage for a pinned tree: Pinned, alias read-only, with split locks an L1 pinned by itself. */
function* protectTable(c: KernelCpu, level: number, pfn: Pfn): Steps<void> {
  yield* or(page.flags(pageOf(c.k, pfn)), PG_pinned);
  batchBegin(c);
  yield* queueAlias(c, pfn, KERNEL_RO, 0);
  if (level === 1 && splitLocks(c)) yield* queueMmuext(c, MMUEXT_PIN_L1_TABLE, yield* pfnToMfn(c, pfn));
  yield* batchIssue(c, LAZY_MMU);
}

/**
 * Takes the table below entry `i` of `parent` out of the tree; it is the caller's to free, after the flush. One that the
 * design must keep stays pinned, read-only and out of use.
 */
export function* leaveTable(c: KernelCpu, m: Mm, level: number, pfn: Pfn, parent: Pfn, i: number): Steps<void> {
  const goes = level !== 1 || (yield* c.design.releasePtePage(c, m, pfn));
  yield* setUpper(c, level + 1, parent, i, 0, 0);
  yield* count(c, COUNT.tablesReleased);
  yield* add(counterOf(m, level), -1);
  if (!goes) return;
  const p = pageOf(c.k, pfn);
  markTable(c, MARK.release_pt, level + (isPinned(c.k, pfn) ? MARK_PINNED : 0), pfn);
  if (((yield* ld(page.flags(p))) & PG_pinned) !== 0) {
    batchBegin(c);
    if (level === 1 && splitLocks(c)) yield* queueMmuext(c, MMUEXT_UNPIN_TABLE, yield* pfnToMfn(c, pfn));
    yield* queueAlias(c, pfn, KERNEL_RW, 0);
    if ((yield* batchIssue(c, LAZY_MMU)) !== 0 && !(yield* untypeAgain(c, level, pfn))) {
      yield* quarantinePage(c, pfn);
      return;
    }
  }
  yield* and(page.flags(p), ~(PG_pinned | PG_table | PG_levels));
}
