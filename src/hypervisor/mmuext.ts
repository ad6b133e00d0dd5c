/**
 * HYPERVISOR_mmuext_op: the loop over operations, and which function does each.
 *
 * Invariant: as mmu_update: operations before the failing one are done, `*pdone` counts them.
 * Lock: each operation's own.
 * Source: do_mmuext_op, xen/arch/x86/mm.c; [X31]-[X34].
 */
import { EFAULT, ENOSYS, EOPNOTSUPP, EPERM, ERESTART, ESRCH } from '../abi/errno.js';
import type { Va } from '../abi/frames.js';
import { HYPERVISOR_mmuext_op } from '../abi/hypercall.js';
import * as op from '../abi/mmu.js';
import { vcpu } from '../machine/cpu-record.js';
import { levelType } from '../machine/frame.js';
import type { Cpu } from '../sync/actor.js';
import { peek, poke } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { newGuestCr3, newGuestUserBase, putOldGuestTable } from './base.js';
import { addrOk, copyFromVa, guestPointer, isNull } from './copy.js';
import { currentDomain, getPgOwner, mayTarget, type DomainRef } from './domain.js';
import { ownOp } from './mmuext-cpu.js';
import { clearPage, copyPage, pinPage, unpinPage } from './mmuext-page.js';
import { continueAfter, doneBefore, finishLater, isFinishing, reportDone } from './batch.js';
import { argLo, createContinuation, hypercallPreemptCheck } from './preempt.js';

const BYTES = op.MMUEXT_OP_WORDS * 4;
const COUNT = 9;

/** rdi operations, rsi count, rdx pdone, r10 foreigndom. */
export function* doMmuextOp(cpu: Cpu): Steps<number> {
  const finished = yield* putOldGuestTable(cpu, cpu);
  if (finished !== 0) return createContinuation(cpu, HYPERVISOR_mmuext_op);
  if (isFinishing(cpu)) return argLo(cpu, 3);
  const done = yield* doneBefore(cpu);
  if (!addrOk(guestPointer(cpu, 0))) return -EFAULT;
  const pgOwner = yield* getPgOwner(cpu, argLo(cpu, 3));
  if (pgOwner === 0) return -ESRCH;
  if (!mayTarget(cpu, pgOwner)) return -EPERM;
  const pdone = guestPointer(cpu, 2);
  const isNone = isNull(cpu, 2);
  const rc = yield* operations(cpu, pgOwner);
  yield* reportDone(cpu, pdone, isNone, done + peek(vcpu.copied(cpu) + COUNT));
  return rc;
}

/** One by one; answers the call's result, having asked for the continuation it needs. */
function* operations(cpu: Cpu, pgOwner: DomainRef): Steps<number> {
  const count = argLo(cpu, 1) & ~op.MMU_UPDATE_PREEMPTED;
  const base = guestPointer(cpu, 0);
  let rc = 0;
  let i = 0;
  for (; i < count; i++) {
    if (peek(vcpu.oldGuestTable(cpu)) !== 0 || (i > 0 && (yield* hypercallPreemptCheck(cpu)))) {
      rc = -ERESTART;
      break;
    }
    const at = (base + i * BYTES) as Va;
    const read = yield* copyFromVa(cpu, at, vcpu.copied(cpu), op.MMUEXT_OP_WORDS);
    rc = read ? yield* oneOp(cpu, pgOwner) : -EFAULT;
    if (rc !== 0) break;
  }
  poke(vcpu.copied(cpu) + COUNT, i);
  if (rc === -ERESTART) return continueAfter(cpu, HYPERVISOR_mmuext_op, i, count - i, BYTES);
  if (peek(vcpu.oldGuestTable(cpu)) !== 0) return finishLater(cpu, HYPERVISOR_mmuext_op, rc);
  return rc;
}

/** The operation that was copied in: 0, -errno or -ERESTART. */
function* oneOp(cpu: Cpu, pgOwner: DomainRef): Steps<number> {
  const a = vcpu.copied(cpu);
  const cmd = peek(a) >>> 0;
  const lo = peek(a + op.MMUEXT_ARG1);
  const hi = peek(a + op.MMUEXT_ARG1 + 1);
  switch (cmd) {
    case op.MMUEXT_PIN_L1_TABLE:
    case op.MMUEXT_PIN_L2_TABLE:
    case op.MMUEXT_PIN_L3_TABLE:
    case op.MMUEXT_PIN_L4_TABLE:
      return yield* pinPage(cpu, pgOwner, lo, hi, levelType(cmd - op.MMUEXT_PIN_L1_TABLE + 1));
    case op.MMUEXT_UNPIN_TABLE:
      return yield* unpinPage(cpu, pgOwner, lo, hi);
    case op.MMUEXT_NEW_BASEPTR:
      return pgOwner === currentDomain(cpu) ? yield* newGuestCr3(cpu, lo, hi) : -EPERM;
    case op.MMUEXT_NEW_USER_BASEPTR:
      return pgOwner === currentDomain(cpu) ? yield* newGuestUserBase(cpu, lo, hi) : -EPERM;
    case op.MMUEXT_CLEAR_PAGE:
      return yield* clearPage(cpu, pgOwner, lo, hi);
    case op.MMUEXT_COPY_PAGE:
      return yield* copyPage(cpu, pgOwner, lo, hi, peek(a + op.MMUEXT_ARG2), peek(a + op.MMUEXT_ARG2 + 1));
    case op.MMUEXT_MARK_SUPER:
    case op.MMUEXT_UNMARK_SUPER:
      return -EOPNOTSUPP;
    default:
      if (!isCpuOp(cmd)) return -ENOSYS;
      return pgOwner === currentDomain(cpu) ? yield* ownOp(cpu, pgOwner, cmd, lo, hi) : -EPERM;
  }
}

/** Flushes and descriptor tables: for the caller's own domain only. */
const isCpuOp = (cmd: number): boolean =>
  (cmd >= op.MMUEXT_TLB_FLUSH_LOCAL && cmd <= op.MMUEXT_SET_LDT) || cmd === op.MMUEXT_FLUSH_CACHE_GLOBAL;
