/**
 * The guest kernel's records that exist once per domain and once per vCPU.
 *
 * Invariant: `kernel` is laid by the first vCPU before `ready` is 1 and its setup words are never written again.
 * Lock: each group names its own; words without a group are setup (read with `peek`) or atomic counters.
 * Source: Linux arch/x86/xen/{enlighten_pv,mmu_pv,multicalls}.c (the per-CPU words), mm/page_alloc.c.
 */
import { LIST_WORDS } from '../../src/shm/list.js';
import { record, type Ref } from '../../src/shm/record.js';
import { SLAB_WORDS } from '../../src/shm/slab.js';
import { COUNTERS, WARNINGS } from './counters.js';
import { CPU_SET_WORDS, MAX_VCPUS } from './cpu-set.js';

/** A lock word and the number of vCPUs that wait for it (lock.ts). */
export const KLOCK_WORDS = 2;

export const kernel = record('kernel', {
  // setup
  ready: 1,
  domid: 1,
  nrVcpus: 1,
  /** pfns below this exist; those from `nrPopulated` on had no frame at boot. */
  maxPfn: 1,
  nrPopulated: 1,
  /** Frames of the machine: what makes an entry's frame a number (abi/pte.ts). */
  frames: 1,
  /** Arena for records (src/shm/arena.ts). */
  arena: 1,
  /** p2m array and struct page array, by pfn. */
  p2m: 1,
  pages: 1,
  percpus: 1,
  /** Order of exit_mmap: EXIT_6_1 or EXIT_2_6_25 ([X74]). */
  exitOrder: 1,
  /** Lazy-MMU sections queue; else every request goes at once. */
  lazyMmu: 1,
  /** 1: split PTE locks (ptl.ts). */
  splitPtl: 1,
  /** What backs the kernel mapping of a grant: BACKING_* (drivers/gntdev/backing.ts). */
  backing: 1,
  initMm: 1,
  /** L1 of the area for kernel stacks (kernel-stack.ts); 0: this kernel has none. */
  stackTable: 1,
  /** Shared board through which domains find each other's rings (drivers/blk/board.ts); 0: none. */
  board: 1,
  /** Seed of the programs' choices; rounds each process slot runs (0: until `stop`). */
  seed: 1,
  roundsWanted: 1,
  /** Rounds finished; atomic. */
  rounds: 1,
  // lock: allocLock
  allocLock: KLOCK_WORDS,
  freePages: LIST_WORDS,
  nrFree: 1,
  // lock: balloonLock
  balloonLock: KLOCK_WORDS,
  balloonPages: LIST_WORDS,
  nrBallooned: 1,
  // lock: lruLock
  lruLock: KLOCK_WORDS,
  lru: LIST_WORDS,
  nrLru: 1,
  // lock: runqueueLock
  runqueueLock: KLOCK_WORDS,
  runqueue: LIST_WORDS,
  tasks: LIST_WORDS,
  nextPid: 1,
  /** Tasks that have not been reaped; goes down when one dies. */
  liveTasks: 1,
  /** Goes up whenever something happened that a sleeping task may wait for. */
  wakeSequence: 1,
  /** Goes up whenever there may be something to run: what idle vCPUs wait for; and how many of them do. */
  kickSequence: 1,
  nrIdle: 1,
  /** 1: the workloads have been started; before, a domain without tasks is not idle. */
  started: 1,
  /** 1: no new round is begun; the vCPUs leave when the last task is gone. */
  windDown: 1,
  /** 1: vCPUs leave their loops at the next chance. */
  stop: 1,
  /** vCPUs that have left their loops. */
  stopped: 1,
  // lock: mmListLock
  mmListLock: KLOCK_WORDS,
  mms: LIST_WORDS,
  // lock: anonLock (first anon record of a VMA)
  anonLock: KLOCK_WORDS,
  // lock: callLock (one cross call at a time)
  callLock: KLOCK_WORDS,
  callMm: 1,
  /** vCPUs that have not answered yet, a bit each; they clear their own. */
  callPending: CPU_SET_WORDS,
  /** Actor records of the vCPUs, to interrupt them. */
  actors: MAX_VCPUS,
  // lock: workLock
  workLock: KLOCK_WORDS,
  work: LIST_WORDS,
  nrWork: 1,
  // lock: keptLock (maps that Xen would not let go)
  keptLock: KLOCK_WORDS,
  kept: LIST_WORDS,
  // lock: grantLock (the own grant table: free entries, pages revoked too early)
  grantLock: KLOCK_WORDS,
  /** First free entry (0: none), linked through the words at `grantLinks`, one per entry. */
  grantFree: 1,
  grantLinks: 1,
  nrGrantsFree: 1,
  /** Pages whose access could not be ended, by their `lru`; the reference is in page.index (drivers/deferred.ts). */
  deferredEnds: LIST_WORDS,
  nrDeferred: 1,
  /** Pages that are only ever granted to domains that are not trusted, by their `lru`. */
  grantPool: LIST_WORDS,
  // lock: stackLock (stacks made so far, and a bit for each that is free)
  stackLock: KLOCK_WORDS,
  nrStacks: 1,
  stackCache: 4,
  // slabs
  mmSlab: SLAB_WORDS,
  vmaSlab: SLAB_WORDS,
  anonSlab: SLAB_WORDS,
  taskSlab: SLAB_WORDS,
  fileSlab: SLAB_WORDS,
  mapSlab: SLAB_WORDS,
  gntFileSlab: SLAB_WORDS,
  holdSlab: SLAB_WORDS,
  subscriptionSlab: SLAB_WORDS,
  notifierSlab: SLAB_WORDS,
  batchSlab: SLAB_WORDS,
  /** Allocations to go until one fails: page allocator, slabs; 0 = never (set by the lab, counted down atomically). */
  failPage: 1,
  failSlab: 1,
  // setup
  /** Address of the grant table's first frame in the direct map, its entries, and the domain's grant version is 1. */
  grantVa: 2,
  nrGrants: 1,
  /** Words for the design and for drivers. */
  designWords: 16,
  driverWords: 16,
  counters: COUNTERS,
  warnings: WARNINGS,
});
export type Kernel = Ref<'kernel'>;

