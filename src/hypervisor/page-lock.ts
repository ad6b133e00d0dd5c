/**
 * The page lock: serialises entry updates of one table, or raw stores into one writable frame.
 *
 * Invariant: PGT_locked comes with one type reference, both set and cleared as one 64-bit word; one page lock per CPU.
 * Lock: it is one (rank pageLock); never put the frame's type while holding it (XSA-242).
 * Source: page_lock, page_unlock, xen/arch/x86/mm.c; [X12].
 */
import { RuleBroken } from '../abi/errors.js';
import type { Mfn } from '../abi/frames.js';
import { vcpu } from '../machine/cpu-record.js';
import { countInfo, PGT_count_mask, PGT_lock_waiters, PGT_locked, PGT_validated } from '../machine/frame.js';
import type { Cpu } from '../sync/actor.js';
import { checkOrder, popHeld, pushHeld } from '../sync/held.js';
import { RANK } from '../sync/lock-order.js';
import { BUILD, cas, cas64, hi64, ld64, peek, poke, waitChange, wake } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { TWIN, twin } from './twins.js';

/** Widened: in each build the other one's branch is dead. */
const build: string = BUILD;

/** Locks the frame against entry updates; false when it is not validated or nobody has it typed. */
export function* pageLock(cpu: Cpu, mfn: Mfn): Steps<boolean> {
  if (peek(vcpu.lockedPage(cpu)) !== 0) throw new RuleBroken('page-lock', 'a second page lock');
  const a = countInfo(mfn);
  checkOrder(cpu, a, RANK.pageLock);
  // First looked at with `peek`: a compare-exchange proves the look, and before a refusal the words are read again.
  let lo = peek(a);
  let hi = peek(a + 1);
  while ((lo & PGT_locked) !== 0 || !isLockable(hi) || (yield* cas64(a, lo, hi, lo | PGT_locked, hi + 1)) === 0) {
    lo = yield* ld64(a);
    hi = hi64();
    if ((lo & PGT_locked) !== 0) yield* waitUnlocked(cpu, mfn, lo);
    else if (!isLockable(hi)) return false;
  }
  poke(vcpu.lockedPage(cpu), mfn + 1);
  pushHeld(cpu, a, RANK.pageLock);
  return true;
}

/** Validated, and typed by somebody who may be joined. */
function isLockable(type: number): boolean {
  const count = type & PGT_count_mask;
  return (type & PGT_validated) !== 0 && count !== 0 && count !== PGT_count_mask;
}

export function* pageUnlock(cpu: Cpu, mfn: Mfn): Steps<void> {
  if (peek(vcpu.lockedPage(cpu)) !== mfn + 1)
    throw new RuleBroken('page-lock', 'unlock of a page this CPU has not locked');
  poke(vcpu.lockedPage(cpu), 0);
  const a = countInfo(mfn);
  popHeld(cpu, a);
  let lo = peek(a); // proved by the compare-exchange
  let hi = peek(a + 1);
  for (;;) {
    if ((hi & PGT_count_mask) < 2 && !twin(TWIN['xsa-242']))
      throw new RuleBroken('page-lock', 'page lock would drop the last type reference');
    if ((yield* cas64(a, lo, hi, lo & ~(PGT_locked | PGT_lock_waiters), hi - 1)) === 1) break;
    lo = yield* ld64(a);
    hi = hi64();
  }
  if ((lo & PGT_lock_waiters) !== 0) wake(a);
}

/** Waits for the lock bit in `lo`, as just read, to go; threads say that they sleep, so that unlock need not notify. */
export function* waitUnlocked(cpu: Cpu, mfn: Mfn, lo: number): Steps<void> {
  const a = countInfo(mfn);
  if (build === 'controlled') {
    yield* waitChange(cpu, a, lo);
  } else {
    const seen = lo | PGT_lock_waiters;
    if (seen === lo || (yield* cas(a, lo, seen)) === lo) yield* waitChange(cpu, a, seen);
  }
}
