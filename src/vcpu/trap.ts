/**
 * Trap delivery: from wherever the guest is to its kernel, by way of a frame on the kernel's stack.
 *
 * Invariant: the kernel runs only on a root that maps its stack (writable) and its text; else the domain is crashed.
 * Lock: none.
 * Source: xen/arch/x86/pv/traps.c (pv_inject_event), x86_64/entry.S (create_bounce_frame); DESIGN decision 6.
 * Differs: the frame is eight words wherever the trap came from; nested traps go below one another from the stack's top.
 */
import { canonicalVa, type Va } from '../abi/frames.js';
import { CRASH_KERNEL_MAPPING_LOST, CRASH_UNHANDLED_FAULT, currentDomain, domainCrash } from '../hypervisor/domain.js';
import { toggleGuestMode } from '../machine/base.js';
import { vcpu } from '../machine/cpu-record.js';
import { beginAccess, endAccess } from '../machine/flush.js';
import { ACCESS_EXEC, ACCESS_WRITE, translate } from '../machine/tlb.js';
import type { Cpu } from '../sync/actor.js';
import { peek, poke, touch } from '../sync/primitives.js';
import { POINT_WRITE } from '../sync/schedule.js';
import type { Steps } from '../sync/steps.js';
import { enterGuest, enterHypervisor, stopVcpu } from './border.js';

const FRAME_BYTES = 64;
const FRAME_WORDS = 16;
const FLAT_CS = 0xe033;
const FLAT_SS = 0xe02b;
const EFLAGS_IF = 0x200;

/** The vCPU's domain did something it cannot survive. */
export function* crashSelf(cpu: Cpu, site: number): Steps<never> {
  const d = currentDomain(cpu);
  if (d !== 0) yield* domainCrash(cpu, d, site);
  return yield* stopVcpu(cpu);
}

/** Back into guest mode; a kernel must be able to fetch its next instruction. */
export function* resumeGuest(cpu: Cpu): Steps<void> {
  yield* enterGuest(cpu);
  if (peek(vcpu.kernelMode(cpu)) === 0) return;
  const text = wordsVa(peek(vcpu.kernelTextLo(cpu)), peek(vcpu.kernelTextHi(cpu)));
  if (text === 0 || (yield* translate(cpu, text, ACCESS_EXEC)) >= 0) return;
  yield* crashSelf(cpu, CRASH_KERNEL_MAPPING_LOST);
}

/**
 * Enters the kernel for a trap: switches to its root if the guest was in user mode, pushes the frame.
 * To be called in hypervisor mode; afterwards the guest runs in kernel mode. Answers whether it came from user mode.
 */
export function* pushTrap(cpu: Cpu, errorCode: number): Steps<boolean> {
  const fromUser = peek(vcpu.kernelMode(cpu)) === 0;
  if (fromUser) yield* toggleGuestMode(cpu);
  yield* pushFrame(cpu, errorCode, fromUser);
  yield* resumeGuest(cpu);
  return fromUser;
}

/** Returns from a trap to where it came from: within the kernel that is no matter of the hypervisor. */
export function* popTrap(cpu: Cpu, toUser: boolean): Steps<void> {
  poke(vcpu.trapDepth(cpu), peek(vcpu.trapDepth(cpu)) - 1);
  if (!toUser) return;
  yield* enterHypervisor(cpu);
  yield* switchToUser(cpu);
  yield* resumeGuest(cpu);
}

/** The mode switch of an iret to user mode; to be called in hypervisor mode. */
export function* switchToUser(cpu: Cpu): Steps<void> {
  if (peek(vcpu.guestTableUser(cpu)) === 0) yield* crashSelf(cpu, CRASH_UNHANDLED_FAULT);
  yield* toggleGuestMode(cpu);
}

function* pushFrame(cpu: Cpu, errorCode: number, fromUser: boolean): Steps<void> {
  const depth = peek(vcpu.trapDepth(cpu)) + 1;
  poke(vcpu.trapDepth(cpu), depth);
  const stack = wordsVa(peek(vcpu.kernelSpLo(cpu)), peek(vcpu.kernelSpHi(cpu)));
  if (stack === 0) return;
  const sp = (stack - depth * FRAME_BYTES) as Va;
  yield* beginAccess(cpu);
  const w = yield* translate(cpu, sp, ACCESS_WRITE);
  if (w >= 0) {
    yield* touch(w, FRAME_WORDS, POINT_WRITE);
    writeFrame(cpu, w, errorCode, fromUser);
  }
  yield* endAccess(cpu);
  if (w < 0) yield* crashSelf(cpu, CRASH_KERNEL_MAPPING_LOST);
}

/** rcx, r11, error code, rip, cs, rflags, rsp, ss, each a 64-bit word. */
function writeFrame(cpu: Cpu, w: number, errorCode: number, fromUser: boolean): void {
  for (let i = 0; i < FRAME_WORDS; i++) poke(w + i, 0);
  poke(w + 4, errorCode);
  poke(w + 6, peek(vcpu.kernelTextLo(cpu)));
  poke(w + 7, peek(vcpu.kernelTextHi(cpu)));
  poke(w + 8, fromUser ? FLAT_CS : FLAT_CS & ~3);
  poke(w + 10, EFLAGS_IF);
  poke(w + 12, peek(vcpu.kernelSpLo(cpu)));
  poke(w + 13, peek(vcpu.kernelSpHi(cpu)));
  poke(w + 14, FLAT_SS);
}

/** A Va kept as two words; 0 when none was given. */
const wordsVa = (lo: number, hi: number): Va => canonicalVa(lo, hi);
