/**
 * The seam between the guest kernel and a teardown design: what may be done differently when granted entries go.
 *
 * A design is one file: an object of this interface, found by name in registry.ts. It keeps its state in the words that
 * records reserve for it (kernel.designWords, mm.designWords, page.secondary, the grant map), never in itself.
 * `baseDesign` answers every question as a kernel without grants would; a design overrides what it needs.
 * Lock: each hook says what its caller holds. A hook that runs hypercalls holds no lock that an interrupt may want.
 * Source: section 5 of the Xen reference; ../linux-teardown for the notifier as merged.
 */
import type { Pfn, Va } from '../../src/abi/frames.js';
import type { Violation } from '../../src/abi/guest.js';
import type { Steps } from '../../src/sync/steps.js';
import type { GrantMap } from '../drivers/gntdev/map.js';
import type { KernelCpu } from '../kernel/context.js';
import type { Mm } from '../kernel/mm.js';
import type { Page } from '../kernel/page.js';
import type { Kernel } from '../kernel/records.js';
import type { SlotLayout } from './slots.js';
import type { Vma } from '../kernel/vma.js';

/** What a scenario chooses beside the design. */
export interface DesignOptions {
  readonly splitPteLocks: boolean;
  /** EXIT_6_1 or EXIT_2_6_25. */
  readonly exitOrder: number;
}

/** What stands behind a PTE page, and which word of its struct page names it. */
export interface SlotPlace {
  readonly layout: SlotLayout;
  readonly field: (p: Page) => number;
}

export interface TeardownDesign {
  readonly name: string;
  /** Where slots are, of a design that has them (I16). */
  readonly slots?: SlotPlace;
  /** Only a kernel without split PTE locks runs it: it gets one whatever the options say. */
  readonly oneLock: boolean;
  /** VMAs of the grant driver get an interval notifier, whose events arrive at `invalidate`. */
  readonly usesNotifier: boolean;
  /** VM_* flags of a VMA of grants. */
  readonly vmFlags: number;
  /** The user entries of one L1 are mapped and recorded under its PTE lock, one hypercall per L1. */
  readonly mapUnderPteLock: boolean;
  /** A handle whose unmap Xen refuses is dropped with a warning (today's Linux); else it is kept. */
  readonly forgetsRefused: boolean;

  /** Before the first entry of `map` is asked for; may allocate. False: the mmap is refused. mmapLock exclusive. */
  prepareMap(c: KernelCpu, map: GrantMap, v: Vma): Steps<boolean>;
  /**
   * Xen has put grant `i` of `map` into entry `index` of `table`, under `handle`. mmapLock exclusive; with
   * `mapUnderPteLock` the table's PTE lock.
   */
  mapInstalled(c: KernelCpu, map: GrantMap, i: number, table: Pfn, index: number, handle: number): Steps<void>;

  /** A present entry of a grant VMA is about to be cleared. PTE lock held, lazy-MMU mode on. Answers CLEAR_*. */
  clearPte(c: KernelCpu, v: Vma, va: Va, table: Pfn, index: number, full: boolean): Steps<number>;
  /** set_pte of any entry. PTE lock held. True: done here. */
  setPte(c: KernelCpu, table: Pfn, index: number, lo: number, hi: number): Steps<boolean>;

  /** Arch hook of exit_mmap before anything is unmapped (after the notifiers' release). No lock held. */
  exitMmapPre(c: KernelCpu, m: Mm): Steps<void>;
  /** Arch hook after all entries were cleared, before tables are freed. No lock held. */
  exitMmapPost(c: KernelCpu, m: Mm): Steps<void>;
  /** Unpinning begins. pageTableLock held (and the one PTE lock of a kernel without split locks), nothing queued yet. */
  beforeUnpin(c: KernelCpu, m: Mm): Steps<void>;
  /**
   * The L1 `table` is about to be unpinned. Its PTE lock held; of the calls queued before, some may not have happened.
   * False: an entry in it could not be unmapped, it must stay typed.
   */
  unpinPtePage(c: KernelCpu, m: Mm, table: Pfn): Steps<boolean>;
  /**
   * The L1 `table` is about to leave the tree for good. No PTE lock held. False: it must stay typed; it is then pinned by
   * itself, and never used again.
   */
  releasePtePage(c: KernelCpu, m: Mm, table: Pfn): Steps<boolean>;
  /**
   * One more try for grant `i` of a kept `map`, which is entry `index` of `table`; `left`: the table has left its tree, and
   * is the caller's. PTE lock held unless it has left.
   */
  retryEntry(c: KernelCpu, map: GrantMap, i: number, table: Pfn, index: number, left: boolean): Steps<void>;
  /** The last holder of `m` lets go: its roots are about to be freed. No lock held. */
  mmFree(c: KernelCpu, m: Mm): Steps<void>;

  /**
   * Entries in [start, end) of the VMA of `map` are about to go (NOTIFY_* event). False: would have to wait and may
   * not. No PTE lock held.
   */
  invalidate(c: KernelCpu, map: GrantMap, start: Va, end: Va, event: number, blockable: boolean): Steps<boolean>;
  /** The VMA of `map` was copied (split, mremap). mmapLock exclusive. */
  vmaOpen(c: KernelCpu, v: Vma, map: GrantMap): Steps<void>;
  /** The VMA of `map` goes; its entries and tables are gone. */
  vmaClose(c: KernelCpu, v: Vma, map: GrantMap): Steps<void>;
  /** Nobody refers to `map` any more: what is still mapped through it must go now or be handed on. */
  mapRelease(c: KernelCpu, map: GrantMap): Steps<void>;

  /** Why a kernel with these options cannot have it; '' when it can. */
  refuses(o: DesignOptions): string;
  /** What its own state says that must not be, in a still kernel ([I16], [I17]). */
  check(k: Kernel): readonly Violation[];
}
