/**
 * Finding and making the L1 table for an address of an mm.
 *
 * Invariant: reads go through the direct map, as a kernel reads its own tables; an entry that names no own frame ends
 * the walk. Tables are made top down, each under mm.pageTableLock, with the page allocated before the lock is taken.
 * Lock: a caller of `findL1` holds the mmap lock, or the anon lock of a VMA that covers the address (rmap).
 * Source: Linux mm/memory.c (__p4d_alloc … __pte_alloc); ../linux-teardown item 19 (order of calls).
 */
import { l1Index, l2Index, l3Index, l4Index, type Pfn, type Va } from '../../src/abi/frames.js';
import { PAGE_PRESENT } from '../../src/abi/pte.js';
import { RANK } from '../../src/sync/lock-order.js';
import { hi64 } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { freePage, putPageTest } from './alloc.js';
import type { KernelCpu } from './context.js';
import { PFN_NONE } from './layout.js';
import { klock, kunlock } from './lock.js';
import { mm, pgdOf, type Mm } from './mm.js';
import { entryPfn } from './p2m.js';
import { readEntry } from './pte.js';
import { allocTable, joinTable } from './tables.js';

/** Index of `va` in a table of `level`. */
export const indexAt = (va: Va, level: number): number =>
  level === 4 ? l4Index(va) : level === 3 ? l3Index(va) : level === 2 ? l2Index(va) : l1Index(va);

/** The table below entry `i` of `table`; PFN_NONE when there is none. */
export function* tableBelow(c: KernelCpu, table: Pfn, i: number): Steps<Pfn> {
  const lo = yield* readEntry(c, table, i);
  return (lo & PAGE_PRESENT) === 0 ? PFN_NONE : yield* entryPfn(c, lo, hi64());
}

/** The L1 table that covers `va`; PFN_NONE when it does not exist. */
export function* findL1(c: KernelCpu, m: Mm, va: Va): Steps<Pfn> {
  let table = pgdOf(m);
  for (let level = 4; level > 1 && table !== PFN_NONE; level--) {
    table = yield* tableBelow(c, table, indexAt(va, level));
  }
  return table;
}

/** The L1 table that covers `va`, made if need be; PFN_NONE when memory is short. */
export function* makeL1(c: KernelCpu, m: Mm, va: Va): Steps<Pfn> {
  let table = pgdOf(m);
  for (let level = 4; level > 1 && table !== PFN_NONE; level--) {
    const i = indexAt(va, level);
    const below = yield* tableBelow(c, table, i);
    table = below === PFN_NONE ? yield* makeBelow(c, m, level - 1, table, i) : below;
  }
  return table;
}

/** A table of `level` below entry `i` of `parent`, unless another thread was faster. */
function* makeBelow(c: KernelCpu, m: Mm, level: number, parent: Pfn, i: number): Steps<Pfn> {
  const fresh = yield* allocTable(c, level);
  if (fresh === PFN_NONE) return PFN_NONE;
  yield* klock(c, mm.pageTableLock(m), RANK.guestPageTable);
  const there = yield* tableBelow(c, parent, i);
  const joined = there === PFN_NONE && (yield* joinTable(c, m, level, fresh, parent, i));
  yield* kunlock(c, mm.pageTableLock(m));
  if (joined) return fresh;
  if (yield* putPageTest(c, fresh)) yield* freePage(c, fresh);
  return there;
}
