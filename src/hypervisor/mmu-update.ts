/**
 * HYPERVISOR_mmu_update: checked updates of page-table entries of any level, raw stores to untyped frames, M2P updates.
 *
 * Invariant: requests before the failing one are done, later ones are not; `*pdone` counts them over continuations.
 * Lock: per request the table's page lock.
 * Source: do_mmu_update, xen/arch/x86/mm.c; [X19]-[X30].
 */
import { EFAULT, EINTR, EINVAL, ENOSYS, EPERM, ERESTART, ESRCH } from '../abi/errno.js';
import { mfnWord, type Mfn, type Va } from '../abi/frames.js';
import { HYPERVISOR_mmu_update } from '../abi/hypercall.js';
import {
  MMU_MACHPHYS_UPDATE,
  MMU_PT_UPDATE_NO_TRANSLATE,
  MMU_PT_UPDATE_PRESERVE_AD,
  MMU_UPDATE_PREEMPTED,
  MMU_UPDATE_WORDS,
} from '../abi/mmu.js';
import { faultHit } from '../fault/plan.js';
import { SITE } from '../fault/sites.js';
import { vcpu } from '../machine/cpu-record.js';
import {
  mfnValid,
  PGT_l1_page_table,
  PGT_l4_page_table,
  PGT_type_mask,
  PGT_writable_page,
  typeInfo,
  typeLevel,
} from '../machine/frame.js';
import type { Cpu } from '../sync/actor.js';
import { ldOnce, peek, poke, st64 } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { putOldGuestTable } from './base.js';
import { continueAfter, doneBefore, finishLater, isFinishing, reportDone } from './batch.js';
import { addrOk, copyFromVa, guestPointer, isNull } from './copy.js';
import {
  currentDomain,
  DOM_IO,
  domidOf,
  findDomain,
  getPgOwner,
  mayTarget,
  vcpuCountOf,
  type DomainRef,
} from './domain.js';
import { flushDomain } from './flush.js';
import { modL1Entry } from './l1e.js';
import { setM2p } from './m2p.js';
import { getPage, getPageType, pageLock, pageUnlock, putPage, putPageType } from './page.js';
import { argLo, createContinuation, hypercallPreemptCheck } from './preempt.js';
import { updateRun } from './update-run.js';
import { modUpperEntry } from './upper.js';
import { TWIN, twin } from './twins.js';

/** Where one request is copied to, and the word through which `done` goes to the guest. */
const request = (cpu: Cpu): number => vcpu.copied(cpu);

/** rdi requests, rsi count, rdx pdone, r10 foreigndom. */
export function* doMmuUpdate(cpu: Cpu): Steps<number> {
  const rc = yield* putOldGuestTable(cpu, cpu);
  if (rc !== 0) return createContinuation(cpu, HYPERVISOR_mmu_update);
  if (isFinishing(cpu)) return argLo(cpu, 3);
  const done = yield* doneBefore(cpu);
  if (!addrOk(guestPointer(cpu, 0))) return -EFAULT;
  const foreigndom = argLo(cpu, 3);
  let ptOwner = currentDomain(cpu);
  if (foreigndom >>> 16 !== 0) {
    ptOwner = yield* findDomain((foreigndom >>> 16) - 1);
    if (ptOwner === 0) return -ESRCH;
  }
  const pdone = guestPointer(cpu, 2);
  const isNone = isNull(cpu, 2);
  let answer = -EINVAL;
  let i = 0;
  if (ptOwner !== 0 && (ptOwner === currentDomain(cpu) || vcpuCountOf(ptOwner) > 0)) {
    const pgOwner = yield* getPgOwner(cpu, foreigndom & 0xffff);
    if (pgOwner === 0) {
      answer = -ESRCH;
    } else {
      answer = yield* updates(cpu, ptOwner, pgOwner);
      i = peek(vcpu.copied(cpu) + COUNT);
    }
  }
  yield* reportDone(cpu, pdone, isNone, done + i);
  return answer;
}

/** Requests done by `updates`, and whether an upper level changed. */
const COUNT = 9;
const FLUSH = 10;

/** The requests one by one; answers the call's result, having asked for the continuation it needs. */
function* updates(cpu: Cpu, ptOwner: DomainRef, pgOwner: DomainRef): Steps<number> {
  const count = argLo(cpu, 1) & ~MMU_UPDATE_PREEMPTED;
  const base = guestPointer(cpu, 0);
  let rc = 0;
  let i = 0;
  poke(vcpu.copied(cpu) + FLUSH, 0);
  for (; i < count; i++) {
    if (peek(vcpu.oldGuestTable(cpu)) !== 0 || (i > 0 && (yield* hypercallPreemptCheck(cpu)))) {
      rc = -ERESTART;
      break;
    }
    const at = (base + i * MMU_UPDATE_WORDS * 4) as Va;
    const run = yield* updateRun(cpu, at, count - i, ptOwner, pgOwner);
    if (run > 0) {
      i += run - 1;
      continue;
    }
    rc = (yield* copyFromVa(cpu, at, request(cpu), MMU_UPDATE_WORDS))
      ? yield* oneUpdate(cpu, ptOwner, pgOwner)
      : -EFAULT;
    if (rc !== 0) break;
  }
  poke(vcpu.copied(cpu) + COUNT, i);
  let answer = rc;
  if (rc === -ERESTART) answer = continueAfter(cpu, HYPERVISOR_mmu_update, i, count - i, MMU_UPDATE_WORDS * 4);
  else if (peek(vcpu.oldGuestTable(cpu)) !== 0) answer = finishLater(cpu, HYPERVISOR_mmu_update, rc);
  if (peek(vcpu.copied(cpu) + FLUSH) !== 0 && !twin(TWIN['xsa-286'])) yield* flushDomain(cpu, ptOwner);
  return answer;
}

