/**
 * What a driver does for the VMAs it made: the functions behind `vma.ops`.
 *
 * Lock: each says what its caller holds.
 * Source: Linux include/linux/mm.h (vm_operations_struct), mmu_notifier.h (mmu_interval_notifier_ops).
 */
import type { Pfn, Va } from '../../src/abi/frames.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from './context.js';
import type { Subscription } from './notifier.js';
import type { Vma } from './vma.js';

/** Answers of `clearPte`. */
export const CLEAR_PLAIN = 0;
/** The entry is gone already. */
export const CLEAR_DONE = 1;
/** The entry could not be cleared and must stay. */
export const CLEAR_KEEP = 2;

/** Answers of `fault` and of the fault path: what happens to the access. */
export const FAULT_OK = 0;
export const FAULT_SIGSEGV = 11;
export const FAULT_SIGBUS = 7;
export const FAULT_OOM = 9;

export interface VmOps {
  readonly name: string;
  /** Entries of this VMA name pages without a struct page of ours. */
  readonly special: boolean;
  /** `v` is a copy of a VMA (split, mremap). mmapLock exclusive. */
  open(c: KernelCpu, v: Vma): Steps<void>;
  /** `v` is about to go; its entries are cleared, its tables freed. */
  close(c: KernelCpu, v: Vma): Steps<void>;
  /** An access found no entry. mmapLock shared. Answers FAULT_*. */
  fault(c: KernelCpu, v: Vma, va: Va, write: boolean): Steps<number>;
  /** The entry `i` of `table` for `va` is about to be cleared. PTE lock held. Answers CLEAR_*. */
  clearPte(c: KernelCpu, v: Vma, va: Va, table: Pfn, i: number, full: boolean): Steps<number>;
  /** Notifier callback; false: would have to wait and may not. May run hypercalls; no PTE lock held. */
  invalidate(c: KernelCpu, s: Subscription, start: Va, end: Va, event: number, blockable: boolean): Steps<boolean>;
}

/** Anonymous memory: nothing special. */
export const anonVmOps: VmOps = Object.freeze({
  name: 'anon',
  special: false,
  *open(): Steps<void> {
    return;
  },
  *close(): Steps<void> {
    return;
  },
  *fault(): Steps<number> {
    return FAULT_SIGBUS;
  },
  *clearPte(): Steps<number> {
    return CLEAR_PLAIN;
  },
  *invalidate(): Steps<boolean> {
    return true;
  },
});
