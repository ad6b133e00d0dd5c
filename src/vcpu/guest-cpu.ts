/**
 * The processor as guest code sees it: memory through the MMU, two privilege roots, one gate into the hypervisor.
 *
 * This file is the interface only; guests and tape replay import it and nothing else of this room.
 * Invariant: guest code reaches emulated memory by no other way than these methods.
 * Source: DESIGN decision 6; [X36], [X66], [X67]; xen/include/public/arch-x86/xen.h.
 *
 * Values are two words. A 64-bit read answers the low word; the high word is `hi64()` of sync/primitives, read at once,
 * before the next primitive or method. A `Va` is the 48 bits that translate (`makeVa`, `canonicalVa`).
 *
 * An access that is refused becomes a page fault: first Xen looks whether it is a store to a read-only mapping of a typed
 * L1 and emulates it ([X36]); else the guest's `pageFault` handler runs, in kernel mode, on the kernel root. `true`: the
 * access is made again. `false`: the kernel gave it up (its exception table had an entry): the access has no effect,
 * answers 0, and `faulted()` is true once.
 *
 * Every access is a place where the vCPU may be paused, killed or made to flush its TLB. A vCPU that is killed leaves by
 * an exception that guest code must not stop: no `finally` and no `catch` around these calls. What the guest held stays
 * held, as on a processor that is switched off.
 */
import type { Va } from '../abi/frames.js';
import type { Cpu } from '../sync/actor.js';
import type { Steps } from '../sync/steps.js';

export interface GuestCpu {
  /** Address of this vCPU's record: the `cpu` argument of primitives and locks. */
  readonly cpu: Cpu;

  /** The 64-bit word at `va`: answers its low half, `hi64()` its high half. Untorn when aligned to 8. */
  load(va: Va): Steps<number>;
  load32(va: Va): Steps<number>;
  /** Zero-extended. */
  load16(va: Va): Steps<number>;
  load8(va: Va): Steps<number>;
  store(va: Va, lo: number, hi: number): Steps<void>;
  store32(va: Va, value: number): Steps<void>;
  store16(va: Va, value: number): Steps<void>;
  store8(va: Va, value: number): Steps<void>;

  /** Locked compare-exchange of an aligned word; 1 when it took place, 0 when the word differed (or the access faulted). */
  cmpxchg(va: Va, oldLo: number, oldHi: number, lo: number, hi: number): Steps<number>;
  cmpxchg32(va: Va, old: number, next: number): Steps<number>;
  cmpxchg16(va: Va, old: number, next: number): Steps<number>;
  /** Locked exchange of an aligned 64-bit word; answers the old low half, `hi64()` the high half. */
  xchg(va: Va, lo: number, hi: number): Steps<number>;

  /** Zeroes the page at `va` (page aligned), in one point. */
  clearPage(va: Va): Steps<void>;
  /** Copies the page at `from` to the page at `to` (both page aligned). */
  copyPage(to: Va, from: Va): Steps<void>;
  /** Copies `n` 32-bit words from `va` (4-aligned) to the shared-memory address `to`; false: refused, then `faulted()`. */
  loadWords(to: number, va: Va, n: number): Steps<boolean>;
  /** Copies `n` 32-bit words from the shared-memory address `from` to `va` (4-aligned); false: refused. */
  storeWords(va: Va, from: number, n: number): Steps<boolean>;
  /** Fetches an instruction at `va`: like a load, but a no-execute entry refuses. */
  fetch(va: Va): Steps<void>;

  /** Whether the last refused access was given up by the page fault handler; asking clears it. */
  faulted(): boolean;

  /**
   * Puts argument `i` (0 to 5: rdi rsi rdx r10 r8 r9) of the next hypercall in its register; last before the call, for a
   * trap in between may use the same registers.
   */
  arg(i: number, lo: number, hi: number): void;
  /** The same with a guest address, sign extended. */
  argVa(i: number, va: Va): void;
  /** Makes hypercall `nr`; answers the low half of rax (0, a count or -errno), `resultHi()` its high half. */
  hypercall(nr: number): Steps<number>;
  resultHi(): number;

  /** Where trap frames go, and an address in the kernel's text: from then on both must be mapped in the kernel root. */
  setKernel(stackTop: Va, text: Va): void;
  /** From kernel mode to user mode, as HYPERVISOR_iret does: user root, the kernel's TLB entries die. */
  toUser(): Steps<void>;
  /** From user mode to kernel mode, as a system call does: kernel root, a frame on the kernel's stack. */
  toKernel(): Steps<void>;
  /** Whether the vCPU is in user mode. */
  userMode(): boolean;

  /**
   * Interrupts: while masked (evtchn_upcall_mask), `event` and `ipi` stay pending. The handlers run masked. Unmasking
   * delivers at once what is pending.
   */
  maskEvents(): void;
  unmaskEvents(): Steps<void>;
  eventsMasked(): boolean;

  /** A place between two instructions where interrupts arrive: serves requests, runs the handlers. For loop back-edges. */
  poll(): Steps<void>;
  /** One turn of a busy wait: serves requests as `poll`, then sleeps until the word at `a` is not `seen`, or a bounded while. */
  relax(a: number, seen: number): Steps<void>;
  /** Takes a guest lock as a kernel with interrupts on: while it is held by another, interrupts are served. */
  lock(a: number, rank: number): Steps<void>;
  /** A trace point of the guest's: the two words (abi/marks.ts) go to the vCPU's trace, if there is one. */
  mark(a: number, b: number): void;
  /** Sends an inter-processor interrupt to another vCPU of this domain: its `ipi` handler runs at its next poll. */
  sendIpi(target: Cpu): Steps<void>;
}

/** What a guest kernel installs with its trap table and callbacks. All run in kernel mode; none may be left out. */
export interface GuestHandlers {
  /** #PF at `va` with `error` (PFEC_*). Answers true: handled, try again; false: fixed up, the access is given up. */
  pageFault(g: GuestCpu, va: Va, error: number): Steps<boolean>;
  /** #GP, as a debug hypervisor injects it ([X61]). */
  generalProtection(g: GuestCpu, error: number): Steps<void>;
  /** Event channel upcall; the pending flag is already cleared, the channels' bits are not. */
  event(g: GuestCpu): Steps<void>;
  /** Inter-processor interrupt; what it asks is in guest memory or records. */
  ipi(g: GuestCpu): Steps<void>;
}

/** What the runner of a vCPU does with it, beside what the guest does. */
export interface Vcpu extends GuestCpu {
  /** Enters guest mode: before the guest's first instruction, and after `park`. Waits while the vCPU is paused. */
  start(): Steps<void>;
  /** Leaves guest mode for a while: nobody waits for this vCPU's TLB or answer until `start` (several vCPUs, one thread). */
  park(): Steps<void>;
  /** The guest has ended: the vCPU is off. */
  halt(): Steps<void>;
}
