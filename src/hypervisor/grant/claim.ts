/**
 * Opening the entry of a grant, and what taking it for a map and for a copy have in common.
 *
 * Invariant: an open entry means the granter's table is locked for reading and the active entry is locked, so that its
 * words stand still and are read with `peek`.
 * Lock: table rwlock, then active entry ([X49]).
 * Source: xen/common/grant_table.c, map_grant_ref, acquire_grant_for_copy.
 */
import type { Cpu } from '../../sync/actor.js';
import { peek, poke, st, touch } from '../../sync/primitives.js';
import { POINT_WRITE } from '../../sync/schedule.js';
import type { Steps } from '../../sync/steps.js';
import { domain, type DomainRef } from '../domain.js';
import { active, activeAcquire, activeRelease, GNTPIN_w_mask, overflowMask, type Active } from './active.js';
import { claim, CLAIM_READONLY, type Claim } from './scratch.js';
import { NO_STATUS } from './status.js';
import {
  grantReadLock,
  grantReadUnlock,
  grantTable,
  nrGrantEntries,
  sharedEntry,
  statusHalf,
  type GrantTable,
} from './table.js';

export const tableOf = (d: DomainRef): GrantTable => peek(domain.grantTable(d)) as GrantTable;
export const claimTable = (c: Claim): GrantTable => peek(claim.table(c)) as GrantTable;

/** Says which grant `c` is about. */
export function setClaim(c: Claim, granter: DomainRef, ref: number, domid: number, how: number): void {
  poke(claim.granter(c), granter);
  poke(claim.table(c), tableOf(granter));
  poke(claim.ref(c), ref);
  poke(claim.domid(c), domid);
  poke(claim.how(c), how);
  poke(claim.gotPage(c), 0);
}

/** Opens the entry and says where it is; 0, with nothing locked, when the table has no such reference. */
export function* openEntry(cpu: Cpu, c: Claim): Steps<Active> {
  const rgt = claimTable(c);
  const ref = peek(claim.ref(c)) >>> 0;
  yield* grantReadLock(cpu, rgt);
  if (ref >= (yield* nrGrantEntries(rgt))) {
    yield* grantReadUnlock(cpu, rgt);
    return 0 as Active;
  }
  const version = peek(grantTable.version(rgt));
  const shah = yield* sharedEntry(rgt, version, ref);
  poke(claim.version(c), version);
  poke(claim.shah(c), shah);
  poke(claim.half(c), version === 1 ? shah * 2 : yield* statusHalf(rgt, version, ref));
  return yield* activeAcquire(cpu, rgt, ref);
}

/** Opens the entry of a grant that is pinned, to let it go: after a change of version it may have no status any more. */
export function* reopenEntry(cpu: Cpu, c: Claim): Steps<Active> {
  const rgt = claimTable(c);
  const ref = peek(claim.ref(c)) >>> 0;
  yield* grantReadLock(cpu, rgt);
  const inside = ref < (yield* nrGrantEntries(rgt));
  const version = peek(grantTable.version(rgt));
  poke(claim.version(c), version);
  poke(claim.half(c), inside ? yield* statusHalf(rgt, version, ref) : NO_STATUS);
  return yield* activeAcquire(cpu, rgt, ref);
}

export function* closeEntry(cpu: Cpu, c: Claim, act: Active): Steps<void> {
  yield* activeRelease(cpu, act);
  yield* grantReadUnlock(cpu, claimTable(c));
}

/** Pinned for another domain, or so often that a count would overflow ([X46]). */
export function pinRefused(c: Claim, act: Active, increment: number): boolean {
  const pin = peek(active.pin(act));
  if (pin === 0) return false;
  return peek(active.domid(act)) !== peek(claim.domid(c)) || (pin & overflowMask(increment)) !== 0;
}

/** Whether the shared bits must be claimed: at the first use, and at the first that writes. */
export const needsStatus = (pin: number, how: number): boolean =>
  pin === 0 || ((how & CLAIM_READONLY) === 0 && (pin & GNTPIN_w_mask) === 0);

/** First use: keeps what the grant names for as long as it is pinned. */
export function* latch(
  c: Claim,
  act: Active,
  mfn: number,
  range: number,
  behind: number,
  behindRef: number,
): Steps<void> {
  yield* touch(active.domid(act), active.words - 2, POINT_WRITE);
  poke(active.domid(act), peek(claim.domid(c)));
  poke(active.mfn(act), mfn);
  poke(active.range(act), range);
  poke(active.transDomain(act), behind);
  poke(active.transGref(act), behindRef);
}

/** Counts one more use and tells the claim what the entry names. */
export function* takePin(c: Claim, act: Active, increment: number): Steps<void> {
  yield* st(active.pin(act), peek(active.pin(act)) + increment);
  poke(claim.mfn(c), peek(active.mfn(act)));
  poke(claim.range(c), peek(active.range(act)));
}
