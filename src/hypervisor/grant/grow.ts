/**
 * Making a grant table and letting it grow: shared, active and status frames.
 *
 * Invariant: growth adds all that `frames` need or nothing; a shared or status frame is the domain's from then on.
 * Lock: table write lock, but for init, when nobody can find the table yet.
 * Source: [X38], [X59]; xen/common/grant_table.c, grant_table_init, gnttab_grow_table, gnttab_(un)populate_status_frames.
 */
import { EBUSY, EINVAL, ENOMEM } from '../../abi/errno.js';
import type { Domid, Mfn } from '../../abi/frames.js';
import { HypervisorBug } from '../../abi/errors.js';
import { countInfo, NO_OWNER, PGC_allocated, PGC_count_mask } from '../../machine/frame.js';
import { CHUNK_WORDS } from '../../machine/layout.js';
import { arenaAlloc, arenaFree } from '../../shm/arena.js';
import type { Cpu } from '../../sync/actor.js';
import { ld, ldOnce, or, peek, poke, st } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { allocXenFrame, freeXenFrame, putPageAllocRef, shareXenFrame } from '../allocation.js';
import { domain, domidOf, type DomainRef } from '../domain.js';
import { globals } from '../globals.js';
import { setOwner } from '../heap.js';
import { getPage } from '../page.js';
import { tableOf } from './claim.js';
import { freeList, freeListOf, NO_HANDLE } from './maptrack.js';
import {
  activeChunksFor,
  FREE_LIST_WORDS,
  grantTable,
  statusFramesFor,
  tableExtent,
  type GrantTable,
} from './table.js';

/** What a domain is created with; Xen's defaults are 64 grant frames, 1024 maptrack frames, version 2 allowed. */
export interface GrantTableOptions {
  readonly maxGrantFrames: number;
  readonly maxMaptrackFrames: number;
  readonly maxVersion: number;
  readonly vcpus: number;
}

/** Frames of a new table. */
const INITIAL_NR_GRANT_FRAMES = 1;
const MAX_GRANT_FRAMES = 64;
const MAX_MAPTRACK_FRAMES = 1024;

/** Gives the domain, which nobody can find yet, an empty table. 0, -EINVAL or -ENOMEM. */
export function* grantTableInit(cpu: Cpu, d: DomainRef, options: GrantTableOptions): Steps<number> {
  const { maxGrantFrames, maxMaptrackFrames, maxVersion, vcpus } = options;
  if (maxVersion < 1 || maxVersion > 2 || vcpus < 1) return -EINVAL;
  if (maxGrantFrames < INITIAL_NR_GRANT_FRAMES || maxGrantFrames > MAX_GRANT_FRAMES) return -EINVAL;
  if (maxMaptrackFrames < 0 || maxMaptrackFrames > MAX_MAPTRACK_FRAMES) return -EINVAL;
  const extent = tableExtent(maxGrantFrames, maxMaptrackFrames, vcpus);
  const chunks = Math.ceil(extent.words / CHUNK_WORDS);
  const gt = (yield* arenaAlloc(cpu, peek(globals.arena), chunks)) as GrantTable;
  if (gt === 0) return -ENOMEM;
  poke(grantTable.domain(gt), d);
  poke(grantTable.domid(gt), domidOf(d));
  poke(grantTable.maxVersion(gt), maxVersion);
  poke(grantTable.maxGrantFrames(gt), maxGrantFrames);
  poke(grantTable.maxMaptrackFrames(gt), maxMaptrackFrames);
  poke(grantTable.vcpus(gt), vcpus);
  poke(grantTable.chunks(gt), chunks);
  poke(grantTable.freeLists(gt), gt + extent.freeLists);
  poke(grantTable.sharedList(gt), gt + extent.sharedList);
  poke(grantTable.statusList(gt), gt + extent.statusList);
  poke(grantTable.activeList(gt), gt + extent.activeList);
  poke(grantTable.maptrackList(gt), gt + extent.maptrackList);
  poke(grantTable.version(gt), 1);
  for (let i = 0; i < vcpus; i++) initFreeList(gt, i);
  poke(domain.grantTable(d), gt);
  const rc = yield* growTable(cpu, gt, INITIAL_NR_GRANT_FRAMES);
  if (rc === 0) return 0;
  poke(domain.grantTable(d), 0);
  yield* arenaFree(cpu, peek(globals.arena), gt, chunks);
  return rc;
}

function initFreeList(gt: GrantTable, i: number): void {
  const list = freeListOf(gt, i);
  poke(freeList.head(list), NO_HANDLE);
  poke(freeList.tail(list), NO_HANDLE);
  poke(freeList.seed(list), i * FREE_LIST_WORDS + 1);
}

/** Grows the table to `frames` shared frames (never shrinks). 0 or -ENOMEM with the table as it was. */
export function* growTable(cpu: Cpu, gt: GrantTable, frames: number): Steps<number> {
  const want = Math.max(frames, INITIAL_NR_GRANT_FRAMES);
  const has = yield* ld(grantTable.nrGrantFrames(gt));
  const activeList = peek(grantTable.activeList(gt));
  const sharedList = peek(grantTable.sharedList(gt));
  const version = yield* ld(grantTable.version(gt));
  let ok = yield* addActiveChunks(cpu, activeList, activeChunksFor(has), activeChunksFor(want));
  if (!ok) return -ENOMEM;
  ok = yield* addFrames(cpu, sharedList, has, want);
  if (ok && version > 1 && (yield* populateStatusFrames(cpu, gt, want)) !== 0) {
    yield* dropFrames(cpu, sharedList, has, want);
    ok = false;
  }
  if (!ok) {
    yield* dropActiveChunks(cpu, activeList, activeChunksFor(has), activeChunksFor(want));
    return -ENOMEM;
  }
  yield* shareFrames(cpu, gt, sharedList, has, want);
  yield* st(grantTable.nrGrantFrames(gt), Math.max(has, want));
  return 0;
}