export const EXIT_6_1 = 0;
export const EXIT_2_6_25 = 1;

/** Entries of a multicall batch, bytes of its arguments ([X68]; Linux multicalls.c). */
export const MC_BATCH = 32;
export const MC_ARG_BYTES = 512;

/** The mmu_gather of a vCPU (gather.ts). */
export const GATHER_WORDS = 32;

export const percpu = record('percpu', {
  id: 1,
  /** Task that runs here; 0: idle. */
  current: 1,
  /** mm whose tables are loaded, as the scheduler sees it (cpu_tlbstate.loaded_mm). */
  loadedMm: 1,
  /** mm held because no user task runs here (lazy TLB); 0: none. */
  heldMm: 1,
  /** pfn of the pgd last asked for, and of the one whose switch has been carried out ([X72]); read by others. */
  cr3: 1,
  currentCr3: 1,
  /** LAZY_NONE, LAZY_MMU, LAZY_CPU. */
  lazyMode: 1,
  /** Pending batch: entries, argument bytes, callbacks; what the last entry is, for extension. */
  mcEntries: 1,
  mcBytes: 1,
  mcCallbacks: 1,
  /** Entries refused since the outermost `batchBegin`. */
  mcRefused: 1,
  /** The newest entry, not yet written to the batch page, so that it can be extended. */
  mcImage: 16,
  /** Words being put together for a store into guest memory. */
  scratch: 16,
  /** Nesting of `batchBegin` (interrupts stay masked inside). */
  masked: 1,
  wasMasked: 1,
  /** Callback kind and argument, MC_BATCH pairs. */
  callbacks: 64,
  /** Own pages: the batch page and the area for grant operations. */
  batchVa: 2,
  areaVa: 2,
  areaPages: 1,
  /** The mmu_gather in use here (gather.ts). */
  gather: GATHER_WORDS,
  /** Map of the VMAs that a munmap here has detached. */
  detached: 2,
  /** 1: files whose last reference goes wait in the list at `filesHeld` (file.ts). */
  holdsFiles: 1,
  filesHeld: 1,
  /** SCAN_TABLES tables' worth of words: copies of upper tables being walked (pin.ts), one per level, and one for the design. */
  scan: 1,
  designWords: 8,
});
export type Percpu = Ref<'percpu'>;

export const SCAN_TABLES = 4;

export const LAZY_NONE = 0;
export const LAZY_MMU = 1;
export const LAZY_CPU = 2;
