/**
 * Grant maps of gntdev: a range of grants that a process maps, page by page with a user and a kernel mapping.
 *
 * Invariant: an entry's handle is valid (not INVALID_HANDLE) exactly from Xen's ok at mapping to Xen's ok at unmapping;
 * `live` counts valid handles of both kinds. The kernel mapping stands in the direct map of a borrowed page, whose p2m
 * is FOREIGN meanwhile. Refs: the file (until its ioctl or release), each VMA, each pending unmap.
 * Lock: map.lock (rank guestDriver) guards entries' states; mmapLock exclusive for mapping.
 * Source: Linux drivers/xen/gntdev.c (struct gntdev_grant_map); [Q3].
 */
import { DESIGN_STEP } from '../../../src/abi/design-step.js';
import { INVALID_HANDLE } from '../../../src/abi/grant.js';
import type { Pfn } from '../../../src/abi/frames.js';
import { arenaAlloc, arenaFree, CHUNK } from '../../../src/shm/arena.js';
import { listDel, LIST_WORDS } from '../../../src/shm/list.js';
import { record, type Ref } from '../../../src/shm/record.js';
import { slabFree } from '../../../src/shm/slab.js';
import { add, ld, peek, poke, st } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import { allocRecord, quarantinePage } from '../../kernel/alloc.js';
import type { KernelCpu } from '../../kernel/context.js';
import { COUNT } from '../../kernel/counters.js';
import { count } from '../../kernel/count.js';
import { enterStep } from '../../kernel/design-step.js';
import { PFN_NONE } from '../../kernel/layout.js';
import { klock, kunlock } from '../../kernel/lock.js';
import { page, pageOf, PG_quarantined } from '../../kernel/page.js';
import { unsubscribe, type Subscription } from '../../kernel/notifier.js';
import { kernel, KLOCK_WORDS } from '../../kernel/records.js';
import { work, type Work } from '../../kernel/work.js';
import { RANK } from '../../../src/sync/lock-order.js';
import { backingOf } from './backing.js';
import { MARK } from '../../../src/abi/marks.js';
import { mark } from '../../kernel/mark.js';
import { forgetKept, keepMap, tryKeptAgain } from './quarantine.js';

export const grantMap = record('grantMap', {
  /** In the file's list; under the file's lock. */
  node: LIST_WORDS,
  /** On kernel.kept, from the first refusal on; under keptLock. */
  keptNode: LIST_WORDS,
  lock: KLOCK_WORDS,
  refs: 1,
  count: 1,
  live: 1,
  readonly: 1,
  /** File's private record (file.ts of this driver). */
  file: 1,
  mm: 1,
  /** Where the first page was mapped; the notifier's range stays that ([L29]). */
  start: 2,
  subscription: 1,
  entries: 1,
  chunks: 1,
  /** Asynchronous unmap: the work item, and what it is about. */
  work: work.words,
  workFirst: 1,
  workCount: 1,
  workAge: 1,
  /** Words for the design. */
  designWords: 4,
});
export type GrantMap = Ref<'grantMap'>;

/** Words of one entry. */
export const GE_REF = 0;
export const GE_DOMID = 1;
export const GE_PFN = 2;
export const GE_USER = 3;
export const GE_KERNEL = 4;
export const GE_PTE_LO = 5;
export const GE_PTE_HI = 6;
/** 1: an unmap of this entry is under way or waits. */
export const GE_REMOVING = 7;
export const GE_WORDS = 8;

export const NO_HANDLE = INVALID_HANDLE | 0;

export const entryOf = (map: GrantMap, i: number): number => peek(grantMap.entries(map)) + i * GE_WORDS;
export const mapCount = (map: GrantMap): number => peek(grantMap.count(map));
export const mapWork = (map: GrantMap): Work => grantMap.work(map) as Work;
export const pfnOfEntry = (e: number): Pfn => peek(e + GE_PFN) as Pfn;

