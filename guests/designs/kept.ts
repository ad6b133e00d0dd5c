/**
 * Entries that Xen would not unmap: they stay where they are, and their table stays typed.
 *
 * Rule: section 5, "user unmap fails": an entry must not be called cleared, and the table that holds it must not be
 * unpinned or freed, for that would drop the frame's reference and leak the handle ([X61]). The table gets one more try
 * when it leaves the tree; refused again, it stays pinned by itself, read-only, until the kept map that the entry belongs
 * to gets it unmapped (drivers/gntdev/quarantine.ts).
 * Invariant: page.secondaryCount of a table counts its kept entries; page.index is the address its first entry maps.
 * Lock: the table's PTE lock.
 */
import { MMUEXT_PIN_L1_TABLE, MMUEXT_UNPIN_TABLE } from '../../src/abi/mmu.js';
import type { Pfn, Va } from '../../src/abi/frames.js';
import { ENTRIES, PAGE_PRESENT } from '../../src/abi/pte.js';
import { RANK } from '../../src/sync/lock-order.js';
import { add, and, ld, st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { GrantMap } from '../drivers/gntdev/map.js';
import { keptEntry } from '../drivers/gntdev/quarantine.js';
import { freePage, quarantinePage } from '../kernel/alloc.js';
import type { KernelCpu } from '../kernel/context.js';
import { WARN } from '../kernel/counters.js';
import { warn } from '../kernel/count.js';
import { addVa, alignDown, L1_SPAN, L2_SPAN } from '../kernel/layout.js';
import { klock, kunlock } from '../kernel/lock.js';
import type { Mm } from '../kernel/mm.js';
import { pfnToMfn } from '../kernel/p2m.js';
import { page, pageOf, PG_levels, PG_pinned, PG_quarantined, PG_table } from '../kernel/page.js';
import { PTE_SPECIAL, readEntry } from '../kernel/pte.js';
import { ptlOf, splitLocks } from '../kernel/ptl.js';
import { untypeAgain } from '../kernel/untype.js';
import { CLEAR_DONE, CLEAR_KEEP } from '../kernel/vm-ops.js';
import { ldVa, stVa } from '../kernel/words.js';
import { mmuextOp } from '../xen/calls.js';
import type { TeardownDesign } from './design.js';
import { clearUserGrant, grantVma } from './grant-entry.js';

/** Notes that the entry for `va` of `table` stays. */
export function* keepEntry(c: KernelCpu, table: Pfn, va: Va): Steps<void> {
  const p = pageOf(c.k, table);
  yield* stVa(page.index(p), alignDown(va, L2_SPAN));
  yield* add(page.secondaryCount(p), 1);
}

/** One more try for the kept entries of `table`, through the design's own clear; false: some are still there. */
export function* retryKept(c: KernelCpu, design: TeardownDesign, m: Mm, table: Pfn): Steps<boolean> {
  const p = pageOf(c.k, table);
  if ((yield* ld(page.secondaryCount(p))) === 0) return true;
  const base = yield* ldVa(page.index(p));
  let left = 0;
  yield* klock(c, ptlOf(c, table), RANK.guestPteLock);
  for (let i = 0; i < ENTRIES; i++) {
    const lo = yield* readEntry(c, table, i);
    if ((lo & PAGE_PRESENT) === 0 || (lo & PTE_SPECIAL) === 0) continue;
    const va = addVa(base, i * L1_SPAN);
    const v = yield* grantVma(c, m, va);
    const how = v === 0 ? yield* clearKept(c, table, i) : yield* design.clearPte(c, v, va, table, i, false);
    if (how !== CLEAR_DONE) left++;
  }
  yield* st(page.secondaryCount(p), left);
  if (left !== 0) yield* keepTable(c, table);
  yield* kunlock(c, ptlOf(c, table));
  return left === 0;
}

/** An entry whose VMA is gone: its map is among the kept ones. Answers CLEAR_*. */
function* clearKept(c: KernelCpu, table: Pfn, i: number): Steps<number> {
  const [map, n] = yield* keptEntry(c, table, i);
  return map === 0 ? CLEAR_KEEP : yield* clearUserGrant(c, map, n, table, i);
}

/** The design's retry where kept entries are counted in their table: with the last one the table is free again. */
export function* retryKeptEntry(
  c: KernelCpu,
  map: GrantMap,
  i: number,
  table: Pfn,
  index: number,
  left: boolean,
): Steps<void> {
  const p = pageOf(c.k, table);
  const counted = (yield* ld(page.secondaryCount(p))) > 0;
  if ((yield* clearUserGrant(c, map, i, table, index)) !== CLEAR_DONE || !counted) return;
  if ((yield* add(page.secondaryCount(p), -1)) === 1) yield* letTableGo(c, table, left);
}

/** Nothing in the kept `table` is granted any more: if it has left its tree it is memory again. */
export function* letTableGo(c: KernelCpu, table: Pfn, left: boolean): Steps<void> {
  const flags = page.flags(pageOf(c.k, table));
  if (((yield* ld(flags)) & PG_quarantined) === 0) return;
  if (!left) {
    yield* unkeepTable(c, table);
    return;
  }
  if (!splitLocks(c)) yield* mmuextOp(c, MMUEXT_UNPIN_TABLE, yield* pfnToMfn(c, table));
  if (!(yield* untypeAgain(c, 1, table))) return;
  yield* and(flags, ~(PG_pinned | PG_table | PG_levels | PG_quarantined));
  yield* freePage(c, table);
}

/** The table stays typed for good: by its own pin, which without split locks it does not have yet. */
export function* keepTable(c: KernelCpu, table: Pfn): Steps<void> {
  const was = yield* ld(page.flags(pageOf(c.k, table)));
  if ((was & PG_quarantined) !== 0) return;
  yield* warn(c, WARN.designState, table);
  yield* quarantinePage(c, table);
  if (splitLocks(c)) return;
  const r = yield* mmuextOp(c, MMUEXT_PIN_L1_TABLE, yield* pfnToMfn(c, table));
  if (r < 0) yield* warn(c, WARN.pin, table);
}

/** A kept table has become free of grants after all. */
export function* unkeepTable(c: KernelCpu, table: Pfn): Steps<void> {
  const flags = page.flags(pageOf(c.k, table));
  if (((yield* and(flags, ~PG_quarantined)) & PG_quarantined) === 0 || splitLocks(c)) return;
  const r = yield* mmuextOp(c, MMUEXT_UNPIN_TABLE, yield* pfnToMfn(c, table));
  if (r < 0) yield* warn(c, WARN.hypercall, -r);
}
