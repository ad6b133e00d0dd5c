/**
 * Counters and warnings of a guest kernel: words of the kernel record, added to atomically, read by the lab.
 *
 * Invariant: a counter only grows. A warning is what Linux would print as WARN or BUG, counted by kind; the run goes on.
 * Lock: none.
 */

/** Index of a counter; the order is the order of `COUNTER_NAMES`. */
export const COUNT = {
  forks: 0,
  execs: 1,
  exits: 2,
  exitMmaps: 3,
  mmaps: 4,
  munmaps: 5,
  faults: 6,
  cowCopies: 7,
  zaps: 8,
  pins: 9,
  unpins: 10,
  grantsMapped: 11,
  grantsTornDown: 12,
  grantsForgotten: 13,
  unmapTries: 14,
  unmapDeferred: 15,
  batches: 16,
  batchEntries: 17,
  multicalls: 18,
  crossCalls: 19,
  reclaimed: 20,
  kills: 21,
  grants: 22,
  revokes: 23,
  revokesBusy: 24,
  ballooned: 25,
  tablesAllocated: 26,
  tablesReleased: 27,
  tlbFlushes: 28,
  ioRequests: 29,
  lazySections: 30,
  contextSwitches: 31,
  allocationFailures: 32,
  leaveMm: 33,
  pagesLost: 34,
  ipis: 35,
  /** Grants that were in use when their access was to end, and of these, those that ended later. */
  endsDeferred: 36,
  endsLate: 37,
} as const;
export type Counter = (typeof COUNT)[keyof typeof COUNT];
export const COUNTER_NAMES = Object.freeze(Object.keys(COUNT));
/** Words reserved for counters. */
export const COUNTERS = 48;

/** Kinds of warning, in the order of their numbers: names are found by place. */
export const WARN = {
  /** A hypercall of a batch was refused. */
  multicall: 0,
  /** A page fault in kernel code that nothing fixes: Linux would oops. */
  oops: 1,
  /** A page was freed while mapped, or its count went below zero. */
  badPage: 2,
  /** A pin was refused: [X78]. */
  pin: 3,
  /** A grant unmap was refused ([X55]). */
  grantUnmap: 4,
  /** A page-table page came back with its alias read-only, or unpinned while typed ([X73]). */
  alias: 5,
  /** A grant map was refused. */
  grantMap: 6,
  /** A table that a design attached state to was freed with live state. */
  designState: 7,
  /** An update of a page-table entry was refused. */
  setPte: 8,
  /** A hypercall outside a batch was refused. */
  hypercall: 9,
  /** An unexpected entry was read from a page table. */
  badPte: 10,
  /** A #GP came (debug hypervisor, [X61]). */
  gp: 11,
  /** A page came back from a backend with other contents than it answered. */
  ioData: 12,
} as const;
export type Warning = (typeof WARN)[keyof typeof WARN];
export const WARNING_NAMES = Object.freeze(Object.keys(WARN));
/** Words for warnings: a count and the last argument of each kind. */
export const WARNINGS = 32;
