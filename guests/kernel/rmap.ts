/**
 * Reverse map of anonymous memory: from a page to the VMAs that may map it.
 *
 * Invariant: a VMA with an anon record is on that record's list from before its first page until its tables are about to
 * be freed ([L12]); so whoever holds the record's lock finds tables that stay. A forked VMA joins its parent's record.
 * Lock: anon.lock (rank guestRmap) guards the list; PTE locks are taken inside.
 * Source: Linux mm/rmap.c, [L6]. Differs: one record per family where Linux has one per VMA and process.
 */
import type { Pfn, Va } from '../../src/abi/frames.js';
import { listAddTail, listDel, listInit, LIST_WORDS } from '../../src/shm/list.js';
import { record, type Ref } from '../../src/shm/record.js';
import { slabFree } from '../../src/shm/slab.js';
import { RANK } from '../../src/sync/lock-order.js';
import { add, ld, ldOnce, peek, st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { allocRecord } from './alloc.js';
import type { KernelCpu } from './context.js';
import { klock, kunlock } from './lock.js';
import { page, pageOf } from './page.js';
import { kernel, KLOCK_WORDS } from './records.js';
import { vma, vmaEnd, vmaStart, type Vma } from './vma.js';
import { ldVa, peekVa, stVa } from './words.js';

export const anon = record('anon', {
  lock: KLOCK_WORDS,
  vmas: LIST_WORDS,
  /** VMAs on the list, plus reclaim while it looks. */
  holders: 1,
});
export type Anon = Ref<'anon'>;

const NODE = vma.anonNode(0 as Vma);
export const vmaOfAnonNode = (node: number): Vma => (node - NODE) as Vma;

/** Gives `v` an anon record of its own if it has none; false when memory is short. */
export function* anonPrepare(c: KernelCpu, v: Vma): Steps<boolean> {
  if ((yield* ld(vma.anon(v))) !== 0) return true;
  const a = (yield* allocRecord(c, kernel.anonSlab(c.k))) as Anon;
  if (a === 0) return false;
  yield* listInit(anon.vmas(a));
  // Two threads may fault at once with the mmap lock shared: the anon slab's loser gives its record back.
  yield* klock(c, kernel.anonLock(c.k), RANK.guestRmap);
  const lost = (yield* ld(vma.anon(v))) !== 0;
  if (!lost) {
    yield* listAddTail(anon.vmas(a), vma.anonNode(v));
    yield* st(anon.holders(a), 1);
    yield* st(vma.anon(v), a);
  }
  yield* kunlock(c, kernel.anonLock(c.k));
  if (lost) yield* slabFree(c.cpu, kernel.anonSlab(c.k), a);
  return true;
}

/** `v`, a copy of a VMA with record `a`, joins it. */
export function* anonJoin(c: KernelCpu, v: Vma, a: Anon): Steps<void> {
  if (a === 0) return;
  yield* add(anon.holders(a), 1);
  yield* klock(c, anon.lock(a), RANK.guestRmap);
  yield* st(vma.anon(v), a);
  yield* listAddTail(anon.vmas(a), vma.anonNode(v));
  yield* kunlock(c, anon.lock(a));
}

/** `v` leaves its record: from here on nobody finds its tables. */
export function* anonLeave(c: KernelCpu, v: Vma): Steps<void> {
  const a = (yield* ld(vma.anon(v))) as Anon;
  if (a === 0) return;
  yield* klock(c, anon.lock(a), RANK.guestRmap);
  yield* listDel(vma.anonNode(v));
  yield* st(vma.anon(v), 0);
  yield* kunlock(c, anon.lock(a));
  yield* anonPut(c, a);
}

/**
 * The record of a page that the caller holds, held too; 0 when the page is mapped nowhere. While it is mapped, some VMA
 * holds the record, and drops that only under the lock taken here.
 */
export function* anonOf(c: KernelCpu, pfn: Pfn): Steps<Anon> {
  const p = pageOf(c.k, pfn);
  yield* klock(c, kernel.anonLock(c.k), RANK.guestRmap);
  // raced on purpose: others map and unmap the page meanwhile; the list's lock decides
  const a = (yield* ldOnce(page.mapcount(p))) > 0 ? ((yield* ld(page.mapping(p))) as Anon) : (0 as Anon);
  if (a !== 0) yield* add(anon.holders(a), 1);
  yield* kunlock(c, kernel.anonLock(c.k));
  return a;
}

export function* anonPut(c: KernelCpu, a: Anon): Steps<void> {
  yield* klock(c, kernel.anonLock(c.k), RANK.guestRmap);
  const last = (yield* add(anon.holders(a), -1)) === 1;
  yield* kunlock(c, kernel.anonLock(c.k));
  if (last) yield* slabFree(c.cpu, kernel.anonSlab(c.k), a);
}

/** A new mapping of `pfn` at `va` in `v`: its place in the record's space. */
export function* rmapNew(c: KernelCpu, pfn: Pfn, v: Vma, va: Va): Steps<void> {
  const p = pageOf(c.k, pfn);
  yield* st(page.mapping(p), peek(vma.anon(v)));
  yield* stVa(page.index(p), (peekVa(vma.pgoff(v)) + (va - vmaStart(v)) / 4096) as Va);
  yield* add(page.mapcount(p), 1);
}

/** Where `v` would map the page `p`; -1 when its range does not reach it. Lock held: the record's. */
export function* rmapAddress(p: number, v: Vma): Steps<Va> {
  const index = yield* ldVa(page.index(p as ReturnType<typeof pageOf>));
  const va = vmaStart(v) + (index - (yield* ldVa(vma.pgoff(v)))) * 4096;
  return (va >= vmaStart(v) && va < vmaEnd(v) ? va : -1) as Va;
}