/** A map of `count` grants with one ref, nothing mapped; 0 when memory is short. */
export function* mapAlloc(c: KernelCpu, count: number, readonly: boolean): Steps<GrantMap> {
  const map = (yield* allocRecord(c, kernel.mapSlab(c.k))) as GrantMap;
  if (map === 0) return map;
  const chunks = Math.ceil((count * GE_WORDS) / CHUNK);
  const entries = yield* arenaAlloc(c.cpu, peek(kernel.arena(c.k)), chunks);
  yield* st(grantMap.refs(map), 1);
  yield* st(grantMap.readonly(map), readonly ? 1 : 0);
  yield* st(grantMap.entries(map), entries);
  yield* st(grantMap.chunks(map), chunks);
  for (let i = 0; entries !== 0 && i < count; i++) {
    const pfn = yield* backingOf(c).take(c);
    if (pfn === PFN_NONE) break;
    const e = entries + i * GE_WORDS;
    poke(e + GE_PFN, pfn);
    poke(e + GE_USER, NO_HANDLE);
    poke(e + GE_KERNEL, NO_HANDLE);
    yield* st(grantMap.count(map), i + 1);
  }
  if (entries !== 0 && (yield* ld(grantMap.count(map))) === count) return map;
  yield* mapFree(c, map);
  return 0 as GrantMap;
}

/** Says what entry `i` is to map. */
export function setGrant(map: GrantMap, i: number, domid: number, ref: number): void {
  poke(entryOf(map, i) + GE_DOMID, domid);
  poke(entryOf(map, i) + GE_REF, ref);
}

export function* mapGet(map: GrantMap): Steps<void> {
  yield* add(grantMap.refs(map), 1);
}

/** Drops a ref; the last one lets the design finish, then everything goes. */
export function* mapPut(c: KernelCpu, map: GrantMap): Steps<void> {
  if ((yield* add(grantMap.refs(map), -1)) !== 1) return;
  const s = (yield* ld(grantMap.subscription(map))) as Subscription;
  if (s !== 0) yield* unsubscribe(c, s);
  yield* st(grantMap.subscription(map), 0);
  const was = enterStep(c, DESIGN_STEP.last);
  yield* c.design.mapRelease(c, map);
  if ((yield* ld(grantMap.live(map))) > 0) yield* keepMap(c, map);
  else {
    yield* mapFree(c, map);
    yield* tryKeptAgain(c);
  }
  enterStep(c, was);
}

/** Frees pages and record. A page whose kernel mapping may still stand is never used again. */
export function* mapFree(c: KernelCpu, map: GrantMap): Steps<void> {
  mark(c, MARK.gntdev_free_map);
  yield* forgetKept(c, map);
  const entries = yield* ld(grantMap.entries(map));
  for (let i = 0; i < mapCount(map); i++) {
    const e = entries + i * GE_WORDS;
    if (peek(e + GE_USER) !== NO_HANDLE) yield* count(c, COUNT.grantsForgotten);
    if (peek(e + GE_KERNEL) !== NO_HANDLE) {
      yield* count(c, COUNT.grantsForgotten);
      yield* quarantinePage(c, pfnOfEntry(e));
    }
    if (((yield* ld(page.flags(pageOf(c.k, pfnOfEntry(e))))) & PG_quarantined) === 0)
      yield* backingOf(c).give(c, pfnOfEntry(e));
    else yield* count(c, COUNT.pagesLost);
  }
  if (entries !== 0) yield* arenaFree(c.cpu, peek(kernel.arena(c.k)), entries, peek(grantMap.chunks(map)));
  yield* slabFree(c.cpu, kernel.mapSlab(c.k), map);
}

/** Takes the map off its file's list if it is there. Lock held: the file's. */
export function* unlistMap(map: GrantMap): Steps<void> {
  if (peek(grantMap.node(map)) !== 0) yield* listDel(grantMap.node(map));
}

export function* lockMap(c: KernelCpu, map: GrantMap): Steps<void> {
  yield* klock(c, grantMap.lock(map), RANK.guestDriver);
}
export function* unlockMap(c: KernelCpu, map: GrantMap): Steps<void> {
  yield* kunlock(c, grantMap.lock(map));
}
