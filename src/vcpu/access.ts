/**
 * Guest accesses that missed the TLB or were refused: walk, page fault, trap-and-emulate.
 *
 * Invariant: between the translation and the access that uses it the vCPU serves nothing, so a flush that another CPU waits
 * for falls before or after both.
 * Lock: none.
 * Source: xen/arch/x86/traps.c (do_page_fault, fixup_page_fault), pv/ro-page-fault.c; [X36].
 */
import { PFEC_insn_fetch, PFEC_page_present, PFEC_reserved_bit, PFEC_write_access } from '../abi/trap.js';
import type { Va } from '../abi/frames.js';
import { ptwrEmulate, PTWR_DONE, PTWR_UNHANDLED } from '../hypervisor/ptwr.js';
import { vcpu } from '../machine/cpu-record.js';
import { ACCESS_WRITE, translate } from '../machine/tlb.js';
import type { Cpu } from '../sync/actor.js';
import { peek, poke } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { EVENT } from '../trace/events.js';
import { trace } from '../trace/ring.js';
import { enterHypervisor, serveUrgent } from './border.js';
import type { GuestCpu, GuestHandlers } from './guest-cpu.js';
import { popTrap, pushTrap, resumeGuest } from './trap.js';

/** Instead of an address: nothing was accessed, the fault handler gave it up. */
export const GIVEN_UP = -1;
/** The hypervisor made the store. */
export const EMULATED = -2;
/** The hypervisor made the comparison of a compare-exchange, and it failed. */
export const DIFFERENT = -3;

/** A store as the emulator must know it: size in bytes, value, and the value compared with when `exchange`. */
export interface StoreOp {
  readonly bytes: number;
  readonly lo: number;
  readonly hi: number;
  readonly exchange: boolean;
  readonly oldLo: number;
  readonly oldHi: number;
}

/** The address for a read or a fetch at `va`, through as many page faults as the guest answers; or GIVEN_UP. */
export function* resolveRead(g: GuestCpu, handlers: GuestHandlers, va: Va, access: number): Steps<number> {
  yield* serveUrgent(g.cpu);
  const w = yield* translate(g.cpu, va, access);
  return w >= 0 ? w : yield* refusedRead(g, handlers, va, access);
}

/** After a translation that was refused: the address, in the end; or GIVEN_UP. */
export function* refusedRead(g: GuestCpu, handlers: GuestHandlers, va: Va, access: number): Steps<number> {
  for (;;) {
    const error = peek(vcpu.errorCode(g.cpu));
    yield* enterHypervisor(g.cpu);
    if (!(yield* deliverFault(g, handlers, va, error))) return GIVEN_UP;
    yield* serveUrgent(g.cpu);
    const w = yield* translate(g.cpu, va, access);
    if (w >= 0) return w;
  }
}

/** The address for a store at `va` if no more than a walk is needed; -1: refused, go on with `refusedWrite`. */
export function* walkWrite(cpu: Cpu, va: Va): Steps<number> {
  yield* serveUrgent(cpu);
  return yield* translate(cpu, va, ACCESS_WRITE);
}

/** After -1 from `walkWrite`: the address for the store `op` at `va`, in the end; or EMULATED, DIFFERENT, GIVEN_UP. */
export function* refusedWrite(g: GuestCpu, handlers: GuestHandlers, va: Va, op: StoreOp): Steps<number> {
  for (;;) {
    const error = peek(vcpu.errorCode(g.cpu));
    yield* enterHypervisor(g.cpu);
    const done = op.bytes <= 8 && mayEmulate(g.cpu, error) ? yield* emulate(g.cpu, va, op) : GIVEN_UP;
    if (done !== GIVEN_UP) return done;
    if (!(yield* deliverFault(g, handlers, va, error))) return GIVEN_UP;
    const w = yield* walkWrite(g.cpu, va);
    if (w >= 0) return w;
  }
}

/** Only kernel stores refused by a present entry ([X36], fixup_page_fault). */
const mayEmulate = (cpu: Cpu, error: number): boolean =>
  peek(vcpu.kernelMode(cpu)) !== 0 &&
  (error & (PFEC_page_present | PFEC_write_access | PFEC_reserved_bit | PFEC_insn_fetch)) ===
    (PFEC_page_present | PFEC_write_access);

function* emulate(cpu: Cpu, va: Va, op: StoreOp): Steps<number> {
  const r = yield* ptwrEmulate(cpu, va, op.bytes, op.lo, op.hi, op.exchange, op.oldLo, op.oldHi);
  if (r === PTWR_UNHANDLED) return GIVEN_UP;
  yield* resumeGuest(cpu);
  return r === PTWR_DONE ? EMULATED : DIFFERENT;
}

/** Runs the guest's #PF handler; called in hypervisor mode, comes back in guest mode. Answers whether to try again. */
function* deliverFault(g: GuestCpu, handlers: GuestHandlers, va: Va, error: number): Steps<boolean> {
  const { cpu } = g;
  poke(vcpu.nFaults(cpu), peek(vcpu.nFaults(cpu)) + 1);
  trace(cpu, EVENT.pageFault, va | 0, error);
  const fromUser = yield* pushTrap(cpu, error);
  const again = yield* handlers.pageFault(g, va, error);
  yield* popTrap(cpu, fromUser);
  if (!again) poke(vcpu.faulted(cpu), 1);
  return again;
}
