/**
 * Active entries: what Xen remembers of a grant in use, whatever the granter writes into the shared entry meanwhile.
 *
 * Invariant: `pin` is four 8-bit counts of live mappings {host w, host r, device w, device r}; the other fields are
 * latched when it leaves 0 and hold until it is 0 again. A count is refused at 128, so none carries into the next.
 * Lock: `lock`, rank grantActive, taken with the table's lock held; it also guards the mapper's maptrack entries that
 * name this grant. Two of them are held only under the table's write lock.
 * Source: [X46], [X49]; xen/common/grant_table.c, struct active_grant_entry.
 */
import { record, type Ref } from '../../shm/record.js';
import type { Cpu } from '../../sync/actor.js';
import { RANK } from '../../sync/lock-order.js';
import { lock, touch, unlock } from '../../sync/primitives.js';
import { POINT_READ } from '../../sync/schedule.js';
import type { Steps } from '../../sync/steps.js';
import { activeEntry, type GrantTable } from './table.js';

export const active = record('activeGrant', {
  lock: 1,
  pin: 1,
  /** Domain that was granted the access. */
  domid: 1,
  /** Usable bytes of the frame: start 15 bits, ACTIVE_SUB_PAGE, length in the high half. */
  range: 1,
  /** Grant behind a transitive one; else this one. */
  transGref: 1,
  /** Domain record behind a transitive grant; else the granter. */
  transDomain: 1,
  mfn: 1,
});
export type Active = Ref<'activeGrant'>;

export const ACTIVE_SUB_PAGE = 1 << 15;
export const activeRange = (start: number, subPage: boolean, length: number): number =>
  (start & 0x7fff) | (subPage ? ACTIVE_SUB_PAGE : 0) | (length << 16);
export const rangeStart = (range: number): number => range & 0x7fff;
export const rangeLength = (range: number): number => range >>> 16;

export const GNTPIN_hstw_inc = 1;
export const GNTPIN_hstw_mask = 0xff;
export const GNTPIN_hstr_inc = 1 << 8;
export const GNTPIN_hstr_mask = 0xff << 8;
export const GNTPIN_devw_inc = 1 << 16;
export const GNTPIN_devw_mask = 0xff << 16;
export const GNTPIN_devr_inc = 1 << 24;
export const GNTPIN_devr_mask = 0xff << 24;
/** Any mapping that can write. */
export const GNTPIN_w_mask = GNTPIN_hstw_mask | GNTPIN_devw_mask;
/** Top bit of each count that an increment would raise: set means refuse. */
export const overflowMask = (increment: number): number => increment << 7;

/**
 * Locks the active entry of `ref`, which must be below the number of entries. Table lock held. Until it is released, its
 * words may be read with `peek`.
 */
export function* activeAcquire(cpu: Cpu, gt: GrantTable, ref: number): Steps<Active> {
  const a = (yield* activeEntry(gt, ref)) as Active;
  yield* lock(cpu, active.lock(a), RANK.grantActive);
  yield* touch(active.pin(a), active.words - 1, POINT_READ);
  return a;
}

export function* activeRelease(cpu: Cpu, a: Active): Steps<void> {
  yield* unlock(cpu, active.lock(a));
}
