/**
 * GNTTABOP_set_version: the caller's table changes between version 1 and 2.
 *
 * Invariant: no reference from 8 on is pinned while the layout changes, and all of them are empty afterwards; the first
 * eight (the toolstack's) keep what both versions can express, their claims included.
 * Lock: the table's write lock, so no active entry is locked and no pin can move.
 * Source: [X59]; xen/common/grant_table.c, gnttab_set_version. XSA-255: mapped status frames keep the table at 2.
 */
import { EAGAIN, EBUSY, EINVAL, ENOSYS, ERANGE } from '../../abi/errno.js';
import { mfnWord, PAGE_WORDS } from '../../abi/frames.js';
import {
  GNTTAB_RESERVED_ENTRIES,
  GRANT_V1_WORDS,
  GTF_invalid,
  GTF_permit_access,
  GTF_reading,
  GTF_transitive,
  GTF_type_mask,
  GTF_writing,
  V2_FRAME,
} from '../../abi/grant.js';
import type { Cpu } from '../../sync/actor.js';
import { fill, hi64, ld, ld64, ldOnce, peek, poke, st64, stOnce } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { currentDomain } from '../domain.js';
import { active, type Active } from './active.js';
import { tableOf } from './claim.js';
import { populateStatusFrames, unpopulateStatusFrames } from './grow.js';
import { reservedEntries } from './scratch.js';
import { readHalf, writeHalf } from './status.js';
import {
  activeEntry,
  grantTable,
  grantWriteLock,
  grantWriteUnlock,
  nrGrantEntries,
  sharedEntry,
  sharedFrame,
  statusHalf,
  type GrantTable,
} from './table.js';
import { TWIN, twin } from '../twins.js';

const CLAIMS = GTF_reading | GTF_writing;

/** Answers an errno; `op` holds the version wanted and gets the version that is. */
export function* setVersion(cpu: Cpu, op: number): Steps<number> {
  const gt = tableOf(currentDomain(cpu));
  const want = peek(op);
  let rc = 0;
  if (want !== 1 && want !== 2) rc = -EINVAL;
  else if (want === 2 && peek(grantTable.maxVersion(gt)) === 1) rc = -ENOSYS;
  else if ((yield* ldOnce(grantTable.version(gt))) !== want) {
    // Looked at without the lock, as in Xen: another vCPU may be changing it too.
    const early = twin(TWIN['version-early']);
    if (early) rc = yield* anyPinned(gt);
    yield* grantWriteLock(cpu, gt);
    if (!early) rc = yield* anyPinned(gt);
    if (rc === 0) rc = yield* changeVersion(cpu, gt, want);
    yield* grantWriteUnlock(cpu, gt);
  }
  poke(op, yield* ldOnce(grantTable.version(gt)));
  return rc;
}

/** 0, or -EBUSY when a reference that must be idle is in use. */
function* anyPinned(gt: GrantTable): Steps<number> {
  const entries = yield* nrGrantEntries(gt);
  for (let ref = GNTTAB_RESERVED_ENTRIES; ref < entries; ref++) {
    if ((yield* ld(active.pin((yield* activeEntry(gt, ref)) as Active))) !== 0) return -EBUSY;
  }
  return 0;
}

function* changeVersion(cpu: Cpu, gt: GrantTable, want: number): Steps<number> {
  const has = yield* ld(grantTable.version(gt));
  const rc =
    has === 1 ? yield* populateStatusFrames(cpu, gt, yield* ld(grantTable.nrGrantFrames(gt))) : yield* leaveV2(gt);
  if (rc !== 0) return rc;
  if (has === 1) yield* keepV1(cpu, gt);
  else yield* keepV2(cpu, gt);
  if (has === 2 && want === 1) {
    const busy = yield* unpopulateStatusFrames(cpu, gt);
    if (busy !== 0) return busy;
  }
  const frames = yield* ld(grantTable.nrGrantFrames(gt));
  for (let i = 0; i < frames; i++) yield* fill(mfnWord(yield* sharedFrame(gt, i)), PAGE_WORDS);
  if (want === 1) yield* restoreV1(cpu, gt);
  else yield* restoreV2(cpu, gt);
  yield* stOnce(grantTable.version(gt), want); // also looked at without the lock
  return 0;
}

/** Can version 1 express what there is? */
function* leaveV2(gt: GrantTable): Steps<number> {
  if ((yield* ldOnce(grantTable.nrV2Ops(gt))) !== 0) return -EAGAIN; // counted down by copies that hold no lock
  for (let ref = 0; ref < GNTTAB_RESERVED_ENTRIES; ref++) {
    const shah = yield* sharedEntry(gt, 2, ref);
    const kind = (yield* ldOnce(shah)) & GTF_type_mask;
    if (kind === GTF_transitive) return -ERANGE;
    if (kind === GTF_permit_access && (yield* ldOnce(shah + V2_FRAME + 1)) !== 0) return -ERANGE;
  }
  return 0;
}

const keptEntry = (cpu: Cpu, ref: number): number => reservedEntries(cpu) + ref * GRANT_V1_WORDS;

function* keepV1(cpu: Cpu, gt: GrantTable): Steps<void> {
  for (let ref = 0; ref < GNTTAB_RESERVED_ENTRIES; ref++) {
    const lo = yield* ld64(yield* sharedEntry(gt, 1, ref));
    const hi = hi64();
    poke(keptEntry(cpu, ref), lo);
    poke(keptEntry(cpu, ref) + 1, hi);
  }
}

/** Full-page grants only, flags and status as one; anything else is emptied. */
function* keepV2(cpu: Cpu, gt: GrantTable): Steps<void> {
  for (let ref = 0; ref < GNTTAB_RESERVED_ENTRIES; ref++) {
    const shah = yield* sharedEntry(gt, 2, ref);
    const header = yield* ldOnce(shah);
    const kept = (header & GTF_type_mask) === GTF_permit_access;
    const claims = kept ? yield* readHalf(yield* statusHalf(gt, 2, ref)) : GTF_invalid;
    poke(keptEntry(cpu, ref), kept ? header | claims : 0);
    poke(keptEntry(cpu, ref) + 1, kept ? yield* ldOnce(shah + V2_FRAME) : 0);
  }
}

function* restoreV1(cpu: Cpu, gt: GrantTable): Steps<void> {
  for (let ref = 0; ref < GNTTAB_RESERVED_ENTRIES; ref++) {
    const kept = keptEntry(cpu, ref);
    yield* st64(yield* sharedEntry(gt, 1, ref), peek(kept), peek(kept + 1));
  }
}

function* restoreV2(cpu: Cpu, gt: GrantTable): Steps<void> {
  for (let ref = 0; ref < GNTTAB_RESERVED_ENTRIES; ref++) {
    const kept = keptEntry(cpu, ref);
    const shah = yield* sharedEntry(gt, 2, ref);
    yield* writeHalf(yield* statusHalf(gt, 2, ref), peek(kept) & CLAIMS);
    yield* stOnce(shah, peek(kept) & ~CLAIMS); // the guest may look at any time
    yield* st64(shah + V2_FRAME, peek(kept + 1), 0);
  }
}
