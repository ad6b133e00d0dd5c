/**
 * Maps that nobody refers to any more and that still have something mapped, because Xen would not let it go.
 *
 * Rule: section 5, "user unmap fails", "kernel unmap fails": nothing that is still mapped is freed, nothing is unmapped
 * twice, and nobody tries for ever. A kept map is the named holder of its handles and of its pages; it is tried again by
 * deferred work, less and less often, TRIES times, and then once whenever another map is let go.
 * Invariant: a map is on kernel.kept from its first refusal until it is freed, so that an entry which outlives its VMA is
 * found by its machine address; it is tried here from the loss of its last reference until it has no handle.
 * Lock: keptLock for the list; the table's PTE lock for a user handle.
 */
import type { Pfn } from '../../../src/abi/frames.js';
import { listAddTail, listDel, listFirst, listLinked, listNext } from '../../../src/shm/list.js';
import { RANK } from '../../../src/sync/lock-order.js';
import { ld, peek, st } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import type { KernelCpu } from '../../kernel/context.js';
import { klock, kunlock } from '../../kernel/lock.js';
import { entryPfn, pfnToMfn } from '../../kernel/p2m.js';
import { page, pageOf } from '../../kernel/page.js';
import { machineHi, machineLo } from '../../kernel/pte.js';
import { ptlOf } from '../../kernel/ptl.js';
import { kernel } from '../../kernel/records.js';
import { queueWork } from '../../kernel/work.js';
import {
  entryOf,
  GE_PTE_HI,
  GE_PTE_LO,
  GE_USER,
  grantMap,
  mapCount,
  mapFree,
  mapWork,
  NO_HANDLE,
  type GrantMap,
} from './map.js';
import { unmapKernel } from './unmap.js';

/** Index among KernelCpu.workers. */
export const WORKER_KEPT = 2;
export const KEPT_TRIES = 8;

/** Asked at the call: map.ts and this file import each other, and either may be evaluated first. */
const ofNode = (n: number): GrantMap => (n - grantMap.keptNode(0 as GrantMap)) as GrantMap;

/** Xen refused to unmap something of the map. */
export function* noteRefused(c: KernelCpu, map: GrantMap): Steps<void> {
  yield* klock(c, kernel.keptLock(c.k), RANK.guestKept);
  if (!(yield* listLinked(grantMap.keptNode(map)))) yield* listAddTail(kernel.kept(c.k), grantMap.keptNode(map));
  yield* kunlock(c, kernel.keptLock(c.k));
}

/** Whether Xen has refused to unmap something of the map. */
export function* isKept(c: KernelCpu, map: GrantMap): Steps<boolean> {
  yield* klock(c, kernel.keptLock(c.k), RANK.guestKept);
  const kept = yield* listLinked(grantMap.keptNode(map));
  yield* kunlock(c, kernel.keptLock(c.k));
  return kept;
}

/** The map is about to be freed. */
export function* forgetKept(c: KernelCpu, map: GrantMap): Steps<void> {
  yield* klock(c, kernel.keptLock(c.k), RANK.guestKept);
  if (yield* listLinked(grantMap.keptNode(map))) yield* listDel(grantMap.keptNode(map));
  yield* kunlock(c, kernel.keptLock(c.k));
}

/** Takes over a map without references. */
export function* keepMap(c: KernelCpu, map: GrantMap): Steps<void> {
  yield* st(grantMap.mm(map), 0);
  yield* st(grantMap.workAge(map), 0);
  yield* noteRefused(c, map);
  yield* queueWork(c, mapWork(map), WORKER_KEPT, map, 1);
}

/** Another map was let go: those that were given up get one more try. */
export function* tryKeptAgain(c: KernelCpu): Steps<void> {
  const head = kernel.kept(c.k);
  yield* klock(c, kernel.keptLock(c.k), RANK.guestKept);
  for (let n = yield* listFirst(head); n !== 0; n = yield* listNext(head, n)) {
    const map = ofNode(n);
    if ((yield* ld(grantMap.refs(map))) !== 0 || (yield* ld(grantMap.workAge(map))) < KEPT_TRIES) continue;
    yield* st(grantMap.workAge(map), KEPT_TRIES - 1);
    yield* queueWork(c, mapWork(map), WORKER_KEPT, map, 1);
  }
  yield* kunlock(c, kernel.keptLock(c.k));
}

/** One try for everything the map has; the map goes with its last handle. */
export function* retryKeptMap(c: KernelCpu, map: GrantMap): Steps<void> {
  for (let i = 0; i < mapCount(map); i++) yield* retryUser(c, map, i);
  for (let i = 0; i < mapCount(map); i++) yield* unmapKernel(c, map, i, 1);
  const age = (yield* ld(grantMap.workAge(map))) + 1;
  yield* st(grantMap.workAge(map), age);
  if ((yield* ld(grantMap.live(map))) > 0) {
    if (age < KEPT_TRIES) yield* queueWork(c, mapWork(map), WORKER_KEPT, map, age + 1);
    return;
  }
  yield* mapFree(c, map);
}

/** One try for the user entry of grant `i`, wherever its table is; a table that only this entry kept is let go. */
export function* retryUser(c: KernelCpu, map: GrantMap, i: number): Steps<void> {
  const e = entryOf(map, i);
  if (peek(e + GE_USER) === NO_HANDLE) return;
  const table = yield* entryPfn(c, peek(e + GE_PTE_LO), peek(e + GE_PTE_HI));
  // A table that has left its tree is nobody's but ours.
  const left = (yield* ld(page.refcount(pageOf(c.k, table)))) === 0;
  const ptl = left ? 0 : ptlOf(c, table);
  if (!left) yield* klock(c, ptl, RANK.guestPteLock);
  const index = (peek(e + GE_PTE_LO) & 0xfff) >>> 3;
  if (peek(e + GE_USER) !== NO_HANDLE) yield* c.design.retryEntry(c, map, i, table, index, left);
  if (!left) yield* kunlock(c, ptl);
}

/** The kept map that entry `index` of `table` belongs to, and which of its grants: `map`, then `i`; 0: none. */
export function* keptEntry(c: KernelCpu, table: Pfn, index: number): Steps<readonly [GrantMap, number]> {
  const mfn = yield* pfnToMfn(c, table);
  const lo = machineLo(mfn, index);
  const hi = machineHi(mfn);
  let found: readonly [GrantMap, number] = [0 as GrantMap, 0];
  yield* klock(c, kernel.keptLock(c.k), RANK.guestKept);
  const head = kernel.kept(c.k);
  for (let n = yield* listFirst(head); n !== 0; n = yield* listNext(head, n)) {
    for (let i = 0; i < mapCount(ofNode(n)); i++) {
      const e = entryOf(ofNode(n), i);
      if (peek(e + GE_PTE_LO) === lo && peek(e + GE_PTE_HI) === hi && peek(e + GE_USER) !== NO_HANDLE) {
        found = [ofNode(n), i];
      }
    }
  }
  yield* kunlock(c, kernel.keptLock(c.k));
  return found;
}
