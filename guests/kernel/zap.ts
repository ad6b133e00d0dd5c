/**
 * Zapping: clearing the leaf entries of a range, tables stay ([L12]).
 *
 * Invariant: every entry is cleared in one memory operation ([X67]): an exchange, or plain load and store when nobody
 * uses the mm any more. A driver may clear its own entries in its own way first; what it wants kept stays.
 * Lock: mmapLock (shared is enough) or the end of the mm; each table's PTE lock.
 * Source: Linux mm/memory.c (unmap_vmas, zap_pte_range); ../linux-teardown items 5, 8, 10, 17.
 */
import { PAGE_SIZE, type Pfn, type Va } from '../../src/abi/frames.js';
import { ENTRIES, PAGE_DIRTY, PAGE_PRESENT } from '../../src/abi/pte.js';
import { RANK } from '../../src/sync/lock-order.js';
import { add, hi64, ld, peek } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from './context.js';
import { COUNT, WARN } from './counters.js';
import { count, warn } from './count.js';
import { gatherCleared, gatherFlushTlb, gatherFull, gatherPage } from './gather.js';
import { addVa, alignDown, L1_SPAN, L2_SPAN, PFN_NONE } from './layout.js';
import { enterLazyMmu, leaveLazyMmu } from './lazy.js';
import { klock, kunlock } from './lock.js';
import { mm, type Mm } from './mm.js';
import { invalidateEnd, invalidateStart, NOTIFY_UNMAP } from './notifier.js';
import { entryPfn } from './p2m.js';
import { page, pageOf } from './page.js';
import { getAndClear, getAndClearFull, PTE_SPECIAL, readEntry } from './pte.js';
import { ptlOf } from './ptl.js';
import { CLEAR_DONE, CLEAR_KEEP, CLEAR_PLAIN } from './vm-ops.js';
import { nextVma, vma, vmaEnd, vmaStart, VM_SHARED, type Vma } from './vma.js';
import { findL1, indexAt } from './walk.js';
import { MARK } from '../../src/abi/marks.js';
import { mark } from './mark.js';

/** unmap_vmas: all VMAs from `first` on, inside [start, end), bracketed by one notification. */
export function* unmapVmas(c: KernelCpu, m: Mm, first: Vma, start: Va, end: Va): Steps<void> {
  mark(c, MARK.unmap_vmas);
  yield* invalidateStart(c, m, start, end, NOTIFY_UNMAP, true);
  for (let v = first; v !== 0 && vmaStart(v) < end; v = yield* nextVma(v)) {
    const from = Math.max(vmaStart(v), start) as Va;
    const to = Math.min(vmaEnd(v), end) as Va;
    if (from < to) yield* zapRange(c, m, v, from, to);
  }
  yield* invalidateEnd(c, m);
  mark(c, MARK.unmap_vmas_ret);
}

/** Clears the entries of [start, end) of `v`. A gather is open. */
export function* zapRange(c: KernelCpu, m: Mm, v: Vma, start: Va, end: Va): Steps<void> {
  mark(c, MARK.unmap_vma, Math.floor(start / PAGE_SIZE / 2 ** 32), (start / PAGE_SIZE) | 0);
  for (let va = start; va < end;) {
    const next = Math.min(addVa(alignDown(va, L2_SPAN), L2_SPAN), end) as Va;
    const table = yield* findL1(c, m, va);
    if (table !== PFN_NONE) yield* zapTable(c, m, v, table, va, next);
    va = next;
    yield* c.g.poll();
  }
}

function* zapTable(c: KernelCpu, m: Mm, v: Vma, table: Pfn, start: Va, end: Va): Steps<void> {
  const ptl = ptlOf(c, table);
  let dirty = false;
  yield* klock(c, ptl, RANK.guestPteLock);
  enterLazyMmu(c);
  for (let va = start; va < end; va = addVa(va, L1_SPAN)) {
    const i = indexAt(va, 1);
    const lo = yield* readEntry(c, table, i);
    if (lo === 0 && hi64() === 0) continue;
    dirty = (yield* zapEntry(c, m, v, va, table, i)) || dirty;
  }
  yield* leaveLazyMmu(c);
  if (dirty) yield* gatherFlushTlb(c);
  yield* kunlock(c, ptl);
}

/** Clears one entry; true when a dirty page of a shared file lost its mapping ([L9]: flush before anyone sees it clean). */
function* zapEntry(c: KernelCpu, m: Mm, v: Vma, va: Va, table: Pfn, i: number): Steps<boolean> {
  const full = gatherFull(c);
  const ops = c.vmOps[peek(vma.ops(v))];
  const how = ops === undefined ? CLEAR_PLAIN : yield* ops.clearPte(c, v, va, table, i, full);
  if (how === CLEAR_KEEP || how === CLEAR_DONE) return false;
  const lo = full ? yield* getAndClearFull(c, table, i) : yield* getAndClear(c, table, i);
  yield* count(c, COUNT.zaps);
  if ((lo & PAGE_PRESENT) === 0) return false;
  if ((lo & PTE_SPECIAL) !== 0) {
    yield* add(mm.granted(m), -1);
    gatherCleared(c, va);
    return false;
  }
  yield* unmapPage(c, m, va, lo);
  return (lo & PAGE_DIRTY) !== 0 && (peek(vma.flags(v)) & VM_SHARED) !== 0;
}

/** The entry `lo` of `va`, an ordinary page's, is gone. */
function* unmapPage(c: KernelCpu, m: Mm, va: Va, lo: number): Steps<void> {
  const pfn = yield* entryPfn(c, lo, 0);
  if (pfn === PFN_NONE) {
    yield* warn(c, WARN.badPte, lo);
    return;
  }
  mark(c, MARK.zap_rmap, 1);
  yield* add(mm.rss(m), -1);
  if ((yield* add(page.mapcount(pageOf(c.k, pfn)), -1)) < 1) yield* warn(c, WARN.badPage, pfn);
  yield* gatherPage(c, va, pfn);
}

/** Entries in use in the L1 `table`; for assertions before it is freed. */
export function* liveEntries(c: KernelCpu, table: Pfn): Steps<number> {
  let n = 0;
  for (let i = 0; i < ENTRIES; i++) if (((yield* readEntry(c, table, i)) & PAGE_PRESENT) !== 0) n++;
  return n;
}

/** Whether the mm has had any entry of this kind; a figure for checks. */
export function* grantedEntries(m: Mm): Steps<number> {
  return yield* ld(mm.granted(m));
}
