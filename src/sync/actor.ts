/**
 * The actor record: one per vCPU, and number 0 for the control plane; at the top of the shared memory.
 *
 * Invariant: words below ACTOR_UPPER belong to this room; each is written by its own actor only, except REQUEST
 * (or-ed by anyone) and MODE/BEAT (read by anyone).
 * Lock: none.
 *
 * An actor is named by the address of its record (`Cpu`), so that what a thread owns hangs off its cpu argument.
 */
import { TOTAL_WORDS } from '../ops/memory.js';

declare const cpuBrand: unique symbol;
/** Address of an actor record. */
export type Cpu = number & { readonly [cpuBrand]: 'Cpu' };

export const CPU_WORDS = 512;
export const HEADER_WORDS = 64;
/** Actors of this memory: 9 up to 4 MiB (control and 8 vCPUs), else 65. */
export const MAX_CPUS = TOTAL_WORDS <= 1 << 20 ? 9 : 65;

/** The machine header: the last words of the memory. */
export const HEADER_BASE = TOTAL_WORDS - HEADER_WORDS;
export const CPUS_BASE = HEADER_BASE - MAX_CPUS * CPU_WORDS;

/** Words of the machine header that this room knows of. */
export const header = {
  /** Address of the fault plans (src/fault/plan.ts), 0 while there are none. */
  faults: HEADER_BASE,
  /** A bit per choice of `choices.ts` that a schedule may take otherwise; 0 while nothing is explored. */
  choices: HEADER_BASE + 1,
} as const;

export const cpuAt = (index: number): Cpu => (CPUS_BASE + index * CPU_WORDS) as Cpu;
export const cpuIndex = (cpu: Cpu): number => ((cpu - CPUS_BASE) / CPU_WORDS) | 0;
/** The control plane's actor. */
export const CONTROL = cpuAt(0);

/** Field addresses. */
export const actor = {
  /** Request bits (REQ_*), or-ed by other actors, consumed at polls. */
  request: (c: Cpu): number => c,
  /** MODE_*: whether guest code may be running here. */
  mode: (c: Cpu): number => c + 1,
  /** Goes up at every gate entry and poll: the watchdog's heartbeat. */
  beat: (c: Cpu): number => c + 2,
  /** Address this actor waits for, 0 when it does not wait. */
  waiting: (c: Cpu): number => c + 3,
  /** Lock acquisitions that found the lock held. */
  contended: (c: Cpu): number => c + 4,
  /** What the actor is doing: a hypercall number + 1, 0 outside the hypervisor. */
  doing: (c: Cpu): number => c + 5,
  /** What its guest kernel is at (src/abi/design-step.ts): for fault plans and reports. */
  step: (c: Cpu): number => c + 6,
  /** Number of locks held; their addresses and ranks follow. */
  heldCount: (c: Cpu): number => c + 8,
  heldAddress: (c: Cpu, i: number): number => c + 9 + i,
  heldRank: (c: Cpu, i: number): number => c + 9 + HELD_MAX + i,
} as const;

/* Word 57 is the address of the actor's trace ring (src/trace/ring.ts). */

/** Locks one actor can hold at once (a guest holding every PTE lock of a tree marks them as one, see guests). */
export const HELD_MAX = 24;
/** First word of the record that upper rooms lay out. */
export const ACTOR_UPPER = 64;

export const REQ_FLUSH = 1;
export const REQ_EVENT = 2;
export const REQ_PAUSE = 4;
export const REQ_KILL = 8;
export const REQ_IPI = 16;
/** The machine is given up: every wait ends by throwing MachineLost. */
export const REQ_ABORT = 32;
/** Set by the actor itself while it sleeps for a lock or a word: it makes no guest access before it looked again. */
export const REQ_WAITS = 64;
/** A fault plan looks at each guest access; stands as long as the plan does, asks for nothing by itself. */
export const REQ_FAULT = 128;

export const MODE_OFF = 0;
export const MODE_GUEST = 1;
export const MODE_HYPERVISOR = 2;
export const MODE_BLOCKED = 3;
/** In the hypervisor, reaching through the TLB into guest memory. */
export const MODE_ACCESS = 4;