/** The request that was copied in: 0, -errno or -ERESTART. */
function* oneUpdate(cpu: Cpu, ptOwner: DomainRef, pgOwner: DomainRef): Steps<number> {
  const r = request(cpu);
  const ptrLo = peek(r);
  const ptrHi = peek(r + 1);
  const command = ptrLo & 7;
  const fault = faultHit(cpu, SITE.mmu_update, -1, -1, ptrLo >>> 12);
  if (fault !== 0) return fault;
  if (command === MMU_MACHPHYS_UPDATE) return yield* machphysUpdate(cpu, ptrLo, ptrHi, ptOwner, pgOwner);
  if (command > MMU_PT_UPDATE_NO_TRANSLATE) return -ENOSYS;
  if (pgOwner !== DOM_IO && !mayTarget(cpu, pgOwner)) return -EPERM;
  if (!mayTarget(cpu, ptOwner)) return -EPERM;
  if (!mfnValid(ptrLo >>> 12, ptrHi)) return -EINVAL;
  const mfn = (ptrLo >>> 12) as Mfn;
  if (!(yield* getPage(cpu, mfn, domidOf(ptOwner)))) return -EINVAL;
  const slot = mfnWord(mfn) + ((ptrLo & 0xff8) >> 2);
  const rc = yield* storeEntry(cpu, mfn, slot, command, ptOwner, pgOwner);
  yield* putPage(cpu, mfn);
  return rc;
}

/** By the frame's type: a checked update, a raw store, or -EINVAL ([X22]). A reference is held. */
function* storeEntry(
  cpu: Cpu,
  mfn: Mfn,
  slot: number,
  command: number,
  ptOwner: DomainRef,
  pgOwner: DomainRef,
): Steps<number> {
  const lo = peek(request(cpu) + 2);
  const hi = peek(request(cpu) + 3);
  if (twin(TWIN['pte-unlocked']) && typeLevel(yield* ldOnce(typeInfo(mfn))) === 1) {
    return yield* lockedUpdate(cpu, mfn, slot, lo, hi, command, ptOwner, pgOwner);
  }
  if (yield* pageLock(cpu, mfn)) {
    const rc = yield* lockedUpdate(cpu, mfn, slot, lo, hi, command, ptOwner, pgOwner);
    yield* pageUnlock(cpu, mfn);
    return rc === -EINTR ? -ERESTART : rc;
  }
  if ((yield* getPageType(cpu, mfn, PGT_writable_page)) !== 0) return -EINVAL;
  yield* st64(slot, lo, hi);
  yield* putPageType(cpu, mfn);
  return 0;
}

function* lockedUpdate(
  cpu: Cpu,
  mfn: Mfn,
  slot: number,
  lo: number,
  hi: number,
  command: number,
  ptOwner: DomainRef,
  pgOwner: DomainRef,
): Steps<number> {
  const type = (yield* ldOnce(typeInfo(mfn))) & PGT_type_mask; // counts race, the type is held by the lock
  if (type === PGT_l1_page_table) return yield* modL1Entry(cpu, slot, lo, hi, command, ptOwner, pgOwner);
  if (type === PGT_writable_page) {
    yield* st64(slot, lo, hi);
    return 0;
  }
  if (type > PGT_l4_page_table || pgOwner !== ptOwner) return -EINVAL;
  const preserve = command === MMU_PT_UPDATE_PRESERVE_AD;
  const rc = yield* modUpperEntry(cpu, typeLevel(type), slot, lo, hi, mfn, preserve, ptOwner);
  if (rc === 0) poke(vcpu.copied(cpu) + FLUSH, 1);
  return rc;
}

/** The value becomes the frame's machine-to-physical entry. */
function* machphysUpdate(
  cpu: Cpu,
  ptrLo: number,
  ptrHi: number,
  ptOwner: DomainRef,
  pgOwner: DomainRef,
): Steps<number> {
  if (ptOwner !== currentDomain(cpu)) return -EPERM;
  if (pgOwner !== DOM_IO && !mayTarget(cpu, pgOwner)) return -EPERM;
  if (!mfnValid(ptrLo >>> 12, ptrHi)) return -EINVAL;
  const mfn = (ptrLo >>> 12) as Mfn;
  if (!(yield* getPage(cpu, mfn, domidOf(pgOwner)))) return -EINVAL;
  yield* setM2p(mfn, peek(request(cpu) + 2), peek(request(cpu) + 3));
  yield* putPage(cpu, mfn);
  return 0;
}
