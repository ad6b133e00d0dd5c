/**
 * Mappings of files: shared ones show the page cache's pages, private ones do until they are written to.
 *
 * Rules: a read fault maps what the cache has around the address, up to 16 pages, each entry by a set_pte of its own,
 * outside lazy-MMU mode (item 21); a write to a private mapping gets a copy; a write to a shared one the page itself.
 * Invariant: each entry of a cache page has a reference of its own, so the zap lets go what the fault took.
 * Lock: mmapLock shared; the cache is asked before the PTE lock is taken.
 * Source: Linux mm/memory.c (do_read_fault, do_fault_around, do_cow_fault, do_shared_fault), mm/filemap.c.
 * Differs: what is around is read in, not only looked up.
 */
import { EINVAL, ENOMEM } from '../../src/abi/errno.js';
import { PAGE_SIZE, type Pfn, type Va } from '../../src/abi/frames.js';
import { entryLo } from '../../src/abi/pte.js';
import { RANK } from '../../src/sync/lock-order.js';
import { add, or, peek, st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { allocPage } from './alloc.js';
import type { KernelCpu } from './context.js';
import { mapNew } from './fault.js';
import { addVa, alignDown, directVa, L1_SPAN, L2_SPAN, PFN_NONE } from './layout.js';
import { klock, kunlock, writeLockMm, writeUnlockMm } from './lock.js';
import { lruAdd, releasePage } from './lru.js';
import { mm, type Mm } from './mm.js';
import { aligned, placeVma } from './mmap.js';
import { pfnToMfn } from './p2m.js';
import { cachePage, inodeGet, inodePut, type Inode } from './page-cache.js';
import { page, pageOf, PG_dirty } from './page.js';
import { readEntry, setPte, USER_PTE_HI, userFlags } from './pte.js';
import { ptlOf } from './ptl.js';
import { anonPrepare } from './rmap.js';
import { FAULT_OK, FAULT_OOM, FAULT_SIGBUS, anonVmOps, type VmOps } from './vm-ops.js';
import { vma, vmaEnd, vmaStart, VM_OPS_FILE, VM_SHARED, VM_WRITE, type Vma } from './vma.js';
import { findL1, indexAt } from './walk.js';
import { peekVa, stVa } from './words.js';

/** Pages mapped by one read fault. */
const AROUND = 16;

/** Maps `pages` of the object from page `first` on at exactly `at`; 0, -EINVAL, -ENOMEM. */
export function* mmapFile(
  c: KernelCpu,
  m: Mm,
  at: Va,
  pages: number,
  flags: number,
  o: Inode,
  first: number,
): Steps<number> {
  if (o === 0) return -ENOMEM;
  if (!aligned(at, pages)) return -EINVAL;
  yield* writeLockMm(c, mm.mmapLock(m), RANK.guestMmapLock);
  const v = yield* placeVma(c, m, at, pages, flags);
  if (v > 0) {
    yield* stVa(vma.pgoff(v as Vma), first as Va);
    yield* st(vma.ops(v as Vma), VM_OPS_FILE);
    yield* st(vma.private(v as Vma), o);
    yield* inodeGet(o);
  }
  yield* writeUnlockMm(c, mm.mmapLock(m));
  return v > 0 ? 0 : v;
}

const inodeOf = (v: Vma): Inode => peek(vma.private(v)) as Inode;
const pageAt = (v: Vma, va: Va): number => peekVa(vma.pgoff(v)) + (va - vmaStart(v)) / PAGE_SIZE;
const shared = (v: Vma): boolean => (peek(vma.flags(v)) & VM_SHARED) !== 0;

/** Puts the cache page `pfn`, whose reference becomes the mapping's, into a free entry; false when it is taken. */
function* mapCached(c: KernelCpu, v: Vma, va: Va, table: Pfn, pfn: Pfn, write: boolean): Steps<boolean> {
  const i = indexAt(va, 1);
  if ((yield* readEntry(c, table, i)) !== 0) return false;
  yield* add(page.mapcount(pageOf(c.k, pfn)), 1);
  yield* add(mm.rss(peek(vma.mm(v)) as Mm), 1);
  if (yield* setPte(c, table, i, entryLo(yield* pfnToMfn(c, pfn), userFlags(write)), USER_PTE_HI)) return true;
  yield* add(page.mapcount(pageOf(c.k, pfn)), -1);
  yield* add(mm.rss(peek(vma.mm(v)) as Mm), -1);
  return false;
}

/** do_read_fault, do_fault_around. */
function* readFault(c: KernelCpu, v: Vma, va: Va, table: Pfn): Steps<number> {
  const start = Math.max(alignDown(va, AROUND * L1_SPAN), vmaStart(v)) as Va;
  const end = Math.min(addVa(start, AROUND * L1_SPAN), vmaEnd(v), addVa(alignDown(va, L2_SPAN), L2_SPAN));
  const pages: Pfn[] = [];
  for (let at = start; at < end; at = addVa(at, L1_SPAN)) {
    pages.push(yield* cachePage(c, inodeOf(v), pageAt(v, at)));
  }
  const ptl = ptlOf(c, table);
  yield* klock(c, ptl, RANK.guestPteLock);
  for (let n = 0; n < pages.length; n++) {
    const pfn = pages[n] ?? PFN_NONE;
    if (pfn !== PFN_NONE && (yield* mapCached(c, v, addVa(start, n * L1_SPAN), table, pfn, false))) pages[n] = PFN_NONE;
  }
  const there = (yield* readEntry(c, table, indexAt(va, 1))) !== 0;
  yield* kunlock(c, ptl);
  for (const pfn of pages) if (pfn !== PFN_NONE) yield* releasePage(c, pfn);
  return there ? FAULT_OK : FAULT_SIGBUS;
}

/** do_shared_fault: the page itself, dirty from now on. */
function* sharedFault(c: KernelCpu, v: Vma, va: Va, table: Pfn): Steps<number> {
  const pfn = yield* cachePage(c, inodeOf(v), pageAt(v, va));
  if (pfn === PFN_NONE) return FAULT_SIGBUS;
  const ptl = ptlOf(c, table);
  yield* klock(c, ptl, RANK.guestPteLock);
  yield* or(page.flags(pageOf(c.k, pfn)), PG_dirty);
  const mapped = yield* mapCached(c, v, va, table, pfn, true);
  yield* kunlock(c, ptl);
  if (!mapped) yield* releasePage(c, pfn);
  return FAULT_OK;
}

/** do_cow_fault: a copy, anonymous from now on. */
function* copyFault(c: KernelCpu, v: Vma, va: Va, table: Pfn): Steps<number> {
  if (!(yield* anonPrepare(c, v))) return FAULT_OOM;
  const pfn = yield* allocPage(c);
  if (pfn === PFN_NONE) return FAULT_OOM;
  const from = yield* cachePage(c, inodeOf(v), pageAt(v, va));
  if (from !== PFN_NONE) {
    yield* c.g.copyPage(directVa(pfn), directVa(from));
    yield* releasePage(c, from);
  }
  const ptl = ptlOf(c, table);
  yield* klock(c, ptl, RANK.guestPteLock);
  const free = from !== PFN_NONE && (yield* readEntry(c, table, indexAt(va, 1))) === 0;
  const ok = free && (yield* mapNew(c, peek(vma.mm(v)) as Mm, v, va, table, pfn));
  yield* kunlock(c, ptl);
  if (ok) yield* lruAdd(c, pfn);
  else yield* releasePage(c, pfn);
  return from === PFN_NONE || (free && !ok) ? FAULT_SIGBUS : FAULT_OK;
}

export const fileVmOps: VmOps = Object.freeze({
  ...anonVmOps,
  name: 'file',
  *open(_c: KernelCpu, v: Vma): Steps<void> {
    yield* inodeGet(inodeOf(v));
  },
  *close(c: KernelCpu, v: Vma): Steps<void> {
    yield* inodePut(c, inodeOf(v));
  },
  *fault(c: KernelCpu, v: Vma, va: Va, write: boolean): Steps<number> {
    const table = yield* findL1(c, peek(vma.mm(v)) as Mm, va);
    if (table === PFN_NONE) return FAULT_SIGBUS;
    if (!write || (peek(vma.flags(v)) & VM_WRITE) === 0) return yield* readFault(c, v, va, table);
    return shared(v) ? yield* sharedFault(c, v, va, table) : yield* copyFault(c, v, va, table);
  },
});
