/**
 * Changing rights of a range, and moving one.
 *
 * Rules: new rights go by the modify-prot transaction (start reads, commit is a queued mmu_update that keeps accessed and
 * dirty, [X27]). Entries of grants are never re-protected or moved: the notifier has unmapped them before (item 13),
 * and what is still there is refused, for set_pte of a foreign frame would be ([X78]).
 * Lock: mmapLock exclusive, PTE locks; a move takes both tables' locks.
 * Source: Linux mm/mprotect.c (change_pte_range), mm/mremap.c (move_page_tables).
 */
import { EFAULT, EINVAL, ENOMEM } from '../../src/abi/errno.js';
import { PAGE_SIZE, type Pfn, type Va } from '../../src/abi/frames.js';
import { PAGE_PRESENT, PAGE_RW } from '../../src/abi/pte.js';
import { RANK } from '../../src/sync/lock-order.js';
import { hi64, ld, peek, st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from './context.js';
import { WARN } from './counters.js';
import { warn } from './count.js';
import { addVa, alignDown, L1_SPAN, L2_SPAN, PFN_NONE } from './layout.js';
import { enterLazyMmu, leaveLazyMmu } from './lazy.js';
import { klock, kunlock, writeLockMm, writeUnlockMm } from './lock.js';
import { mm, type Mm } from './mm.js';
import { aligned, copyVma, isolateOne, munmap } from './mmap.js';
import { invalidateEnd, invalidateStart, NOTIFY_PROTECTION_VMA, NOTIFY_UNMAP } from './notifier.js';
import { commitProtection, getAndClear, PTE_SPECIAL, readEntry, setPte } from './pte.js';
import { ptlOf } from './ptl.js';
import { flushMmRange } from './tlb.js';
import { findVma, vma, vmaEnd, vmaLink, vmaStart, VM_DONTEXPAND, VM_OPS_GNTDEV, VM_WRITE, type Vma } from './vma.js';
import { findL1, indexAt, makeL1 } from './walk.js';
import { MARK } from '../../src/abi/marks.js';
import { mark } from './mark.js';
import { gatherBegin, gatherCleared, gatherFinish } from './gather.js';

/** Gives [at, at + pages), one VMA or part of one, `flags`; 0, -EINVAL, -ENOMEM. */
export function* mprotect(c: KernelCpu, m: Mm, at: Va, pages: number, flags: number): Steps<number> {
  if (!aligned(at, pages)) return -EINVAL;
  const end = addVa(at, pages * PAGE_SIZE);
  yield* writeLockMm(c, mm.mmapLock(m), RANK.guestMmapLock);
  const v = yield* isolateOne(c, m, at, end);
  if (v > 0) {
    const keep = (yield* ld(vma.flags(v as Vma))) & ~3;
    yield* st(vma.flags(v as Vma), keep | flags);
    gatherBegin(c, m, false);
    mark(c, MARK.change_protection);
    yield* invalidateStart(c, m, at, end, NOTIFY_PROTECTION_VMA, true);
    yield* changeRange(c, m, at, end, (flags & VM_WRITE) === 0);
    yield* invalidateEnd(c, m);
    yield* gatherFinish(c);
  }
  yield* writeUnlockMm(c, mm.mmapLock(m));
  return v > 0 ? 0 : v === 0 ? -EINVAL : v;
}

/** Walks every table; takes the write right off the entries, while granting it waits for the fault. A gather is open. */
function* changeRange(c: KernelCpu, m: Mm, start: Va, end: Va, readOnly: boolean): Steps<void> {
  for (let va = start; va < end;) {
    const next = Math.min(addVa(alignDown(va, L2_SPAN), L2_SPAN), end) as Va;
    const table = yield* findL1(c, m, va);
    if (table !== PFN_NONE) yield* changeTable(c, table, va, next, readOnly);
    va = next;
  }
}

function* changeTable(c: KernelCpu, table: Pfn, start: Va, end: Va, readOnly: boolean): Steps<void> {
  const ptl = ptlOf(c, table);
  yield* klock(c, ptl, RANK.guestPteLock);
  enterLazyMmu(c);
  for (let va = start; readOnly && va < end; va = addVa(va, L1_SPAN)) {
    const i = indexAt(va, 1);
    const lo = yield* readEntry(c, table, i);
    const hi = hi64();
    if ((lo & PAGE_PRESENT) === 0 || (lo & PAGE_RW) === 0) continue;
    if ((lo & PTE_SPECIAL) !== 0) {
      yield* warn(c, WARN.setPte, lo);
      continue;
    }
    yield* commitProtection(c, table, i, lo & ~PAGE_RW, hi);
    gatherCleared(c, va);
  }
  yield* leaveLazyMmu(c);
  yield* kunlock(c, ptl);
}

/**
 * Moves the VMA [from, from + pages) to `to` with the same or a smaller size; 0, or -EFAULT when growth is asked of a
 * VMA that may not grow, -EINVAL, -ENOMEM.
 */
export function* mremap(c: KernelCpu, m: Mm, from: Va, pages: number, newPages: number, to: Va): Steps<number> {
  if (!aligned(from, pages) || !aligned(to, newPages)) return -EINVAL;
  const keep = Math.min(pages, newPages);
  const refused = yield* checkGrow(c, m, from, newPages > pages);
  if (refused !== 0) return refused;
  if (newPages < pages) {
    const r = yield* munmap(c, m, addVa(from, keep * PAGE_SIZE), pages - keep);
    if (r < 0) return r;
  }
  if (to === from) return 0;
  yield* writeLockMm(c, mm.mmapLock(m), RANK.guestMmapLock);
  const r = yield* moveVma(c, m, from, keep, to);
  yield* writeUnlockMm(c, mm.mmapLock(m));
  return r < 0 ? r : yield* munmap(c, m, from, keep);
}

function* checkGrow(c: KernelCpu, m: Mm, from: Va, grows: boolean): Steps<number> {
  yield* writeLockMm(c, mm.mmapLock(m), RANK.guestMmapLock);
  const v = yield* findVma(m, from);
  const flags = v === 0 ? 0 : yield* ld(vma.flags(v));
  yield* writeUnlockMm(c, mm.mmapLock(m));
  if (v === 0 || vmaStart(v) > from) return -EFAULT;
  if (!grows) return 0;
  return (flags & VM_DONTEXPAND) !== 0 ? -EFAULT : -EINVAL;
}

/** A second VMA at `to` with the entries of the first, which stays, empty, to be unmapped. */
function* moveVma(c: KernelCpu, m: Mm, from: Va, pages: number, to: Va): Steps<number> {
  const old = yield* isolateOne(c, m, from, addVa(from, pages * PAGE_SIZE));
  const there = yield* findVma(m, to);
  const end = addVa(to, pages * PAGE_SIZE);
  if (old <= 0 || (there !== 0 && vmaStart(there) < end)) return old < 0 ? old : -EINVAL;
  const moved = yield* copyVma(c, old as Vma, to, end);
  if (moved === 0) return -ENOMEM;
  yield* vmaLink(moved);
  mark(c, MARK.move_page_tables);
  yield* invalidateStart(c, m, from, vmaEnd(old as Vma), NOTIFY_UNMAP, true);
  const span = pages * PAGE_SIZE;
  let ok = true;
  for (let n = 0; n < span && ok;) {
    const part = Math.min(span - n, untilTableEnd(addVa(from, n)), untilTableEnd(addVa(to, n)));
    ok = yield* moveTable(c, m, addVa(from, n), addVa(to, n), part, peek(vma.ops(old as Vma)) === VM_OPS_GNTDEV);
    n += part;
  }
  yield* invalidateEnd(c, m);
  return ok ? 0 : -ENOMEM;
}

/** Bytes from `va` to where the next L1 begins. */
const untilTableEnd = (va: Va): number => L2_SPAN - (va - alignDown(va, L2_SPAN));

/**
 * move_ptes: the entries of `bytes` from `from` on go to `to`, within one table on either side; flushed before their
 * locks are let go (since 2018). The table there is made even for nothing, as move_page_tables does.
 */
function* moveTable(c: KernelCpu, m: Mm, from: Va, to: Va, bytes: number, special: boolean): Steps<boolean> {
  const source = yield* findL1(c, m, from);
  if (source === PFN_NONE) return true;
  const target = yield* makeL1(c, m, to);
  if (target === PFN_NONE) return false;
  const first = ptlOf(c, source);
  const second = ptlOf(c, target);
  yield* klock(c, first, RANK.guestPteLock);
  if (second !== first) yield* klock(c, second, RANK.guestPteLock);
  enterLazyMmu(c);
  let moved = 0;
  for (let n = 0; n < bytes; n += PAGE_SIZE) {
    moved += yield* moveEntry(c, source, indexAt(addVa(from, n), 1), target, indexAt(addVa(to, n), 1), special);
  }
  yield* leaveLazyMmu(c);
  if (moved > 0) yield* flushMmRange(c, m, from, addVa(from, bytes));
  if (second !== first) yield* kunlock(c, second);
  yield* kunlock(c, first);
  return true;
}

/** One entry; answers how many were moved. PTE locks held, lazy-MMU mode on. */
function* moveEntry(c: KernelCpu, source: Pfn, i: number, target: Pfn, j: number, special: boolean): Steps<number> {
  const lo = yield* readEntry(c, source, i);
  const hi = hi64();
  if (lo === 0) return 0;
  if (special && (lo & PTE_SPECIAL) !== 0) {
    yield* warn(c, WARN.setPte, lo);
    return 0;
  }
  yield* getAndClear(c, source, i);
  yield* setPte(c, target, j, lo, hi);
  return 1;
}
