/**
 * The grant table of a domain: its record in the arena, and where every entry lies.
 *
 * Invariant: a reference below the number of entries has a shared entry in a frame the domain owns (a machine frame of
 * Xen's heap, so the guest maps it) and an active entry in an arena chunk, which no mfn names; of a v2 table also a
 * status word. Frames and chunks are added under the write lock only and, status frames excepted, never taken away.
 * Lock: `lock` (percpu_rwlock, rank grantTable): version, sizes and lists; `maptrackLock`: growth of the maptrack.
 * Fields of the first group are written before the domain can be found and are read with `peek`.
 * Source: [X38], [X46], [X49]; xen/common/grant_table.c, struct grant_table.
 */
import { GRANT_V1_PER_FRAME, GRANT_V1_WORDS, GRANT_V2_PER_FRAME, GRANT_V2_WORDS } from '../../abi/grant.js';
import { GRANT_STATUS_PER_FRAME } from '../../abi/grant.js';
import { mfnWord, type Mfn } from '../../abi/frames.js';
import { CHUNK_WORDS } from '../../machine/layout.js';
import { record, type Ref } from '../../shm/record.js';
import type { Cpu } from '../../sync/actor.js';
import { RANK } from '../../sync/lock-order.js';
import { ld, peek, touch } from '../../sync/primitives.js';
import { POINT_READ } from '../../sync/schedule.js';
import { readLock, readUnlock, RWLOCK_WORDS, writeLock, writeUnlock } from '../../sync/rwlock.js';
import type { Steps } from '../../sync/steps.js';

const LINE = 16;

export const grantTable = record('grantTable', {
  lock: RWLOCK_WORDS,

  // Fixed once the domain can be found.
  domain: 1,
  domid: 1,
  maxVersion: 1,
  maxGrantFrames: 1,
  maxMaptrackFrames: 1,
  vcpus: 1,
  /** Chunks of this record, and the lists in it. */
  chunks: 1,
  sharedList: 1,
  statusList: 1,
  activeList: 1,
  maptrackList: 1,
  freeLists: 1,

  // Guarded by `lock`.
  version: 1,
  nrGrantFrames: 1,
  nrStatusFrames: 1,
  /** Atomic: copies through sub-page or transitive grants that keep the version at 2. */
  nrV2Ops: LINE,

  /** Guards growth; the limit is read without it (a handle below it has an entry). */
  maptrackLock: LINE,
  maptrackLimit: 1,
});
export type GrantTable = Ref<'grantTable'>;

/** Active entries are 8 words, so one v1 frame of references takes four chunks of them. */
export const ACTIVE_WORDS = 8;
export const ACTIVE_PER_CHUNK = CHUNK_WORDS / ACTIVE_WORDS;
export const MAPTRACK_WORDS = 4;
export const MAPTRACK_PER_CHUNK = CHUNK_WORDS / MAPTRACK_WORDS;
/** A vCPU's free list of handles: lock, head, tail, seed of the choice whom to steal from; a line each. */
export const FREE_LIST_WORDS = LINE;

export const activeChunksFor = (frames: number): number => Math.ceil((frames * GRANT_V1_PER_FRAME) / ACTIVE_PER_CHUNK);
export const statusFramesFor = (frames: number): number =>
  Math.ceil((frames * GRANT_V2_PER_FRAME) / GRANT_STATUS_PER_FRAME);

const lined = (words: number): number => (words + LINE - 1) & ~(LINE - 1);

/** Where the lists lie behind the record, and the words of it all. */
export function tableExtent(grantFrames: number, maptrackFrames: number, vcpus: number): TableExtent {
  const freeLists = lined(grantTable.words);
  const sharedList = freeLists + vcpus * FREE_LIST_WORDS;
  const statusList = sharedList + lined(grantFrames);
  const activeList = statusList + lined(statusFramesFor(grantFrames));
  const maptrackList = activeList + lined(activeChunksFor(grantFrames));
  const words = maptrackList + maptrackFrames;
  return { freeLists, sharedList, statusList, activeList, maptrackList, words };
}

export interface TableExtent {
  readonly freeLists: number;
  readonly sharedList: number;
  readonly statusList: number;
  readonly activeList: number;
  readonly maptrackList: number;
  readonly words: number;
}

export function* grantReadLock(cpu: Cpu, gt: GrantTable): Steps<void> {
  yield* readLock(cpu, grantTable.lock(gt), RANK.grantTable);
}
export function* grantReadUnlock(cpu: Cpu, gt: GrantTable): Steps<void> {
  yield* readUnlock(cpu, grantTable.lock(gt));
}
export function* grantWriteLock(cpu: Cpu, gt: GrantTable): Steps<void> {
  yield* writeLock(cpu, grantTable.lock(gt), RANK.grantTable);
}
export function* grantWriteUnlock(cpu: Cpu, gt: GrantTable): Steps<void> {
  yield* writeUnlock(cpu, grantTable.lock(gt));
}

/** Number of references of the table. Table lock held; afterwards version and sizes may be read with `peek` as long. */
export function* nrGrantEntries(gt: GrantTable): Steps<number> {
  yield* touch(grantTable.version(gt), SHAPE_WORDS, POINT_READ);
  const perFrame = peek(grantTable.version(gt)) === 1 ? GRANT_V1_PER_FRAME : GRANT_V2_PER_FRAME;
  return peek(grantTable.nrGrantFrames(gt)) * perFrame;
}
/** Version and the two sizes, which lie in a row. */
const SHAPE_WORDS = 3;

/** Frame number `i` of the shared table. Table lock held, or a still machine. */
export function* sharedFrame(gt: GrantTable, i: number): Steps<Mfn> {
  return (yield* ld(peek(grantTable.sharedList(gt)) + i)) as Mfn;
}
export function* statusFrame(gt: GrantTable, i: number): Steps<Mfn> {
  return (yield* ld(peek(grantTable.statusList(gt)) + i)) as Mfn;
}

/** Address of the shared entry of `ref` in a table of `version`; its first word is {flags, domid}. Table lock held. */
export function* sharedEntry(gt: GrantTable, version: number, ref: number): Steps<number> {
  if (version === 1) {
    const mfn = yield* sharedFrame(gt, Math.floor(ref / GRANT_V1_PER_FRAME));
    return mfnWord(mfn) + (ref % GRANT_V1_PER_FRAME) * GRANT_V1_WORDS;
  }
  const mfn = yield* sharedFrame(gt, Math.floor(ref / GRANT_V2_PER_FRAME));
  return mfnWord(mfn) + (ref % GRANT_V2_PER_FRAME) * GRANT_V2_WORDS;
}

/**
 * Half-word index of the word that carries GTF_reading and GTF_writing of `ref`: v1 the entry's flags, v2 its status.
 * Table lock held.
 */
export function* statusHalf(gt: GrantTable, version: number, ref: number): Steps<number> {
  if (version === 1) return (yield* sharedEntry(gt, 1, ref)) * 2;
  const mfn = yield* statusFrame(gt, Math.floor(ref / GRANT_STATUS_PER_FRAME));
  return mfnWord(mfn) * 2 + (ref % GRANT_STATUS_PER_FRAME);
}

/** Address of the active entry of `ref`, which must be below the number of entries. Table lock held. */
export function* activeEntry(gt: GrantTable, ref: number): Steps<number> {
  const chunk = yield* ld(peek(grantTable.activeList(gt)) + Math.floor(ref / ACTIVE_PER_CHUNK));
  return chunk + (ref % ACTIVE_PER_CHUNK) * ACTIVE_WORDS;
}
