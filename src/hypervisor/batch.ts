/**
 * What mmu_update and mmuext_op share: counts, `*pdone`, and the two kinds of continuation.
 *
 * Invariant: `*pdone` grows by what each part did; bit 31 of a count says that this is not the first part ([X28]).
 * Lock: none.
 * Source: do_mmu_update, do_mmuext_op, xen/arch/x86/mm.c.
 */
import type { Va } from '../abi/frames.js';
import { MMU_UPDATE_PREEMPTED } from '../abi/mmu.js';
import { vcpu } from '../machine/cpu-record.js';
import type { Cpu } from '../sync/actor.js';
import { peek, poke } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { copyFromVa, copyToVa, guestPointer, isNull } from './copy.js';
import { advanceArg, argLo, createContinuation, setArg } from './preempt.js';

/** Where `done` passes through, within vcpu.copied. */
const DONE = 8;

/** A continuation that has nothing to do but finish the old table: its foreigndom carries the call's result. */
export const isFinishing = (cpu: Cpu): boolean => argLo(cpu, 1) === MMU_UPDATE_PREEMPTED && isNull(cpu, 0);
/** Asks for such a continuation. */
export function finishLater(cpu: Cpu, op: number, rc: number): number {
  setArg(cpu, 0, 0, 0);
  setArg(cpu, 1, MMU_UPDATE_PREEMPTED, 0);
  setArg(cpu, 2, 0, 0);
  setArg(cpu, 3, rc, 0);
  return createContinuation(cpu, op);
}
/** Asks for the remaining `left` structures of `bytes` each, `did` of them being done. */
export function continueAfter(cpu: Cpu, op: number, did: number, left: number, bytes: number): number {
  advanceArg(cpu, 0, did * bytes);
  setArg(cpu, 1, left | MMU_UPDATE_PREEMPTED, 0);
  return createContinuation(cpu, op);
}

/** What earlier parts of a continued call have done, by the guest's word. */
export function* doneBefore(cpu: Cpu): Steps<number> {
  if ((argLo(cpu, 1) & MMU_UPDATE_PREEMPTED) === 0 || isNull(cpu, 2)) return 0;
  const ok = yield* copyFromVa(cpu, guestPointer(cpu, 2), vcpu.copied(cpu) + DONE, 1);
  return ok ? peek(vcpu.copied(cpu) + DONE) : 0;
}
/** Stores the number done through `pdone`, best effort. */
export function* reportDone(cpu: Cpu, pdone: Va, isNone: boolean, done: number): Steps<void> {
  if (isNone) return;
  poke(vcpu.copied(cpu) + DONE, done);
  yield* copyToVa(cpu, pdone, vcpu.copied(cpu) + DONE, 1);
}
