/**
 * Freeing the tables that no VMA needs any more, lowest level first.
 *
 * Invariant: VMAs leave their anon record before their tables go ([L12]); a table goes when its whole span lies between
 * the VMA before (`floor`) and the VMA after (`ceiling`); its page is freed after the flush (gather.ts).
 * Lock: mmapLock exclusive, or the end of the mm.
 * Source: Linux mm/memory.c (free_pgtables, free_pgd_range); ../linux-teardown items 5, 18.
 */
import type { Pfn, Va } from '../../src/abi/frames.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from './context.js';
import { gatherTable } from './gather.js';
import { addVa, alignDown, L2_SPAN, L3_SPAN, L4_SPAN, PFN_NONE } from './layout.js';
import { pgdOf, type Mm } from './mm.js';
import { anonLeave } from './rmap.js';
import { leaveTable } from './tables.js';
import { nextVma, vmaEnd, vmaStart, type Vma } from './vma.js';
import { indexAt, tableBelow } from './walk.js';
import { MARK } from '../../src/abi/marks.js';
import { mark } from './mark.js';

/** Span of an entry of a table of `level`. */
const spanOf = (level: number): number => (level === 4 ? L4_SPAN : level === 3 ? L3_SPAN : L2_SPAN);

/** Frees below `table` (of `level`) what lies in [start, end) and is in nobody's way. */
function* freeBelow(
  c: KernelCpu,
  m: Mm,
  table: Pfn,
  level: number,
  start: Va,
  end: Va,
  floor: Va,
  ceiling: Va,
): Steps<void> {
  const span = spanOf(level);
  for (let va = start; va < end;) {
    const first = alignDown(va, span);
    const next = Math.min(addVa(first, span), end) as Va;
    const below = yield* tableBelow(c, table, indexAt(va, level));
    if (below !== PFN_NONE) {
      if (level > 2) yield* freeBelow(c, m, below, level - 1, va, next, floor, ceiling);
      if (first >= floor && addVa(first, span) <= ceiling) {
        yield* leaveTable(c, m, level - 1, below, table, indexAt(va, level));
        yield* gatherTable(c, va, below, level - 1);
      }
    }
    va = next;
  }
}

/** Tables of the VMAs from `first` that begin below `end`; `floor` and `ceiling`: the nearest neighbours that stay. */
export function* freePgtables(c: KernelCpu, m: Mm, first: Vma, end: Va, floor: Va, ceiling: Va): Steps<void> {
  mark(c, MARK.free_pgtables);
  let v = first;
  while (v !== 0 && vmaStart(v) < end) {
    const start = vmaStart(v);
    yield* anonLeave(c, v);
    let last = v;
    let next = yield* nextVma(v);
    while (next !== 0 && vmaStart(next) < end && vmaStart(next) <= addVa(vmaEnd(last), L2_SPAN)) {
      last = next;
      yield* anonLeave(c, last);
      next = yield* nextVma(last);
    }
    const stop = next !== 0 && vmaStart(next) < end ? vmaStart(next) : ceiling;
    yield* freeBelow(c, m, pgdOf(m), 4, start, vmaEnd(last), floor, stop);
    v = next;
  }
  mark(c, MARK.free_pgtables_ret);
}
