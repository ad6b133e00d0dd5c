/**
 * mm_struct: an address space. Users are tasks; holders (mmCount) keep the record and its pgd, as a lazy vCPU does.
 *
 * Invariant: users > 0 => count > 0. When users goes to 0 exit_mmap runs, once; when count goes to 0 the pgd is freed.
 * Lock: mmapLock (reader-writer) guards the VMA map; pageTableLock the upper levels of the tables; `cpumask` is atomic
 * (bit n: vCPU n may have entries of this mm in its TLB). users, count are atomic.
 * Source: Linux include/linux/mm_types.h, kernel/fork.c (mmput, mmdrop).
 */
import { DESIGN_STEP } from '../../src/abi/design-step.js';
import type { Pfn } from '../../src/abi/frames.js';
import { listAddTail, listDel, LIST_WORDS } from '../../src/shm/list.js';
import { MAP_WORDS, mapInit } from '../../src/shm/ordered-map.js';
import { record, type Ref } from '../../src/shm/record.js';
import { slabFree } from '../../src/shm/slab.js';
import { RANK } from '../../src/sync/lock-order.js';
import { add, ld, lock, peek, st, unlock } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { allocRecord } from './alloc.js';
import { enterStep } from './design-step.js';
import type { KernelCpu } from './context.js';
import { CPU_SET_WORDS } from './cpu-set.js';
import { PFN_NONE } from './layout.js';
import { pgdAlloc, pgdFree } from './pgd.js';
import { kernel, KLOCK_WORDS } from './records.js';

export const mm = record('mm', {
  node: LIST_WORDS,
  users: 1,
  count: 1,
  /** pfn of the kernel root; the user root is behind its page's `private`. */
  pgd: 1,
  cpumask: CPU_SET_WORDS,
  mmapLock: KLOCK_WORDS,
  pageTableLock: KLOCK_WORDS,
  /** Guards all L1s of a kernel without split PTE locks (ptl.ts). */
  pteLock: KLOCK_WORDS,
  vmas: MAP_WORDS,
  nrVmas: 1,
  /** Tables by level, for the counts of an unpin. */
  nrL1: 1,
  nrL2: 1,
  nrL3: 1,
  /** Interval notifier state (notifier.ts); 0 until the first subscription. */
  notifier: 1,
  /** Ordinary pages mapped. */
  rss: 1,
  /** Granted entries mapped. */
  granted: 1,
  /** EXIT_STAGE_*: how far exit_mmap got; read by checks. */
  exitStage: 1,
  /** Words for the design, e.g. a sticky "has foreign mappings". */
  designWords: 4,
  /** Words that the threads of a program share. */
  programWords: 8,
});
export type Mm = Ref<'mm'>;

/** exit_mmap has not begun; is under way; is over: no table of this mm may be typed any more ([I17]). */
export const EXIT_NONE = 0;
export const EXIT_BEGUN = 1;
export const EXIT_DONE = 2;

export const pgdOf = (m: Mm): Pfn => peek(mm.pgd(m)) as Pfn;

/** A new address space with empty tables, one user, one count; 0 when memory is short. */
export function* mmAlloc(c: KernelCpu): Steps<Mm> {
  const m = (yield* allocRecord(c, kernel.mmSlab(c.k))) as Mm;
  if (m === 0) return m;
  yield* st(mm.users(m), 1);
  yield* st(mm.count(m), 1);
  yield* mapInit(mm.vmas(m));
  const pgd = yield* pgdAlloc(c);
  if (pgd === PFN_NONE) {
    yield* slabFree(c.cpu, kernel.mmSlab(c.k), m);
    return 0 as Mm;
  }
  yield* st(mm.pgd(m), pgd);
  yield* lock(c.cpu, kernel.mmListLock(c.k), RANK.guestRunqueue);
  yield* listAddTail(kernel.mms(c.k), mm.node(m));
  yield* unlock(c.cpu, kernel.mmListLock(c.k));
  return m;
}

/** One more holder of the record (lazy TLB, a file, a worker). */
export function* mmGrab(m: Mm): Steps<void> {
  yield* add(mm.count(m), 1);
}

/** Drops a holder; the last one frees the roots. */
export function* mmDrop(c: KernelCpu, m: Mm): Steps<void> {
  if ((yield* add(mm.count(m), -1)) !== 1) return;
  yield* lock(c.cpu, kernel.mmListLock(c.k), RANK.guestRunqueue);
  yield* listDel(mm.node(m));
  yield* unlock(c.cpu, kernel.mmListLock(c.k));
  const was = enterStep(c, DESIGN_STEP.last);
  yield* c.design.mmFree(c, m);
  enterStep(c, was);
  yield* pgdFree(c, pgdOf(m));
  const notifier = yield* ld(mm.notifier(m));
  if (notifier !== 0) yield* slabFree(c.cpu, kernel.notifierSlab(c.k), notifier);
  yield* slabFree(c.cpu, kernel.mmSlab(c.k), m);
}
