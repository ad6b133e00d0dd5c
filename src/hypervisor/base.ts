/**
 * Base pointers of vCPUs, and the table a vCPU has to finish first.
 *
 * Invariant: each base holds a type and a general reference on its L4; at most one old_guest_table per vCPU, with the
 * references its two flags say ([X15]).
 * Lock: none; the vCPU's own words (a destroyer's after the vCPU stopped for good).
 * Differs: an attempt on a partial table that changed nothing (-EINTR) leaves it marked partial, where Xen takes its
 * reference for a full one from then on.
 * Source: put_old_guest_table, new_guest_cr3, vcpu_destroy_pagetables, xen/arch/x86/mm.c; [X15], [X33].
 */
import { EINTR, EPERM, ERESTART } from '../abi/errno.js';
import type { Mfn } from '../abi/frames.js';
import { writePtbase } from '../machine/base.js';
import { vcpu } from '../machine/cpu-record.js';
import { mfnValid, PGT_l4_page_table } from '../machine/frame.js';
import type { Cpu } from '../sync/actor.js';
import { peek, poke } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { EVENT } from '../trace/events.js';
import { trace } from '../trace/ring.js';
import { currentDomain, domain, domidOf } from './domain.js';
import { PTF_partial_set, PTF_preemptible, putPage, putPageAndTypePreemptible, putPageTypeFlags } from './page.js';
import { getPageAndTypeFromMfn } from './upper.js';
import { fillRoMpt, zapRoMpt } from './xen-slots.js';

const NO_TABLE = -1 as Mfn;

/** A guest's frame number as an mfn, negative when there is no such frame. */
export const toMfn = (lo: number, hi: number): Mfn => (mfnValid(lo, hi) ? (lo as Mfn) : NO_TABLE);

/** Finishes the vCPU's old_guest_table: 0 when there is none any more, else -ERESTART. `v` is `cpu` or stopped. */
export function* putOldGuestTable(cpu: Cpu, v: Cpu): Steps<number> {
  const table = (peek(vcpu.oldGuestTable(v)) - 1) as Mfn;
  if (table < 0) return 0;
  const partial = peek(vcpu.oldGuestTablePartial(v)) !== 0;
  const rc = yield* putPageTypeFlags(cpu, table, PTF_preemptible | (partial ? PTF_partial_set : 0), NO_TABLE);
  if (rc !== 0) {
    if (rc === -ERESTART) poke(vcpu.oldGuestTablePartial(v), 1);
    return -ERESTART;
  }
  yield* putPage(cpu, table);
  poke(vcpu.oldGuestTable(v), 0);
  poke(vcpu.oldGuestTablePartial(v), 1);
  return 0;
}

/** Drops a base's references; what is left of an interrupted drop becomes old_guest_table of `v`. 0 or -ERESTART. */
export function* putBase(cpu: Cpu, v: Cpu, table: Mfn): Steps<number> {
  const rc = yield* putPageAndTypePreemptible(cpu, table);
  if (rc === 0) return 0;
  poke(vcpu.oldGuestTable(v), table + 1);
  poke(vcpu.oldGuestTablePartial(v), rc === -ERESTART ? 1 : 0);
  return -ERESTART;
}

function* getBase(cpu: Cpu, mfn: Mfn): Steps<number> {
  const d = currentDomain(cpu);
  const rc = yield* getPageAndTypeFromMfn(cpu, mfn, PGT_l4_page_table, domidOf(d), PTF_preemptible);
  return rc === -EINTR ? -ERESTART : rc;
}

/** Makes the frame this vCPU's kernel base. 0, -errno or -ERESTART. */
export function* newGuestCr3(cpu: Cpu, lo: number, hi: number): Steps<number> {
  const d = currentDomain(cpu);
  if (d === 0) return -EPERM;
  const finished = yield* putOldGuestTable(cpu, cpu);
  if (finished !== 0) return finished;
  const old = peek(vcpu.guestTable(cpu));
  const mfn = toMfn(lo, hi);
  if (old !== 0 && old === mfn + 1) {
    yield* writePtbase(cpu);
    return 0;
  }
  const rc = yield* getBase(cpu, mfn);
  if (rc !== 0) return rc;
  if (peek(domain.m2pStrict(d)) === 0) yield* fillRoMpt(mfn);
  poke(vcpu.guestTable(cpu), mfn + 1);
  yield* writePtbase(cpu);
  trace(cpu, EVENT.setBase, mfn, 0);
  return old === 0 ? 0 : yield* putBase(cpu, cpu, (old - 1) as Mfn);
}

/** Makes the frame this vCPU's user base; 0 takes it away. 0, -errno or -ERESTART. */
export function* newGuestUserBase(cpu: Cpu, lo: number, hi: number): Steps<number> {
  const d = currentDomain(cpu);
  if (d === 0) return -EPERM;
  const none = (lo | hi) === 0;
  const mfn = toMfn(lo, hi);
  const old = peek(vcpu.guestTableUser(cpu));
  if (none ? old === 0 : mfn >= 0 && old === mfn + 1) return 0;
  if (!none) {
    const rc = yield* getBase(cpu, mfn);
    if (rc !== 0) return rc;
    if (peek(domain.m2pStrict(d)) !== 0) yield* zapRoMpt(mfn);
  }
  poke(vcpu.guestTableUser(cpu), none ? 0 : mfn + 1);
  trace(cpu, EVENT.setBase, none ? 0 : mfn, 1);
  return old === 0 ? 0 : yield* putBase(cpu, cpu, (old - 1) as Mfn);
}

/** Drops what a stopped vCPU of a dying domain holds: old table, kernel base, user base. 0 or -ERESTART. */
export function* vcpuDestroyPagetables(cpu: Cpu, v: Cpu): Steps<number> {
  const rc = yield* putOldGuestTable(cpu, v);
  if (rc !== 0) return rc;
  poke(vcpu.cr3(v), 0);
  for (const field of [vcpu.guestTable(v), vcpu.guestTableUser(v)]) {
    const base = peek(field);
    if (base === 0) continue;
    poke(field, 0);
    const put = yield* putBase(cpu, v, (base - 1) as Mfn);
    if (put !== 0) return put;
  }
  return 0;
}
