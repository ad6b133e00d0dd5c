/**
 * The base the MMU walks from: kernel and user page-table roots of a 64-bit PV guest.
 *
 * Invariant: vcpu.cr3 equals guestTable in kernel mode and guestTableUser in user mode while guest code runs.
 * Lock: none; the vCPU's own words.
 * Source: xen/arch/x86/pv/domain.c (toggle_guest_mode, _toggle_guest_pt), arch/x86/mm.c (write_ptbase, make_cr3); [X33].
 */
import type { Cpu } from '../sync/actor.js';
import { peek, poke } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { vcpu } from './cpu-record.js';
import { tlbDropLocal, tlbFlushLocal } from './tlb.js';

function updateCr3(cpu: Cpu): void {
  poke(vcpu.cr3(cpu), peek(peek(vcpu.kernelMode(cpu)) !== 0 ? vcpu.guestTable(cpu) : vcpu.guestTableUser(cpu)));
}

/** Loads the base of the current mode, flushing everything (write_ptbase): after guestTable has changed. */
export function* writePtbase(cpu: Cpu): Steps<void> {
  updateCr3(cpu);
  yield* tlbFlushLocal(cpu);
}

/** Changes between guest kernel and guest user mode: global entries stay, and the flush clock does not tick. */
export function* toggleGuestMode(cpu: Cpu): Steps<void> {
  poke(vcpu.kernelMode(cpu), peek(vcpu.kernelMode(cpu)) === 0 ? 1 : 0);
  updateCr3(cpu);
  yield* tlbDropLocal(cpu);
}
