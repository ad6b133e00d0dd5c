/**
 * GNTTABOP_map_grant_ref: handle, claim, references, page-table entry, publication; and the way back from each.
 *
 * Invariant: an operation that does not answer okay has left no pin, no claim, no reference and no handle behind.
 * Lock: granter's table for reading, then its active entry, while pinning; neither while references are taken and the
 * entry is installed: a pin does not yet mean that the frame is held.
 * Source: [X46], [X50]; xen/common/grant_table.c, map_grant_ref.
 */
import type { Mfn } from '../../abi/frames.js';
import { PAGE_SIZE } from '../../abi/frames.js';
import {
  GNTMAP_device_map,
  GNTMAP_host_map,
  GNTMAP_readonly,
  GNTST_bad_domain,
  GNTST_bad_gntref,
  GNTST_bad_page,
  GNTST_general_error,
  GNTST_no_space,
  GNTST_okay,
  lowHalf,
  MAP_DEV,
  MAP_DOM,
  MAP_FLAGS,
  MAP_HANDLE,
  MAP_REF,
  V2_FRAME,
  withHighHalf,
} from '../../abi/grant.js';
import { faultHit } from '../../fault/plan.js';
import { SITE } from '../../fault/sites.js';
import { vcpu } from '../../machine/cpu-record.js';
import { mfnValid, ownerOf, ownerWord, PGT_writable_page } from '../../machine/frame.js';
import type { Cpu } from '../../sync/actor.js';
import { hi64, ld, ld64, ldOnce, peek, poke, st, stOnce } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { EVENT } from '../../trace/events.js';
import { trace } from '../../trace/ring.js';
import { currentDomain, domidOf, findDomain, type DomainRef } from '../domain.js';
import { getPage, getPageAny, getPageType, putPage, putPageType } from '../page.js';
import {
  active,
  activeRange,
  ACTIVE_SUB_PAGE,
  GNTPIN_devr_inc,
  GNTPIN_devw_inc,
  GNTPIN_hstr_inc,
  GNTPIN_hstw_inc,
  type Active,
} from './active.js';
import {
  closeEntry,
  latch,
  needsStatus,
  openEntry,
  pinRefused,
  reopenEntry,
  setClaim,
  tableOf,
  takePin,
} from './claim.js';
import { getMaptrackHandle, mapping, maptrackEntry, NO_HANDLE, putMaptrackHandle } from './maptrack.js';
import { createGrantHostMapping } from './pv-map.js';
import { claim, CLAIM_MAP, CLAIM_READONLY, outerClaim, type Claim } from './scratch.js';
import { reduceClaim, setStatus } from './status.js';
import type { GrantTable } from './table.js';
import { TWIN, twin } from '../twins.js';

/** What one map with these flags adds to the pin word. */
function pinIncrement(flags: number): number {
  const readonly = (flags & GNTMAP_readonly) !== 0;
  let n = 0;
  if ((flags & GNTMAP_device_map) !== 0) n += readonly ? GNTPIN_devr_inc : GNTPIN_devw_inc;
  if ((flags & GNTMAP_host_map) !== 0) n += readonly ? GNTPIN_hstr_inc : GNTPIN_hstw_inc;
  return n;
}

/** One operation; `op`: the argument structure, copied in; its results are written there. */
export function* mapGrantRef(cpu: Cpu, op: number): Steps<void> {
  const status = yield* mapChecked(cpu, op);
  poke(op + MAP_DOM, withHighHalf(peek(op + MAP_DOM), status));
}

function* mapChecked(cpu: Cpu, op: number): Steps<number> {
  const flags = peek(op + MAP_FLAGS);
  const increment = pinIncrement(flags);
  if (increment === 0) return GNTST_bad_gntref;
  const fault = faultHit(cpu, SITE['gnttab.map'], peek(op + MAP_REF));
  if (fault !== 0) return fault;
  const granter = yield* findDomain(lowHalf(peek(op + MAP_DOM)));
  if (granter === 0) return GNTST_bad_domain;
  const mapper = currentDomain(cpu);
  const lgt = tableOf(mapper);
  const handle = yield* getMaptrackHandle(cpu, lgt, peek(vcpu.id(cpu)));
  if (handle === NO_HANDLE) return GNTST_no_space;
  const c = outerClaim(cpu);
  const how = CLAIM_MAP | ((flags & GNTMAP_readonly) !== 0 ? CLAIM_READONLY : 0);
  setClaim(c, granter, peek(op + MAP_REF), domidOf(mapper), how);
  const early = twin(TWIN['publish-early']);
  if (early) yield* storeEntry(op, lgt, handle);
  const status = yield* mapClaimed(cpu, op, c, increment);
  if (status === GNTST_okay) yield* publish(cpu, op, c, lgt, handle, !early);
  else {
    if (early) yield* stOnce(mapping.flags(maptrackEntry(lgt, handle)), 0);
    yield* putMaptrackHandle(cpu, lgt, handle);
  }
  return status;
}

function* mapClaimed(cpu: Cpu, op: number, c: Claim, increment: number): Steps<number> {
  let status = yield* pinGrant(cpu, c, increment);
  if (status !== GNTST_okay) return status;
  status = yield* holdAndInstall(cpu, op, c);
  if (status === GNTST_okay) return status;
  yield* dropHeld(cpu, c);
  const act = yield* reopenEntry(cpu, c);
  yield* st(active.pin(act), peek(active.pin(act)) - increment);
  yield* reduceClaim(c, act);
  yield* closeEntry(cpu, c, act);
  return status;
}

