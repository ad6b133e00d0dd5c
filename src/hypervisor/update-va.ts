/**
 * HYPERVISOR_update_va_mapping and its _otherdomain form: one L1 entry, named by the address it maps.
 *
 * Invariant: an error before the store changes nothing and flushes nothing; a bad vCPU bitmap is found after the store.
 * Lock: the L1's page lock for the change.
 * Source: __do_update_va_mapping, vcpumask_to_pcpumask, xen/arch/x86/mm.c; [X35].
 */
import { EFAULT, EINVAL, EPERM, ERESTART, ESRCH } from '../abi/errno.js';
import { canonicalVa } from '../abi/frames.js';
import { HYPERVISOR_update_va_mapping, HYPERVISOR_update_va_mapping_otherdomain } from '../abi/hypercall.js';
import {
  MMU_NORMAL_PT_UPDATE,
  UVMF_ALL,
  UVMF_FLUSHTYPE_MASK,
  UVMF_INVLPG,
  UVMF_LOCAL,
  UVMF_TLB_FLUSH,
} from '../abi/mmu.js';
import { faultHit } from '../fault/plan.js';
import { SITE } from '../fault/sites.js';
import { vcpu } from '../machine/cpu-record.js';
import { maskHi, maskLo, flushMask } from '../machine/flush.js';
import { PGT_l1_page_table, PGT_type_mask, typeInfo } from '../machine/frame.js';
import { invlpgLocal, tlbFlushLocal } from '../machine/tlb.js';
import type { Cpu } from '../sync/actor.js';
import { ldOnce, peek, poke } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { TWIN, twin } from './twins.js';
import { addrOk, copyFromGuest, guestPointer } from './copy.js';
import { currentDomain, domidOf, getPgOwner, mayTarget, vcpuCountOf, vcpuOf, type DomainRef } from './domain.js';
import { dirtyHi, dirtyLo } from './flush.js';
import { guestMapL1e, modL1Entry, slotMfn } from './l1e.js';
import { getPage, pageLock, pageUnlock, putPage } from './page.js';
import { argHi, argLo, createContinuation } from './preempt.js';

/** rdi address, rsi entry, rdx flags. */
export function* doUpdateVaMapping(cpu: Cpu): Steps<number> {
  const rc = yield* updateVa(cpu, currentDomain(cpu));
  return rc === -ERESTART ? createContinuation(cpu, HYPERVISOR_update_va_mapping) : rc;
}

/** The same with r10 naming the frame's owner. */
export function* doUpdateVaMappingOtherdomain(cpu: Cpu): Steps<number> {
  const pgOwner = yield* getPgOwner(cpu, argLo(cpu, 3) & 0xffff);
  if (pgOwner === 0) return -ESRCH;
  const rc = yield* updateVa(cpu, pgOwner);
  return rc === -ERESTART ? createContinuation(cpu, HYPERVISOR_update_va_mapping_otherdomain) : rc;
}

function* updateVa(cpu: Cpu, pgOwner: DomainRef): Steps<number> {
  if (!mayTarget(cpu, pgOwner)) return -EPERM;
  const fault = faultHit(cpu, SITE.update_va_mapping, -1, -1, argLo(cpu, 1) >>> 12);
  if (fault !== 0) return fault;
  const slot = yield* guestMapL1e(cpu, guestPointer(cpu, 0));
  if (slot === 0) return -EINVAL;
  const l1 = slotMfn(slot);
  const d = currentDomain(cpu);
  if (!(yield* getPage(cpu, l1, domidOf(d)))) return -EINVAL;
  let rc = -EINVAL;
  if (yield* pageLock(cpu, l1)) {
    const type = yield* ldOnce(typeInfo(l1)); // counts race, the type is held by the lock
    if ((type & PGT_type_mask) === PGT_l1_page_table) {
      const at = twin(TWIN['xsa-286']) ? remembered(cpu, slot) : slot;
      rc = yield* modL1Entry(cpu, at, argLo(cpu, 1), argHi(cpu, 1), MMU_NORMAL_PT_UPDATE, d, pgOwner);
    }
    yield* pageUnlock(cpu, l1);
  }
  yield* putPage(cpu, l1);
  return rc === 0 ? yield* flushAfter(cpu, d) : rc;
}

