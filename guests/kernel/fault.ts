/**
 * Page faults of user addresses: demand zero, copy on write.
 *
 * Invariant: a new entry is stored only under the PTE lock and only if the entry still is what the decision was made on.
 * Lock: mmapLock shared, taken here; PTE lock. Pages are allocated before the PTE lock is taken.
 * Source: Linux mm/memory.c (do_anonymous_page, do_wp_page, wp_page_copy); ../linux-teardown item 21.
 */
import type { Pfn, Va } from '../../src/abi/frames.js';
import { entryLo, PAGE_ACCESSED, PAGE_DIRTY, PAGE_PRESENT, PAGE_RW } from '../../src/abi/pte.js';
import { RANK } from '../../src/sync/lock-order.js';
import { add, hi64, ldOnce, peek } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { allocPage, allocZeroedPage, getPageRef } from './alloc.js';
import type { KernelCpu } from './context.js';
import { COUNT } from './counters.js';
import { count } from './count.js';
import { addVa, alignDown, directVa, L1_SPAN, PFN_NONE } from './layout.js';
import { klock, kunlock, readLockMm, readUnlockMm } from './lock.js';
import { lruAdd, releasePage } from './lru.js';
import { mm, type Mm } from './mm.js';
import { invalidateEnd, invalidateStart, NOTIFY_CLEAR } from './notifier.js';
import { entryPfn, pfnToMfn } from './p2m.js';
import { page, pageOf } from './page.js';
import { getAndClear, PTE_SPECIAL, readEntry, setPte, USER_PTE_HI, userFlags } from './pte.js';
import { ptlOf } from './ptl.js';
import { anonPrepare, rmapNew } from './rmap.js';
import { flushPage } from './tlb.js';
import { FAULT_OK, FAULT_OOM, FAULT_SIGBUS, FAULT_SIGSEGV } from './vm-ops.js';
import { vma, vmaAt, VM_OPS_ANON, VM_READ, VM_WRITE, type Vma } from './vma.js';
import { indexAt, makeL1 } from './walk.js';
import { MARK } from '../../src/abi/marks.js';
import { mark } from './mark.js';

/** A fault at user address `at` of `m`; answers FAULT_OK (try again) or the signal. */
export function* handleMmFault(c: KernelCpu, m: Mm, at: Va, write: boolean): Steps<number> {
  const va = alignDown(at, L1_SPAN);
  yield* readLockMm(c, mm.mmapLock(m), RANK.guestMmapLock);
  const v = yield* vmaAt(m, va);
  const answer = v === 0 || !allows(v, write) ? FAULT_SIGSEGV : yield* faultIn(c, m, v, va, write);
  yield* readUnlockMm(c, mm.mmapLock(m));
  return answer;
}

const allows = (v: Vma, write: boolean): boolean => (peek(vma.flags(v)) & (write ? VM_WRITE : VM_READ)) !== 0;

function* faultIn(c: KernelCpu, m: Mm, v: Vma, va: Va, write: boolean): Steps<number> {
  yield* count(c, COUNT.faults);
  const table = yield* makeL1(c, m, va);
  if (table === PFN_NONE) return FAULT_OOM;
  const lo = yield* readEntry(c, table, indexAt(va, 1));
  if ((lo & PAGE_PRESENT) === 0) {
    if (peek(vma.ops(v)) === VM_OPS_ANON) return yield* demandZero(c, m, v, va, table);
    const ops = c.vmOps[peek(vma.ops(v))];
    return ops === undefined ? FAULT_SIGBUS : yield* ops.fault(c, v, va, write);
  }
  if (!write || (lo & PAGE_RW) !== 0) return FAULT_OK;
  if ((lo & PTE_SPECIAL) !== 0) return FAULT_SIGBUS;
  return yield* copyOnWrite(c, m, v, va, table, lo);
}

/** A fresh zeroed page under `va`, unless another thread was faster. */
function* demandZero(c: KernelCpu, m: Mm, v: Vma, va: Va, table: Pfn): Steps<number> {
  if (!(yield* anonPrepare(c, v))) return FAULT_OOM;
  const pfn = yield* allocZeroedPage(c);
  if (pfn === PFN_NONE) return FAULT_OOM;
  const ptl = ptlOf(c, table);
  const i = indexAt(va, 1);
  yield* klock(c, ptl, RANK.guestPteLock);
  const free = (yield* readEntry(c, table, i)) === 0;
  let ok = true;
  if (free) ok = yield* mapNew(c, m, v, va, table, pfn);
  yield* kunlock(c, ptl);
  if (!free || !ok) yield* releasePage(c, pfn);
  else yield* lruAdd(c, pfn);
  return ok ? FAULT_OK : FAULT_SIGBUS;
}

