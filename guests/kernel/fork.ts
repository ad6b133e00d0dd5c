/**
 * fork: a copy of an address space, its private pages shared copy on write.
 *
 * Invariant: the child's tree is built unpinned, its upper levels by plain stores, its leaf entries by queued set_pte;
 * pinning comes at the end, and after it the parent's flush. VM_DONTCOPY VMAs are left out ([X78], item 16).
 * Lock: the parent's mmapLock exclusive; the child is nobody else's yet but for reclaim (rmap). PTE locks: the child's
 * table first, then the parent's, nested.
 * Source: Linux kernel/fork.c (dup_mmap), mm/memory.c (copy_page_range), xen/mmu_pv.c (xen_dup_mmap); items 16, 20.
 */
import type { Pfn, Va } from '../../src/abi/frames.js';
import { PAGE_PRESENT, PAGE_RW } from '../../src/abi/pte.js';
import { RANK } from '../../src/sync/lock-order.js';
import { add, hi64, ld, peek, st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { getPageRef } from './alloc.js';
import type { KernelCpu } from './context.js';
import { COUNT } from './counters.js';
import { count } from './count.js';
import { exitMmap } from './exit.js';
import { addVa, alignDown, L1_SPAN, L2_SPAN, PFN_NONE } from './layout.js';
import { enterLazyMmu, leaveLazyMmu } from './lazy.js';
import { klock, kunlock, writeLockMm, writeUnlockMm } from './lock.js';
import { mm, mmAlloc, mmDrop, type Mm } from './mm.js';
import { invalidateEnd, invalidateStart, NOTIFY_PROTECTION_VMA } from './notifier.js';
import { entryPfn } from './p2m.js';
import { page, pageOf } from './page.js';
import { pgdPin } from './pin.js';
import { PTE_SPECIAL, readEntry, setPte, writeProtect } from './pte.js';
import { ptlOf } from './ptl.js';
import { anonJoin, type Anon } from './rmap.js';
import { flushMm } from './tlb.js';
import {
  firstVma,
  nextVma,
  vma,
  vmaAlloc,
  vmaEnd,
  vmaLink,
  vmaStart,
  VM_DONTCOPY,
  VM_MIXEDMAP,
  type Vma,
} from './vma.js';
import { findL1, indexAt, makeL1 } from './walk.js';
import { ldVa, stVa } from './words.js';
import { MARK } from '../../src/abi/marks.js';
import { mark } from './mark.js';

/** A child address space with one user; 0 when memory is short (nothing is left behind). */
export function* dupMm(c: KernelCpu, parent: Mm): Steps<Mm> {
  const child = yield* mmAlloc(c);
  if (child === 0) return child;
  yield* count(c, COUNT.forks);
  yield* writeLockMm(c, mm.mmapLock(parent), RANK.guestMmapLock);
  const copied = yield* dupMmap(c, parent, child);
  if (copied) yield* pinNew(c, child);
  yield* flushMm(c, parent);
  yield* writeUnlockMm(c, mm.mmapLock(parent));
  if (copied) return child;
  yield* exitMmap(c, child);
  yield* mmDrop(c, child);
  return 0 as Mm;
}

/** xen_dup_mmap, xen_activate_mm: pins the finished tree. */
export function* pinNew(c: KernelCpu, m: Mm): Steps<boolean> {
  yield* klock(c, mm.pageTableLock(m), RANK.guestPageTable);
  const ok = yield* pgdPin(c, m);
  yield* kunlock(c, mm.pageTableLock(m));
  return ok;
}

function* dupMmap(c: KernelCpu, parent: Mm, child: Mm): Steps<boolean> {
  mark(c, MARK.dup_mmap);
  for (let v = yield* firstVma(parent); v !== 0; v = yield* nextVma(v)) {
    if (((yield* ld(vma.flags(v))) & VM_DONTCOPY) !== 0) continue;
    const copy = yield* dupVma(c, v, child);
    if (copy === 0) return false;
    if (!needsCopy(v)) continue;
    yield* invalidateStart(c, parent, vmaStart(v), vmaEnd(v), NOTIFY_PROTECTION_VMA, true);
    const ok = yield* copyRange(c, parent, child, v);
    yield* invalidateEnd(c, parent);
    if (!ok) return false;
  }
  return true;
}

/** vma_needs_copy: without pages of its own, faults will find everything again. */
const needsCopy = (v: Vma): boolean => peek(vma.anon(v)) !== 0 || (peek(vma.flags(v)) & VM_MIXEDMAP) !== 0;

function* dupVma(c: KernelCpu, v: Vma, child: Mm): Steps<Vma> {
  const copy = yield* vmaAlloc(c, child, vmaStart(v), vmaEnd(v), yield* ld(vma.flags(v)));
  if (copy === 0) return copy;
  yield* stVa(vma.pgoff(copy), yield* ldVa(vma.pgoff(v)));
  for (const field of [vma.ops, vma.private]) yield* st(field(copy), peek(field(v)));
  yield* anonJoin(c, copy, peek(vma.anon(v)) as Anon);
  const ops = c.vmOps[peek(vma.ops(copy))];
  if (ops !== undefined) yield* ops.open(c, copy);
  yield* vmaLink(copy);
  return copy;
}

/** Copies the entries of `v`; false when memory for a table is short. */
function* copyRange(c: KernelCpu, parent: Mm, child: Mm, v: Vma): Steps<boolean> {
  const end = vmaEnd(v);
  for (let va = vmaStart(v); va < end;) {
    const next = Math.min(addVa(alignDown(va, L2_SPAN), L2_SPAN), end) as Va;
    const from = yield* findL1(c, parent, va);
    if (from !== PFN_NONE) {
      const to = yield* makeL1(c, child, va);
      if (to === PFN_NONE) return false;
      yield* copyTable(c, child, from, to, va, next);
    }
    va = next;
    yield* c.g.poll();
  }
  return true;
}

function* copyTable(c: KernelCpu, child: Mm, from: Pfn, to: Pfn, start: Va, end: Va): Steps<void> {
  const fromLock = ptlOf(c, from);
  const toLock = ptlOf(c, to);
  yield* klock(c, toLock, RANK.guestPteLock);
  yield* klock(c, fromLock, RANK.guestPteLock);
  enterLazyMmu(c);
  for (let va = start; va < end; va = addVa(va, L1_SPAN)) yield* copyEntry(c, child, from, to, indexAt(va, 1));
  yield* leaveLazyMmu(c);
  yield* kunlock(c, fromLock);
  yield* kunlock(c, toLock);
}

/** copy_present_pte: the parent's entry loses its write right, the child gets a copy of that. */
function* copyEntry(c: KernelCpu, child: Mm, from: Pfn, to: Pfn, i: number): Steps<void> {
  const lo = yield* readEntry(c, from, i);
  const hi = hi64();
  if ((lo & PAGE_PRESENT) === 0 || (lo & PTE_SPECIAL) !== 0) return;
  const pfn = yield* entryPfn(c, lo, hi);
  if (pfn === PFN_NONE) return;
  if ((lo & PAGE_RW) !== 0) yield* writeProtect(c, from, i);
  yield* getPageRef(c, pfn);
  yield* add(page.mapcount(pageOf(c.k, pfn)), 1);
  yield* add(mm.rss(child), 1);
  yield* setPte(c, to, i, lo & ~PAGE_RW, hi);
}
