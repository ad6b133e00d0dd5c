/**
 * Maptrack: the mapper's table of handles, one per grant it has mapped.
 *
 * Invariant: an entry whose flags are not 0 is one live mapping; all others lie on exactly one free list, or are in the
 * hands of one map or unmap. A list always keeps its last entry, so that freeing only ever appends.
 * Lock: a list's own word (rank maptrackFreelist, innermost: nothing is taken under it); `maptrackLock` for growth. An
 * entry in use is guarded by the granter's active-entry lock; flags are stored last and looked at first.
 * Source: [X47], [X49]; xen/common/grant_table.c, get_maptrack_handle. XSA-228: one lock per list, the thief's too.
 * Differs: whom to steal from first is drawn from a seed kept with the list, so that a schedule repeats.
 */
import { globals } from '../globals.js';
import { arenaAlloc } from '../../shm/arena.js';
import { record, type Ref } from '../../shm/record.js';
import type { Cpu } from '../../sync/actor.js';
import { RANK } from '../../sync/lock-order.js';
import { ld, ldOnce, lock, peek, poke, st, stOnce, touch, unlock } from '../../sync/primitives.js';
import { POINT_WRITE } from '../../sync/schedule.js';
import type { Steps } from '../../sync/steps.js';
import { CHUNK_WORDS } from '../../machine/layout.js';
import { FREE_LIST_WORDS, grantTable, MAPTRACK_PER_CHUNK, MAPTRACK_WORDS, type GrantTable } from './table.js';
import { TWIN, twin } from '../twins.js';

export const mapping = record('grantMapping', {
  /** Grant reference; of a free entry the next free handle. */
  ref: 1,
  /** GNTMAP_* of the map, without the half that was undone; 0: free, or being handed out. */
  flags: 1,
  /** Granting domain. */
  domid: 1,
  /** vCPU on whose list the entry goes when it is freed. */
  vcpu: 1,
});
export type Mapping = Ref<'grantMapping'>;

export const freeList = record('handleFreeList', { lock: 1, head: 1, tail: 1, seed: 1 });

/** No handle; also the end of a free list. As a word, ~0. */
export const NO_HANDLE = -1;

export const freeListOf = (gt: GrantTable, vcpuId: number): Ref<'handleFreeList'> =>
  (peek(grantTable.freeLists(gt)) + vcpuId * FREE_LIST_WORDS) as Ref<'handleFreeList'>;

/**
 * Entry of a handle below the limit. No point: the list's word was written before the limit that let the handle through,
 * and stays until the domain is dead.
 */
export function maptrackEntry(gt: GrantTable, handle: number): Mapping {
  const chunk = peek(peek(grantTable.maptrackList(gt)) + Math.floor(handle / MAPTRACK_PER_CHUNK));
  return (chunk + (handle % MAPTRACK_PER_CHUNK) * MAPTRACK_WORDS) as Mapping;
}

/** Takes the head of a vCPU's list unless it is the list's last. */
function* takeFree(cpu: Cpu, gt: GrantTable, vcpuId: number): Steps<number> {
  const list = freeListOf(gt, vcpuId);
  yield* lock(cpu, freeList.lock(list), RANK.maptrackFreelist);
  const head = yield* takeHead(gt, list);
  yield* unlock(cpu, freeList.lock(list));
  return head;
}

function* takeHead(gt: GrantTable, list: Ref<'handleFreeList'>): Steps<number> {
  let head = yield* ld(freeList.head(list));
  if (head !== NO_HANDLE) {
    const next = yield* ld(mapping.ref(maptrackEntry(gt, head)));
    if (next === NO_HANDLE) head = NO_HANDLE;
    else yield* st(freeList.head(list), next);
  }
  return head;
}

/** A free handle for `vcpuId`'s use, from its list, a new chunk or another vCPU's list; NO_HANDLE when there is none. */
export function* getMaptrackHandle(cpu: Cpu, gt: GrantTable, vcpuId: number): Steps<number> {
  const handle = yield* takeFree(cpu, gt, vcpuId);
  if (handle !== NO_HANDLE) return handle;
  yield* lock(cpu, grantTable.maptrackLock(gt), RANK.maptrackGrowth);
  const limit = yield* ld(grantTable.maptrackLimit(gt));
  const chunks = Math.floor(limit / MAPTRACK_PER_CHUNK);
  const room = chunks < peek(grantTable.maxMaptrackFrames(gt));
  const chunk = room ? yield* arenaAlloc(cpu, peek(globals.arena), 1) : 0;
  if (chunk === 0) {
    yield* unlock(cpu, grantTable.maptrackLock(gt));
    return yield* stealForEmpty(cpu, gt, vcpuId);
  }
  return yield* addChunk(cpu, gt, vcpuId, chunk, limit);
}