/** The twin xsa-286: the entry that the address showed when this CPU asked last, unless its TLB was flushed since. */
function remembered(cpu: Cpu, slot: number): number {
  const generation = peek(vcpu.tlbGeneration(cpu));
  const known = peek(vcpu.twinSlot(cpu)) !== 0 && peek(vcpu.twinGeneration(cpu)) === generation;
  if (!known || peek(vcpu.twinVa(cpu)) !== argLo(cpu, 0)) {
    poke(vcpu.twinVa(cpu), argLo(cpu, 0));
    poke(vcpu.twinGeneration(cpu), generation);
    poke(vcpu.twinSlot(cpu), slot);
  }
  return peek(vcpu.twinSlot(cpu));
}

/** What the flags ask for: nothing, a flush or an INVLPG; here, on all vCPUs, or on those of a bitmap. */
function* flushAfter(cpu: Cpu, d: DomainRef): Steps<number> {
  const flags = argLo(cpu, 2);
  const kind = flags & UVMF_FLUSHTYPE_MASK;
  if (kind !== UVMF_TLB_FLUSH && kind !== UVMF_INVLPG) return 0;
  const where = flags & ~UVMF_FLUSHTYPE_MASK;
  if (where === UVMF_LOCAL && argHi(cpu, 2) === 0) {
    if (kind === UVMF_TLB_FLUSH) yield* tlbFlushLocal(cpu);
    else invlpg(cpu, argLo(cpu, 0), argHi(cpu, 0));
    return 0;
  }
  let lo = dirtyLo(d);
  let hi = dirtyHi(d);
  if (where !== UVMF_ALL || argHi(cpu, 2) !== 0) {
    if (!(yield* readVcpuMask(cpu, d, where, argHi(cpu, 2)))) return -EFAULT;
    lo = peek(vcpu.copied(cpu) + CPUS_LO);
    hi = peek(vcpu.copied(cpu) + CPUS_HI);
  }
  yield* flushOn(cpu, lo, hi, kind === UVMF_INVLPG, argLo(cpu, 0), argHi(cpu, 0));
  return 0;
}

/** INVLPG on this vCPU; an address that is Xen's or not canonical is ignored. */
export function invlpg(cpu: Cpu, lo: number, hi: number): void {
  const va = canonicalVa(lo, hi);
  if (addrOk(va)) invlpgLocal(cpu, va);
}

/** Flushes the CPUs of a set; one page of this one, if one page is enough (others drop everything, which is more). */
export function* flushOn(cpu: Cpu, lo: number, hi: number, page: boolean, vaLo: number, vaHi: number): Steps<void> {
  const selfLo = page ? maskLo(cpu) : 0;
  const selfHi = page ? maskHi(cpu) : 0;
  if ((lo & selfLo) !== 0 || (hi & selfHi) !== 0) invlpg(cpu, vaLo, vaHi);
  yield* flushMask(cpu, lo & ~selfLo, hi & ~selfHi);
}

/** Where readVcpuMask leaves its answer, within vcpu.copied. */
export const CPUS_LO = 18;
export const CPUS_HI = 19;
const BITMAP = 16;

/** Reads a bitmap of the domain's vCPUs and turns it into a set of CPUs; false: unreadable. */
export function* readVcpuMask(cpu: Cpu, d: DomainRef, vaLo: number, vaHi: number): Steps<boolean> {
  const copied = vcpu.copied(cpu);
  if (!(yield* copyFromGuest(cpu, vaLo, vaHi, copied + BITMAP, 2))) return false;
  let lo = 0;
  let hi = 0;
  for (let i = 0; i < vcpuCountOf(d); i++) {
    if (((peek(copied + BITMAP + (i >> 5)) >>> (i & 31)) & 1) === 0) continue;
    lo |= maskLo(vcpuOf(d, i));
    hi |= maskHi(vcpuOf(d, i));
  }
  poke(copied + CPUS_LO, lo);
  poke(copied + CPUS_HI, hi);
  return true;
}
