/**
 * The vCPU's part of the actor record: what Xen keeps in struct vcpu and in the physical CPU it runs on.
 *
 * Invariant: written by the vCPU itself, or by the control plane while the vCPU is off or paused, unless said otherwise.
 * Lock: none. A field is an address; the access kind is said at the access.
 *
 * A vCPU is its own physical CPU here (one TLB each), so a domain's dirty mask is the set of its running vCPUs.
 */
import { ACTOR_UPPER, type Cpu } from '../sync/actor.js';

const at =
  (offset: number) =>
  (c: Cpu): number =>
    c + ACTOR_UPPER + offset;

export const vcpu = {
  /** Address of the domain record; 0: no domain (control plane, free). */
  domain: at(0),
  /** vCPU number within the domain. */
  id: at(1),
  /** Kernel and user base pointers: mfn + 1 of an L4 that holds a type and a general reference; 0 none. */
  guestTable: at(2),
  guestTableUser: at(3),
  /** 1 in guest kernel mode, 0 in guest user mode. */
  kernelMode: at(4),
  /** Base the MMU walks from: mfn + 1 (equals one of the two above while guest code runs). */
  cr3: at(5),
  /** mfn + 1 of a table whose teardown is unfinished ([X15]), and whether it was partial. */
  oldGuestTable: at(6),
  oldGuestTablePartial: at(7),
  /** mfn + 1 of the page whose page lock this CPU holds ([X12]). */
  lockedPage: at(8),
  /** TLB: entries whose generation differs are dead. */
  tlbGeneration: at(9),
  /** Value of the flush clock when this CPU last flushed ([X13]); read by others. */
  flushTime: at(10),
  /** Last page fault: address (two words) and error code. */
  cr2Lo: at(11),
  cr2Hi: at(12),
  errorCode: at(13),
  /** Preemption: checks left until the next one answers yes; 0 = never by count. */
  quantumLeft: at(14),
  /** 1 when the running call asked to be continued; set by createContinuation, consumed by the gate. */
  continued: at(15),
  /** Multicall state: 0 outside, 1 inside an entry, 2 the entry was preempted. */
  multicall: at(16),
  /** Counters (private to the CPU): hypercalls, continuations, sub-calls, pte writes, flushes asked, faults, emulations. */
  nHypercalls: at(17),
  nContinuations: at(18),
  nSubcalls: at(19),
  nPteWrites: at(20),
  nFlushes: at(21),
  nFaults: at(22),
  nEmulations: at(23),
  nGrantMaps: at(24),
  nGrantUnmaps: at(25),
  /** Hypercalls entered while another vCPU was inside the hypervisor. */
  nOverlaps: at(26),
  /** Of these, those that met a vCPU of another domain, or the control plane. */
  nMet: at(117),
  /** Pause count, and whether the vCPU is up. */
  pauseCount: at(27),
  up: at(28),
  /** 1: this call was preempted for an event already; the event waits for the call's end. */
  eventPreempted: at(29),
  /** Result of the last hypercall, two words (rax). */
  raxLo: at(30),
  raxHi: at(31),
  /** Six 64-bit argument registers: rdi, rsi, rdx, r10, r8, r9. */
  argLo: (c: Cpu, i: number): number => c + ACTOR_UPPER + 32 + 2 * i,
  argHi: (c: Cpu, i: number): number => c + ACTOR_UPPER + 33 + 2 * i,
  /** Hypercall number register. */
  rax: at(44),
  /** Free for the room that needs state across a poll: multicall's copy of its entry (16 words). */
  multicallEntry: at(48),
  /** One argument structure copied in from the guest, read once (up to 32 words). */
  copied: at(64),
  /** Event channels: pending selector and upcall mask of this vCPU. */
  upcallPending: at(96),
  upcallMask: at(97),
  /** MMUEXT_SET_LDT: base (two words) and number of entries. */
  ldtBaseLo: at(98),
  ldtBaseHi: at(99),
  ldtEntries: at(100),
  /** 1: a #GP(0) waits for this vCPU (debug hypervisor, [X61]); taken by whoever delivers traps. */
  pendingGp: at(102),
  /** Tables that were to be finished first and were forgotten, as Xen forgets them (src/hypervisor/upper.ts). */
  nLostTables: at(103),
  /** Top of the guest kernel's stack (stack_switch), where trap frames go; 0: none given, nothing is checked. */
  kernelSpLo: at(106),
  kernelSpHi: at(107),
  /** An address in the guest kernel's text, fetched whenever the kernel resumes; 0: none given, nothing is checked. */
  kernelTextLo: at(108),
  kernelTextHi: at(109),
  /** 1: a guest access was refused and its handler gave it up; read and cleared by the guest. */
  faulted: at(110),
  /** Trap frames on the kernel's stack now. */
  trapDepth: at(111),
  /** Two words by which a 64-bit answer that lies in no memory reaches `hi64`. */
  scratch: at(112),
  /** 1: an inter-processor interrupt waits for the mask to open. */
  ipiPending: at(114),
  /** An injected delay: requests for a flush that this vCPU will still overlook (flush.late); 0: none under way. */
  flushLate: at(115),
  /** An event that this vCPU sent and that is still to be delivered: its domain's id + 1 (0: none), its port, and when. */
  lateDomid: at(120),
  latePort: at(121),
  lateExits: at(122),
  /** 1: the interrupts that wait were put off once, by choice. */
  eventLate: at(116),
  /** TLB keys of live entries, as doubles (tlb-slot.ts): not global, and behind it global. Owner only. */
  tlbKey: at(124),
  tlbGlobalKey: at(126),
  /** For twins that keep a word too long: a value of the flush clock; the entry found for an address, and when. */
  twinStamp: at(105),
  twinSlot: at(104),
  twinVa: at(118),
  twinGeneration: at(119),
  /** Guest kernel's per-CPU words (64), laid out by guests. */
  guest: at(128),
  /** Batches that outlive a preemption point inside one grant or memory call (192 words). */
  batch: at(192),
} as const;

/**
 * Of the vCPU record, what means nothing at rest, as offset and length: the last fault, counters, registers, the copied
 * structures, the scratch words, the batch.
 */
export const DEAD_VCPU_WORDS: readonly (readonly [number, number])[] = Object.freeze([
  [11, 4],
  [17, 10],
  [30, 15],
  [48, 48],
  [112, 2],
  [192, 192],
] as const);