/** Publishes a new chunk: its first entry is handed out, the rest goes to the head of the list. Growth lock held. */
function* addChunk(cpu: Cpu, gt: GrantTable, vcpuId: number, chunk: number, limit: number): Steps<number> {
  const list = freeListOf(gt, vcpuId);
  const last = limit + MAPTRACK_PER_CHUNK - 1;
  yield* touch(chunk, CHUNK_WORDS, POINT_WRITE);
  for (let i = 0; i < MAPTRACK_PER_CHUNK; i++) {
    const entry = (chunk + i * MAPTRACK_WORDS) as Mapping;
    poke(mapping.ref(entry), limit + i + 1);
    poke(mapping.vcpu(entry), vcpuId);
  }
  // A tail of ~0 means this vCPU never had an entry, so nobody else writes it.
  if ((yield* ldOnce(freeList.tail(list))) === NO_HANDLE) yield* stOnce(freeList.tail(list), last);
  yield* stOnce(peek(grantTable.maptrackList(gt)) + Math.floor(limit / MAPTRACK_PER_CHUNK), chunk);
  yield* stOnce(grantTable.maptrackLimit(gt), limit + MAPTRACK_PER_CHUNK); // raced: unmap reads it without the lock
  yield* unlock(cpu, grantTable.maptrackLock(gt));
  yield* lock(cpu, freeList.lock(list), RANK.maptrackFreelist);
  const lastEntry = (chunk + (MAPTRACK_PER_CHUNK - 1) * MAPTRACK_WORDS) as Mapping;
  yield* st(mapping.ref(lastEntry), yield* ld(freeList.head(list)));
  yield* st(freeList.head(list), limit + 1);
  yield* unlock(cpu, freeList.lock(list));
  return limit;
}

/** Steals; a vCPU that never had an entry first steals one to be the one that its list keeps. */
function* stealForEmpty(cpu: Cpu, gt: GrantTable, vcpuId: number): Steps<number> {
  const list = freeListOf(gt, vcpuId);
  // Only its own vCPU ever takes a list out of this state.
  if ((yield* ldOnce(freeList.tail(list))) === NO_HANDLE) {
    const kept = yield* steal(cpu, gt, vcpuId);
    if (kept === NO_HANDLE) return NO_HANDLE;
    yield* lock(cpu, freeList.lock(list), RANK.maptrackFreelist);
    yield* st(mapping.ref(maptrackEntry(gt, kept)), NO_HANDLE);
    yield* st(freeList.tail(list), kept);
    if ((yield* ld(freeList.head(list))) === NO_HANDLE) yield* st(freeList.head(list), kept);
    yield* unlock(cpu, freeList.lock(list));
  }
  return yield* steal(cpu, gt, vcpuId);
}

/** A free entry of any vCPU, now this one's; tries each once, from a drawn one on. */
function* steal(cpu: Cpu, gt: GrantTable, vcpuId: number): Steps<number> {
  const vcpus = peek(grantTable.vcpus(gt));
  const first = draw(gt, vcpuId) % vcpus;
  for (let n = 0; n < vcpus; n++) {
    const from = (first + n) % vcpus;
    const unlocked = twin(TWIN['xsa-228']);
    const handle = unlocked ? yield* takeHead(gt, freeListOf(gt, from)) : yield* takeFree(cpu, gt, from);
    if (handle === NO_HANDLE) continue;
    yield* st(mapping.vcpu(maptrackEntry(gt, handle)), vcpuId);
    return handle;
  }
  return NO_HANDLE;
}

/** Next number of the vCPU's own sequence. */
function draw(gt: GrantTable, vcpuId: number): number {
  const seed = freeList.seed(freeListOf(gt, vcpuId));
  const next = (Math.imul(peek(seed), 1664525) + 1013904223) | 0;
  poke(seed, next);
  return next >>> 8;
}

/** Appends a dead entry to the list of the vCPU it belongs to. No lock of the granter's held any more. */
export function* putMaptrackHandle(cpu: Cpu, gt: GrantTable, handle: number): Steps<void> {
  const entry = maptrackEntry(gt, handle);
  yield* st(mapping.ref(entry), NO_HANDLE);
  const list = freeListOf(gt, yield* ld(mapping.vcpu(entry)));
  yield* lock(cpu, freeList.lock(list), RANK.maptrackFreelist);
  const tail = yield* ld(freeList.tail(list));
  yield* st(freeList.tail(list), handle);
  yield* st(mapping.ref(maptrackEntry(gt, tail)), handle);
  yield* unlock(cpu, freeList.lock(list));
}
