/**
 * GNTTABOP_unmap_grant_ref and unmap_and_replace: two passes over a batch, one TLB flush between them.
 *
 * Invariant: entry zapped, then flushed, then references dropped, then the granter sees the grant free ([X54], [I12]).
 * A handle is freed in the first pass, when its last half is undone; the pin it stood for only in the second (XSA-218).
 * An operation that fails leaves handle, pin, references and entry as they were, so that it can be tried again.
 * Lock: granter's table for reading, its active entry (which guards the maptrack entry too), inside it the page lock.
 * Source: [X48], [X54]-[X56]; xen/common/grant_table.c, unmap_common, unmap_common_complete.
 */
import type { Mfn } from '../../abi/frames.js';
import {
  GNTMAP_device_map,
  GNTMAP_host_map,
  GNTMAP_readonly,
  GNTST_bad_dev_addr,
  GNTST_bad_handle,
  GNTST_okay,
  REPLACE_NEW,
  UNMAP_DEV,
  UNMAP_HANDLE,
} from '../../abi/grant.js';
import { faultHit } from '../../fault/plan.js';
import { SITE } from '../../fault/sites.js';
import { vcpu } from '../../machine/cpu-record.js';
import type { Cpu } from '../../sync/actor.js';
import { ldOnce, peek, poke, st, stOnce } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { EVENT } from '../../trace/events.js';
import { trace } from '../../trace/ring.js';
import { CRASH_UNMAP_DEAD_GRANTER, currentDomain, domainCrash, findDomain, type DomainRef } from '../domain.js';
import { putPage, putPageType } from '../page.js';
import {
  active,
  activeAcquire,
  activeRelease,
  GNTPIN_devr_inc,
  GNTPIN_devw_inc,
  GNTPIN_hstr_inc,
  GNTPIN_hstw_inc,
  type Active,
} from './active.js';
import { closeEntry, reopenEntry, setClaim, tableOf } from './claim.js';
import { maptrackEntry, mapping, putMaptrackHandle, type Mapping } from './maptrack.js';
import { replaceGrantHostMapping } from './pv-map.js';
import { CLAIM_READONLY, outerClaim, unmapState, type UnmapState } from './scratch.js';
import { reduceClaim, reduceStatusForPin } from './status.js';
import { grantReadLock, grantReadUnlock, grantTable, nrGrantEntries, statusHalf } from './table.js';
import { TWIN, twin } from '../twins.js';

const HALVES = GNTMAP_device_map | GNTMAP_host_map;
/** In `done`: nothing of the map is left. */
const DONE_LAST = 1 << 16;

/**
 * First pass of one operation; `op`: the argument structure, copied in. Answers its status and fills `state`.
 * The two structures differ in the second address: device address, or where to take a replacement from.
 */
export function* unmapCommon(cpu: Cpu, op: number, replace: boolean, state: UnmapState): Steps<number> {
  poke(unmapState.done(state), 0);
  const lgt = tableOf(currentDomain(cpu));
  const handle = peek(op + UNMAP_HANDLE) >>> 0;
  if (handle >= (yield* ldOnce(grantTable.maptrackLimit(lgt)))) return GNTST_bad_handle;
  const map = maptrackEntry(lgt, handle);
  // Looked at without a lock; the same again below, with the granter's.
  const seen = yield* ldOnce(mapping.flags(map));
  if (seen === 0) return GNTST_bad_handle;
  const domid = yield* ldOnce(mapping.domid(map));
  const granter = yield* findDomain(domid);
  if (granter === 0) {
    yield* domainCrash(cpu, currentDomain(cpu), CRASH_UNMAP_DEAD_GRANTER);
    return GNTST_okay;
  }
  const word = yield* ldOnce(mapping.ref(map));
  const ref = word >>> 0;
  poke(unmapState.granter(state), granter);
  poke(unmapState.ref(state), word);
  const rgt = tableOf(granter);
  yield* grantReadLock(cpu, rgt);
  let status: number = GNTST_bad_handle;
  let freed = false;
  if (ref < (yield* nrGrantEntries(rgt))) {
    const act = yield* activeAcquire(cpu, rgt, ref);
    if (twin(TWIN['unmap-unchecked'])) poke(unmapState.done(state), seen);
    status = yield* unmapLocked(cpu, op, replace, state, map, act, domid);
    freed = (peek(unmapState.done(state)) & DONE_LAST) !== 0;
    yield* activeRelease(cpu, act);
  }
  yield* grantReadUnlock(cpu, rgt);
  if (freed) yield* putMaptrackHandle(cpu, lgt, handle);
  if (status === GNTST_okay) trace(cpu, EVENT.grantUnmap, ref, handle);
  return status;
}

