/**
 * GNTTABOP_swap_grant_ref: two entries of the caller's table change places.
 *
 * Invariant: neither is in use: what is pinned keeps its number.
 * Lock: the table's write lock, then both active entries (the one case of two, [X49]).
 * Source: xen/common/grant_table.c, swap_grant_ref.
 */
import { GNTST_bad_gntref, GNTST_eagain, GNTST_okay, GRANT_V1_WORDS, GRANT_V2_WORDS } from '../../abi/grant.js';
import type { Cpu } from '../../sync/actor.js';
import { hi64, ld, ld64, peek, st64 } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { currentDomain } from '../domain.js';
import { active, activeAcquire, activeRelease } from './active.js';
import { tableOf } from './claim.js';
import { readHalf, writeHalf } from './status.js';
import {
  grantTable,
  grantWriteLock,
  grantWriteUnlock,
  nrGrantEntries,
  sharedEntry,
  statusHalf,
  type GrantTable,
} from './table.js';

/** One operation; `op`: the argument structure, copied in. Answers its status. */
export function* swapGrantRef(cpu: Cpu, op: number): Steps<number> {
  const gt = tableOf(currentDomain(cpu));
  const a = peek(op) >>> 0;
  const b = peek(op + 1) >>> 0;
  yield* grantWriteLock(cpu, gt);
  const entries = yield* nrGrantEntries(gt);
  let status: number = GNTST_okay;
  if (a >= entries || b >= entries) status = GNTST_bad_gntref;
  else if (a !== b) status = yield* swapIdle(cpu, gt, a, b);
  yield* grantWriteUnlock(cpu, gt);
  return status;
}

function* swapIdle(cpu: Cpu, gt: GrantTable, a: number, b: number): Steps<number> {
  const actA = yield* activeAcquire(cpu, gt, a);
  let status: number = GNTST_eagain;
  if (peek(active.pin(actA)) === 0) {
    const actB = yield* activeAcquire(cpu, gt, b);
    if (peek(active.pin(actB)) === 0) {
      yield* exchange(gt, a, b);
      status = GNTST_okay;
    }
    yield* activeRelease(cpu, actB);
  }
  yield* activeRelease(cpu, actA);
  return status;
}

/** 64 bits at a time, as the guest may read and write both meanwhile. */
function* exchange(gt: GrantTable, a: number, b: number): Steps<void> {
  const version = yield* ld(grantTable.version(gt));
  const atA = yield* sharedEntry(gt, version, a);
  const atB = yield* sharedEntry(gt, version, b);
  const words = version === 1 ? GRANT_V1_WORDS : GRANT_V2_WORDS;
  for (let i = 0; i < words; i += 2) {
    const lo = yield* ld64(atA + i);
    const hi = hi64();
    const otherLo = yield* ld64(atB + i);
    const otherHi = hi64();
    yield* st64(atA + i, otherLo, otherHi);
    yield* st64(atB + i, lo, hi);
  }
  if (version === 1) return;
  const halfA = yield* statusHalf(gt, 2, a);
  const halfB = yield* statusHalf(gt, 2, b);
  const status = yield* readHalf(halfA);
  yield* writeHalf(halfA, yield* readHalf(halfB));
  yield* writeHalf(halfB, status);
}
