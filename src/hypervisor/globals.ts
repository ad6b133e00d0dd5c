/**
 * Words of the hypervisor that exist once, each hot one on a line (16 words) of its own, then the domain records.
 *
 * Invariant: the first MACHINE_WORDS words belong to src/machine (flush clock); the rest to this room.
 * Lock: said at each word. Words in the `setup` line are written by boot only and read with `peek`.
 */
import { GLOBALS, GLOBALS_WORDS } from '../machine/layout.js';

const LINE = 16;
/** Left to src/machine at the start of GLOBALS. */
export const MACHINE_WORDS = 128;
const line = (n: number): number => GLOBALS + MACHINE_WORDS + n * LINE;

export const globals = {
  /** Lock word of domctl: creation and destruction of domains (rank domctl). */
  domctlLock: line(0),
  /** The id that a domain was last given which was to have any (raced: two who ask may choose the same, one is refused it). */
  domidRover: line(0) + 1,
  /** Heap: lock (rank heap); head and tail of the free list (mfn + 1), number of free frames. */
  heapLock: line(1),
  freeHead: line(1) + 1,
  freeFrames: line(1) + 2,
  freeTail: line(1) + 3,
  /** Domains that are gone but whose records wait for every CPU to have left the hypervisor once. */
  reapable: line(2),
  /** Setup: 1 for a debug hypervisor ([X24], [X61]). */
  debug: line(3),
  /** Setup: preemption checks a hypercall may ask before one answers yes; 0 = never by count. */
  quantum: line(3) + 1,
  /** Setup: first M2P frame and their number. */
  m2pFirst: line(3) + 2,
  m2pFrames: line(3) + 3,
  /** Setup: arena for run-time records (src/shm/arena), and its chunks. */
  arena: line(3) + 4,
  arenaChunks: line(3) + 5,
  /** Setup: mfn of the L3 that stands for Xen's own entries in guests' L4s. */
  xenL3: line(3) + 6,
  /** One above the highest actor that ever was a vCPU (under domctlLock; grows only). */
  cpusUsed: line(3) + 7,
  /** Setup: number of the twin that is on (twins.ts); 0: the hypervisor is right. */
  twin: line(3) + 8,
} as const;

/** Domain records: fixed slots. The first two are DOMID_XEN and DOMID_IO. */
export const DOMAIN_WORDS = 128;
export const DOMAINS = line(8);
export const MAX_DOMAINS = Math.floor((GLOBALS + GLOBALS_WORDS - DOMAINS) / DOMAIN_WORDS);
