/**
 * The lock of a PTE table: its own (split PTE locks), or one for all tables of its address space.
 *
 * Rule [X68], [X69]: with split locks an L1 is pinned by itself, under its own lock; without, it is typed only through
 * the root, so UNPIN of the L4 devalidates every L1 before anything else of the batch.
 * Invariant: a table's `mapping` names its mm from before it is reachable until its page is freed.
 * Lock: rank guestPteLock either way.
 * Source: Linux include/linux/mm.h (pte_lockptr, USE_SPLIT_PTE_PTLOCKS), arch/x86/xen/mmu_pv.c (xen_pte_lock).
 */
import type { Pfn } from '../../src/abi/frames.js';
import { peek } from '../../src/sync/primitives.js';
import type { KernelCpu } from './context.js';
import { mm, type Mm } from './mm.js';
import { page, pageOf } from './page.js';
import { kernel } from './records.js';

/** Whether each L1 has a lock, and a pin, of its own. */
export const splitLocks = (c: KernelCpu): boolean => peek(kernel.splitPtl(c.k)) !== 0 && !c.design.oneLock;

/** The lock that guards the entries of the L1 `table`. */
export function ptlOf(c: KernelCpu, table: Pfn): number {
  const p = pageOf(c.k, table);
  return splitLocks(c) ? page.ptl(p) : mm.pteLock(peek(page.mapping(p)) as Mm);
}