/** Gives a version 2 table the status frames that `frames` shared frames need. 0 or -ENOMEM. */
export function* populateStatusFrames(cpu: Cpu, gt: GrantTable, frames: number): Steps<number> {
  const has = yield* ld(grantTable.nrStatusFrames(gt));
  const want = statusFramesFor(frames);
  const list = peek(grantTable.statusList(gt));
  if (!(yield* addFrames(cpu, list, has, want))) return -ENOMEM;
  yield* shareFrames(cpu, gt, list, has, want);
  yield* st(grantTable.nrStatusFrames(gt), Math.max(has, want));
  return 0;
}

/** Takes all status frames back; -EBUSY, with all of them still the domain's, while one is mapped (XSA-255). */
export function* unpopulateStatusFrames(cpu: Cpu, gt: GrantTable): Steps<number> {
  const n = yield* ld(grantTable.nrStatusFrames(gt));
  const list = peek(grantTable.statusList(gt));
  for (let i = 0; i < n; i++) {
    if (yield* unshareXenFrame(cpu, gt, (yield* ld(list + i)) as Mfn)) continue;
    yield* shareFrames(cpu, gt, list, 0, i);
    return -EBUSY;
  }
  yield* dropFrames(cpu, list, 0, n);
  yield* st(grantTable.nrStatusFrames(gt), 0);
  return 0;
}

/** Ends the sharing of one frame, if only the allocation's reference is left of it. */
function* unshareXenFrame(cpu: Cpu, gt: GrantTable, mfn: Mfn): Steps<boolean> {
  yield* putPageAllocRef(cpu, mfn);
  // Raced on purpose: the domain's vCPUs may map and unmap the frame.
  if (((yield* ldOnce(countInfo(mfn))) & (PGC_count_mask | PGC_allocated)) === 0) {
    yield* setOwner(mfn, NO_OWNER);
    return true;
  }
  if (yield* getPage(cpu, mfn, peek(grantTable.domid(gt)) as Domid)) yield* or(countInfo(mfn), PGC_allocated);
  return false;
}

/** Puts new frames into words `from` .. `to`-1 of a list; all of them or none. */
function* addFrames(cpu: Cpu, list: number, from: number, to: number): Steps<boolean> {
  for (let i = from; i < to; i++) {
    const mfn = yield* allocXenFrame(cpu);
    if (mfn < 0) {
      yield* dropFrames(cpu, list, from, i);
      return false;
    }
    yield* st(list + i, mfn);
  }
  return true;
}

function* dropFrames(cpu: Cpu, list: number, from: number, to: number): Steps<void> {
  for (let i = from; i < to; i++) {
    yield* freeXenFrame(cpu, (yield* ld(list + i)) as Mfn);
    yield* st(list + i, 0);
  }
}

function* shareFrames(cpu: Cpu, gt: GrantTable, list: number, from: number, to: number): Steps<void> {
  const d = peek(grantTable.domain(gt)) as DomainRef;
  for (let i = from; i < to; i++) yield* shareXenFrame(cpu, (yield* ld(list + i)) as Mfn, d, true);
}

function* addActiveChunks(cpu: Cpu, list: number, from: number, to: number): Steps<boolean> {
  for (let i = from; i < to; i++) {
    const chunk = yield* arenaAlloc(cpu, peek(globals.arena), 1);
    if (chunk === 0) {
      yield* dropActiveChunks(cpu, list, from, i);
      return false;
    }
    yield* st(list + i, chunk);
  }
  return true;
}

function* dropActiveChunks(cpu: Cpu, list: number, from: number, to: number): Steps<void> {
  for (let i = from; i < to; i++) {
    yield* arenaFree(cpu, peek(globals.arena), yield* ld(list + i), 1);
    yield* st(list + i, 0);
  }
}

/**
 * Gives back a table that nobody can reach any more: its domain is gone and every CPU has left the hypervisor since.
 * The maptrack was given back with its mappings (release.ts).
 */
export function* grantTableDestroy(cpu: Cpu, d: DomainRef): Steps<void> {
  const gt = tableOf(d);
  if (gt === 0) return;
  if ((yield* ld(grantTable.maptrackLimit(gt))) !== 0) throw new HypervisorBug('grant table with live maptrack freed');
  const frames = yield* ld(grantTable.nrGrantFrames(gt));
  yield* dropFrames(cpu, peek(grantTable.sharedList(gt)), 0, frames);
  yield* dropFrames(cpu, peek(grantTable.statusList(gt)), 0, yield* ld(grantTable.nrStatusFrames(gt)));
  yield* dropActiveChunks(cpu, peek(grantTable.activeList(gt)), 0, activeChunksFor(frames));
  poke(domain.grantTable(d), 0);
  yield* arenaFree(cpu, peek(globals.arena), gt, peek(grantTable.chunks(gt)));
}
