/**
 * Leaf entries: how each kind of access to an L1 entry is carried out.
 *
 * Rules [X66], [X67]: set_pte is a hypercall in every tree, queued in lazy-MMU mode. Clearing, write-protecting and
 * taking the accessed bit are direct memory operations that no set_pte hook sees: on a pinned L1 each of them traps.
 * Lock: the table's PTE lock, held by the caller.
 * Source: Linux arch/x86/include/asm/pgtable.h, arch/x86/xen/mmu_pv.c.
 */
import type { Mfn, Pfn } from '../../src/abi/frames.js';
import { MMU_NORMAL_PT_UPDATE, MMU_PT_UPDATE_PRESERVE_AD } from '../../src/abi/mmu.js';
import { entryLo, PAGE_ACCESSED, PAGE_DIRTY, PAGE_NX_HI, PAGE_PRESENT, PAGE_RW, PAGE_USER } from '../../src/abi/pte.js';
import { hi64, peek } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { batchBegin, batchIssue, queueMmuUpdate } from '../xen/batch.js';
import { mmuUpdate } from '../xen/calls.js';
import type { KernelCpu } from './context.js';
import { WARN } from './counters.js';
import { warn } from './count.js';
import { entryVa } from './layout.js';
import { pfnToMfn } from './p2m.js';
import { LAZY_MMU, percpu } from './records.js';
import { MARK } from '../../src/abi/marks.js';
import { markTable } from './mark.js';

/** Software bit: the entry names a page that has no struct page here (a grant). First of the available bits. */
export const PTE_SPECIAL = 0x200;

/** User pages are never executed here. */
export const USER_PTE_HI = PAGE_NX_HI;
export const userFlags = (writable: boolean): number =>
  PAGE_PRESENT | PAGE_USER | PAGE_ACCESSED | (writable ? PAGE_RW | PAGE_DIRTY : 0);
/** The direct map's entries. */
export const KERNEL_RW = PAGE_PRESENT | PAGE_RW | PAGE_ACCESSED | PAGE_DIRTY;
export const KERNEL_RO = PAGE_PRESENT | PAGE_ACCESSED | PAGE_DIRTY;
/** Upper-level entries. */
export const TABLE_FLAGS = PAGE_PRESENT | PAGE_RW | PAGE_USER | PAGE_ACCESSED | PAGE_DIRTY;

/** Low and high word of the machine address of entry `i` in the table with frame `mfn`. */
export const machineLo = (mfn: Mfn, i: number): number => entryLo(mfn, 8 * i);
export const machineHi = (mfn: Mfn): number => mfn >>> 20;

/** The entry: low word, `hi64()` the high word. */
export function* readEntry(c: KernelCpu, table: Pfn, i: number): Steps<number> {
  return yield* c.g.load(entryVa(table, i));
}

/** An mmu_update request, queued when in lazy-MMU mode, made at once otherwise; false when refused at once. */
function* requestUpdate(c: KernelCpu, table: Pfn, i: number, cmd: number, lo: number, hi: number): Steps<boolean> {
  const mfn = yield* pfnToMfn(c, table);
  if (peek(percpu.lazyMode(c.pc)) === LAZY_MMU) {
    batchBegin(c);
    yield* queueMmuUpdate(c, machineLo(mfn, i) | cmd, machineHi(mfn), lo, hi);
    return (yield* batchIssue(c, LAZY_MMU)) === 0;
  }
  const r = yield* mmuUpdate(c, machineLo(mfn, i) | cmd, machineHi(mfn), lo, hi);
  if (r < 0) yield* warn(c, WARN.setPte, -r);
  return r >= 0;
}

/** set_pte ([X66]); the design may take it over. */
export function* setPte(c: KernelCpu, table: Pfn, i: number, lo: number, hi: number): Steps<boolean> {
  markTable(c, MARK.set_pte, i, table);
  if (yield* c.design.setPte(c, table, i, lo, hi)) return true;
  return yield* requestUpdate(c, table, i, MMU_NORMAL_PT_UPDATE, lo, hi);
}

/** ptep_modify_prot_commit: new rights, keeping accessed and dirty as the processor left them ([X27]). */
export function* commitProtection(c: KernelCpu, table: Pfn, i: number, lo: number, hi: number): Steps<boolean> {
  return yield* requestUpdate(c, table, i, MMU_PT_UPDATE_PRESERVE_AD, lo, hi);
}

/** ptep_get_and_clear: a real exchange; answers the old low word. */
export function* getAndClear(c: KernelCpu, table: Pfn, i: number): Steps<number> {
  return yield* c.g.xchg(entryVa(table, i), 0, 0);
}

/** ptep_get_and_clear_full of an mm nobody uses any more: a plain load and a plain store; answers the old low word. */
export function* getAndClearFull(c: KernelCpu, table: Pfn, i: number): Steps<number> {
  const lo = yield* c.g.load(entryVa(table, i));
  yield* c.g.store(entryVa(table, i), 0, 0);
  return lo;
}

/** Takes bits off an entry by compare-exchange; answers the old low word. */
function* clearBits(c: KernelCpu, table: Pfn, i: number, bits: number): Steps<number> {
  const va = entryVa(table, i);
  for (;;) {
    const lo = yield* c.g.load(va);
    const hi = hi64();
    if ((lo & bits) === 0 || (yield* c.g.cmpxchg(va, lo, hi, lo & ~bits, hi)) === 1) return lo;
    if (c.g.faulted()) return lo;
  }
}

/** ptep_set_wrprotect: a direct bit clear. */
export function* writeProtect(c: KernelCpu, table: Pfn, i: number): Steps<void> {
  yield* clearBits(c, table, i, PAGE_RW);
}

/** ptep_test_and_clear_young. */
export function* testAndClearYoung(c: KernelCpu, table: Pfn, i: number): Steps<boolean> {
  return ((yield* clearBits(c, table, i, PAGE_ACCESSED)) & PAGE_ACCESSED) !== 0;
}
