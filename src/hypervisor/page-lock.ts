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
  for (;;) {
    const lo = yield* ld64(a);
    const hi = hi64();
    if ((lo & PGT_locked) !== 0) {
      yield* waitUnlocked(cpu, mfn, lo);
      continue;
    }
    const count = hi & PGT_count_mask;
    if ((hi & PGT_validated) === 0 || count === 0 || count === PGT_count_mask) return false;
    if ((yield* cas64(a, lo, hi, lo | PGT_locked, hi + 1)) === 1) break;
  }
  poke(vcpu.lockedPage(cpu), mfn + 1);
  pushHeld(cpu, a, RANK.pageLock);
  return true;
}

export function* pageUnlock(cpu: Cpu, mfn: Mfn): Steps<void> {
  if (peek(vcpu.lockedPage(cpu)) !== mfn + 1)
    throw new RuleBroken('page-lock', 'unlock of a page this CPU has not locked');
  poke(vcpu.lockedPage(cpu), 0);
  const a = countInfo(mfn);
  popHeld(cpu, a);
  for (;;) {
    const lo = yield* ld64(a);
    const hi = hi64();
    if ((hi & PGT_count_mask) < 2 && !twin(TWIN['xsa-242']))
      throw new RuleBroken('page-lock', 'page lock would drop the last type reference');
    if ((yield* cas64(a, lo, hi, lo & ~(PGT_locked | PGT_lock_waiters), hi - 1)) === 0) continue;
    if ((lo & PGT_lock_waiters) !== 0) wake(a);
    return;
  }
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