/** Makes the handle live and fills in the results. */
function* publish(cpu: Cpu, op: number, c: Claim, lgt: GrantTable, handle: number, store: boolean): Steps<void> {
  if (store) yield* storeEntry(op, lgt, handle);
  const mfn = peek(claim.mfn(c));
  poke(op + MAP_DEV, mfn << 12);
  poke(op + MAP_DEV + 1, mfn >>> 20);
  poke(op + MAP_HANDLE, handle);
  poke(vcpu.nGrantMaps(cpu), peek(vcpu.nGrantMaps(cpu)) + 1);
  trace(cpu, EVENT.grantMap, peek(op + MAP_REF), handle);
}

function* storeEntry(op: number, lgt: GrantTable, handle: number): Steps<void> {
  const entry = maptrackEntry(lgt, handle);
  const first = twin(TWIN['flags-first']);
  if (first) yield* stOnce(mapping.flags(entry), lowHalf(peek(op + MAP_FLAGS)));
  yield* stOnce(mapping.domid(entry), lowHalf(peek(op + MAP_DOM)));
  yield* stOnce(mapping.ref(entry), peek(op + MAP_REF));
  if (!first) yield* stOnce(mapping.flags(entry), lowHalf(peek(op + MAP_FLAGS))); // stored last: an unmap looks at it first
}

/** Claims the shared entry unless the pins cover the access already, and pins. Frame and version go to `c`. */
function* pinGrant(cpu: Cpu, c: Claim, increment: number): Steps<number> {
  const act = yield* openEntry(cpu, c);
  if (act === 0) return GNTST_bad_gntref;
  const status = yield* pinOpen(cpu, c, act, increment);
  if (status === GNTST_okay) yield* takePin(c, act, increment);
  if (twin(TWIN.relatch) && peek(claim.version(c)) === 1) poke(claim.mfn(c), yield* ldOnce(peek(claim.shah(c)) + 1));
  yield* closeEntry(cpu, c, act);
  return status;
}

function* pinOpen(cpu: Cpu, c: Claim, act: Active, increment: number): Steps<number> {
  if (pinRefused(c, act, increment)) return GNTST_general_error;
  const pin = peek(active.pin(act));
  if (pin !== 0 && (peek(active.range(act)) & ACTIVE_SUB_PAGE) !== 0) return GNTST_general_error;
  if (!needsStatus(pin, peek(claim.how(c)))) return GNTST_okay;
  const status = yield* setStatus(c, act);
  if (status !== GNTST_okay || pin !== 0) return status;
  if (yield* latchFrame(cpu, c, act)) return GNTST_okay;
  yield* reduceClaim(c, act);
  return GNTST_bad_page;
}

/** First use: reads the frame out of the shared entry, once, and keeps it in the active one with a reference taken. */
function* latchFrame(cpu: Cpu, c: Claim, act: Active): Steps<boolean> {
  const shah = peek(claim.shah(c));
  const v1 = peek(claim.version(c)) === 1;
  const lo = v1 ? yield* ldOnce(shah + 1) : yield* ld64(shah + V2_FRAME);
  const hi = v1 ? 0 : hi64();
  const granter = peek(claim.granter(c)) as DomainRef;
  if (!mfnValid(lo, hi) || !(yield* getPage(cpu, lo as Mfn, domidOf(granter)))) return false;
  poke(claim.gotPage(c), 1);
  yield* latch(c, act, lo, activeRange(0, false, PAGE_SIZE), granter, peek(claim.ref(c)));
  return true;
}

/** Takes the references the mapping is to hold, counted in `c`, and writes the page-table entry. */
function* holdAndInstall(cpu: Cpu, op: number, c: Claim): Steps<number> {
  const flags = peek(op + MAP_FLAGS);
  const mfn = peek(claim.mfn(c)) as Mfn;
  const owner = domidOf(peek(claim.granter(c)) as DomainRef);
  const writes = (flags & GNTMAP_readonly) === 0;
  const device = (flags & GNTMAP_device_map) !== 0;
  poke(claim.types(c), 0);
  poke(claim.refs(c), peek(claim.gotPage(c)));
  if (peek(claim.gotPage(c)) === 0) {
    if (!(yield* getPageAny(mfn))) return GNTST_general_error;
    poke(claim.refs(c), 1);
    if (ownerOf(yield* ld(ownerWord(mfn))) !== owner) return GNTST_general_error;
  }
  if (device && writes && !(yield* holdWritable(cpu, c, mfn))) return GNTST_general_error;
  if ((flags & GNTMAP_host_map) === 0) return GNTST_okay;
  if (device) {
    if (!(yield* getPage(cpu, mfn, owner))) return GNTST_general_error;
    poke(claim.refs(c), 2);
  }
  if (writes && !(yield* holdWritable(cpu, c, mfn))) return GNTST_general_error;
  const fault = faultHit(cpu, SITE['gnttab.map.install'], peek(op + MAP_REF), -1, mfn);
  if (fault !== 0) return fault;
  return yield* createGrantHostMapping(cpu, peek(op), peek(op + 1), mfn, flags);
}

function* holdWritable(cpu: Cpu, c: Claim, mfn: Mfn): Steps<boolean> {
  if ((yield* getPageType(cpu, mfn, PGT_writable_page)) !== 0) return false;
  poke(claim.types(c), peek(claim.types(c)) + 1);
  return true;
}

function* dropHeld(cpu: Cpu, c: Claim): Steps<void> {
  const mfn = peek(claim.mfn(c)) as Mfn;
  for (let n = peek(claim.types(c)); n > 0; n--) yield* putPageType(cpu, mfn);
  for (let n = peek(claim.refs(c)); n > 0; n--) yield* putPage(cpu, mfn);
}