/** Undoes the halves the operation names. Active entry and table lock held. */
function* unmapLocked(
  cpu: Cpu,
  op: number,
  replace: boolean,
  state: UnmapState,
  map: Mapping,
  act: Active,
  domid: number,
): Steps<number> {
  // Raced when the entry is another grant's by now; then it differs.
  const now = yield* ldOnce(mapping.flags(map));
  const flags = twin(TWIN['unmap-unchecked']) ? peek(unmapState.done(state)) : now;
  const sameDomain = (yield* ldOnce(mapping.domid(map))) === domid;
  const sameRef = (yield* ldOnce(mapping.ref(map))) === peek(unmapState.ref(state));
  poke(unmapState.done(state), 0);
  if (flags === 0 || !sameDomain || !sameRef) return GNTST_bad_handle;
  const mfn = peek(active.mfn(act)) as Mfn;
  poke(unmapState.mfn(state), mfn);
  const device =
    !replace && (flags & GNTMAP_device_map) !== 0 && (peek(op + UNMAP_DEV) | peek(op + UNMAP_DEV + 1)) !== 0;
  const host = (flags & GNTMAP_host_map) !== 0 && (peek(op) | peek(op + 1)) !== 0;
  if (device && (peek(op + UNMAP_DEV) !== mfn << 12 || peek(op + UNMAP_DEV + 1) !== mfn >>> 20)) {
    return GNTST_bad_dev_addr;
  }
  if (device || host) {
    const site = SITE[replace ? 'gnttab.unmap_and_replace' : 'gnttab.unmap'];
    const fault = faultHit(cpu, site, peek(unmapState.ref(state)), peek(op + UNMAP_HANDLE), mfn);
    if (fault !== 0) return fault;
  }
  let left = flags;
  if (host) {
    const newLo = replace ? peek(op + REPLACE_NEW) : 0;
    const newHi = replace ? peek(op + REPLACE_NEW + 1) : 0;
    const status = yield* replaceGrantHostMapping(cpu, peek(op), peek(op + 1), mfn, newLo, newHi, flags);
    if (status !== GNTST_okay) return status;
    left &= ~GNTMAP_host_map;
  }
  if (device) left &= ~GNTMAP_device_map;
  if (left === flags) return GNTST_okay;
  // Dead when nothing of the map is left. Raced: others look at the flags before they have the lock.
  const last = (left & HALVES) === 0 && !twin(TWIN['xsa-218-handle']);
  yield* stOnce(mapping.flags(map), last ? 0 : left);
  poke(unmapState.done(state), (flags & ~left & HALVES) | (flags & GNTMAP_readonly) | (last ? DONE_LAST : 0));
  if (twin(TWIN['xsa-218-handle'])) poke(unmapState.done(state), peek(unmapState.done(state)) | handleBits(op));
  if (twin(TWIN['xsa-218-pin'])) yield* unpinEarly(cpu, state, act);
  return GNTST_okay;
}

/** What the twin xsa-218-pin does in the first pass: pins and shared bits go, the references stay for the second. */
function* unpinEarly(cpu: Cpu, state: UnmapState, act: Active): Steps<void> {
  const done = peek(unmapState.done(state));
  const readonly = (done & GNTMAP_readonly) !== 0;
  const granter = peek(unmapState.granter(state)) as DomainRef;
  const ref = peek(unmapState.ref(state));
  let pin = peek(active.pin(act));
  if ((done & GNTMAP_device_map) !== 0) pin -= readonly ? GNTPIN_devr_inc : GNTPIN_devw_inc;
  if ((done & GNTMAP_host_map) !== 0) pin -= readonly ? GNTPIN_hstr_inc : GNTPIN_hstw_inc;
  yield* st(active.pin(act), pin);
  const rgt = tableOf(granter);
  const half = yield* statusHalf(rgt, peek(grantTable.version(rgt)), ref >>> 0);
  yield* reduceStatusForPin(act, half, readonly);
}

/** Second pass: drops what the undone halves held, pages first, then the pins, then the granter's bits. */
export function* unmapCommonComplete(cpu: Cpu, state: UnmapState): Steps<void> {
  const done = peek(unmapState.done(state));
  if (done === 0) return;
  const granter = peek(unmapState.granter(state)) as DomainRef;
  const mfn = peek(unmapState.mfn(state)) as Mfn;
  const readonly = (done & GNTMAP_readonly) !== 0;
  const c = outerClaim(cpu);
  setClaim(c, granter, peek(unmapState.ref(state)), 0, readonly ? CLAIM_READONLY : 0);
  const act = yield* reopenEntry(cpu, c);
  if ((done & GNTMAP_device_map) !== 0) {
    yield* dropHalf(cpu, mfn, act, readonly, readonly ? GNTPIN_devr_inc : GNTPIN_devw_inc);
  }
  if ((done & GNTMAP_host_map) !== 0) {
    yield* dropHalf(cpu, mfn, act, readonly, readonly ? GNTPIN_hstr_inc : GNTPIN_hstw_inc);
  }
  yield* reduceClaim(c, act);
  yield* closeEntry(cpu, c, act);
  if (twin(TWIN['xsa-218-handle'])) yield* freeIfDead(cpu, done >>> DONE_HANDLE);
  poke(vcpu.nGrantUnmaps(cpu), peek(vcpu.nGrantUnmaps(cpu)) + 1);
}

/** In `done`, for the twin that frees handles in the second pass: the handle, which must be a small one. */
const DONE_HANDLE = 17;
const handleBits = (op: number): number => peek(op + UNMAP_HANDLE) << DONE_HANDLE;

/** What the twin xsa-218-handle does in the second pass: no half is left, so the handle is free. */
function* freeIfDead(cpu: Cpu, handle: number): Steps<void> {
  const lgt = tableOf(currentDomain(cpu));
  const map = maptrackEntry(lgt, handle);
  if (((yield* ldOnce(mapping.flags(map))) & HALVES) !== 0) return;
  yield* stOnce(mapping.flags(map), 0);
  yield* putMaptrackHandle(cpu, lgt, handle);
}

/** References of one half of a map, then its pin. Active entry lock held. */
function* dropHalf(cpu: Cpu, mfn: Mfn, act: Active, readonly: boolean, increment: number): Steps<void> {
  if (!readonly) yield* putPageType(cpu, mfn);
  yield* putPage(cpu, mfn);
  if (!twin(TWIN['xsa-218-pin'])) yield* st(active.pin(act), peek(active.pin(act)) - increment);
}