/** Stores the entry for the new page `pfn`. PTE lock held. */
export function* mapNew(c: KernelCpu, m: Mm, v: Vma, va: Va, table: Pfn, pfn: Pfn): Steps<boolean> {
  yield* rmapNew(c, pfn, v, va);
  yield* add(mm.rss(m), 1);
  const lo = entryLo(yield* pfnToMfn(c, pfn), userFlags((peek(vma.flags(v)) & VM_WRITE) !== 0));
  if (yield* setPte(c, table, indexAt(va, 1), lo, USER_PTE_HI)) return true;
  yield* add(page.mapcount(pageOf(c.k, pfn)), -1);
  yield* add(mm.rss(m), -1);
  return false;
}

/** What a look at a write-protected entry decided. */
const COW_STALE = 0;
const COW_REUSED = 1;
const COW_COPY = 2;

/** A store to a page shared since a fork: used again when nobody else has it, copied otherwise. */
function* copyOnWrite(c: KernelCpu, m: Mm, v: Vma, va: Va, table: Pfn, lo: number): Steps<number> {
  const old = yield* entryPfn(c, lo, 0);
  if (old === PFN_NONE) return FAULT_SIGBUS;
  const how = yield* decideCow(c, va, table, lo, old);
  if (how !== COW_COPY) return how === COW_STALE || how === COW_REUSED ? FAULT_OK : FAULT_SIGBUS;
  const pfn = (yield* anonPrepare(c, v)) ? yield* allocPage(c) : PFN_NONE;
  if (pfn !== PFN_NONE) yield* copyAndReplace(c, m, v, va, table, lo, old, pfn);
  yield* releasePage(c, old);
  return pfn === PFN_NONE ? FAULT_OOM : FAULT_OK;
}

/** Makes the entry writable if this is the page's only user, else takes a reference for copying. */
function* decideCow(c: KernelCpu, va: Va, table: Pfn, lo: number, old: Pfn): Steps<number> {
  const ptl = ptlOf(c, table);
  const i = indexAt(va, 1);
  const p = pageOf(c.k, old);
  let how = COW_STALE;
  yield* klock(c, ptl, RANK.guestPteLock);
  const now = yield* readEntry(c, table, i);
  const hi = hi64();
  if (same(now, lo)) {
    // raced on purpose: both only go down while the page is mapped here alone; too many means a copy too much
    const alone = (yield* ldOnce(page.mapcount(p))) === 1 && (yield* ldOnce(page.refcount(p))) === 1;
    how = alone ? COW_REUSED : COW_COPY;
    if (!alone) yield* getPageRef(c, old);
    else if (!(yield* setPte(c, table, i, now | userFlags(true), hi))) how = -1;
  }
  yield* kunlock(c, ptl);
  return how;
}

/** Equal but for accessed and dirty, which the processor sets. */
const same = (a: number, b: number): boolean => ((a ^ b) & ~(PAGE_ACCESSED | PAGE_DIRTY)) === 0;

/** wp_page_copy, with a reference on the old page held. */
function* copyAndReplace(c: KernelCpu, m: Mm, v: Vma, va: Va, table: Pfn, lo: number, old: Pfn, pfn: Pfn): Steps<void> {
  yield* c.g.copyPage(directVa(pfn), directVa(old));
  yield* invalidateStart(c, m, va, addVa(va, L1_SPAN), NOTIFY_CLEAR, true);
  const done = yield* replace(c, m, v, va, table, lo, old, pfn);
  yield* invalidateEnd(c, m);
  if (done) yield* lruAdd(c, pfn);
  else yield* releasePage(c, pfn);
}

/** Clears and flushes the old entry, then stores the new one; false when the entry has changed meanwhile. */
function* replace(c: KernelCpu, m: Mm, v: Vma, va: Va, table: Pfn, lo: number, old: Pfn, pfn: Pfn): Steps<boolean> {
  const ptl = ptlOf(c, table);
  const i = indexAt(va, 1);
  let ok = false;
  yield* klock(c, ptl, RANK.guestPteLock);
  const there = same(yield* readEntry(c, table, i), lo);
  if (there) {
    yield* getAndClear(c, table, i);
    yield* flushPage(c, m, va);
    yield* add(mm.rss(m), -1);
    yield* add(page.mapcount(pageOf(c.k, old)), -1);
    ok = yield* mapNew(c, m, v, va, table, pfn);
  }
  yield* kunlock(c, ptl);
  if (!there) return false;
  mark(c, MARK.zap_rmap, 1);
  yield* count(c, COUNT.cowCopies);
  yield* releasePage(c, old);
  return ok;
}
