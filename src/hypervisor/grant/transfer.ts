/**
 * GNTTABOP_transfer: a frame of the caller's becomes the frame of the domain that offered to accept one.
 *
 * Invariant: once taken from the caller, the frame goes to the receiver or back to the heap: it never returns. The
 * receiver sees committed, then the frame number, then completed.
 * Lock: the receiver's pageAllocLock for its total, dropped before its table's lock is taken (the other order would
 * deadlock with growth under the table's lock).
 * Source: [X58]; xen/common/grant_table.c, gnttab_transfer, gnttab_prepare_for_transfer.
 * Differs: no address-width clamp (every mfn fits a version 1 entry).
 */
import type { Mfn } from '../../abi/frames.js';
import {
  GNTST_bad_domain,
  GNTST_bad_page,
  GNTST_general_error,
  GNTST_okay,
  GTF_accept_transfer,
  GTF_transfer_committed,
  GTF_transfer_completed,
  highHalf,
  lowHalf,
  TRANSFER_DOM,
  TRANSFER_REF,
  V2_FRAME,
} from '../../abi/grant.js';
import { faultHit } from '../../fault/plan.js';
import { SITE } from '../../fault/sites.js';
import { mfnValid } from '../../machine/frame.js';
import type { Cpu } from '../../sync/actor.js';
import { RANK } from '../../sync/lock-order.js';
import { cas, hi64, ld, ld64, ldOnce, lock, or, peek, st, st64, stOnce, unlock } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { EVENT } from '../../trace/events.js';
import { trace } from '../../trace/ring.js';
import { assignPage, stealPage } from '../allocation.js';
import {
  currentDomain,
  domain,
  domidOf,
  findDomain,
  getKnownaliveDomain,
  putDomain,
  type DomainRef,
} from '../domain.js';
import { flushDomain } from '../flush.js';
import { freeFrame } from '../heap.js';
import { setM2p } from '../m2p.js';
import { closeEntry, openEntry, setClaim, tableOf } from './claim.js';
import { claim, outerClaim } from './scratch.js';
import { grantReadLock, grantReadUnlock, grantTable, nrGrantEntries, sharedEntry } from './table.js';

/** Tries of a compare-exchange against a guest that keeps changing the word. */
const TRIES = 5;

/** One operation; `op`: the argument structure, copied in. Answers its status. */
export function* transferPage(cpu: Cpu, op: number): Steps<number> {
  const giver = currentDomain(cpu);
  if (!mfnValid(peek(op), peek(op + 1))) return GNTST_bad_page;
  const mfn = peek(op) as Mfn;
  const fault = faultHit(cpu, SITE['gnttab.transfer'], peek(op + TRANSFER_REF), -1, mfn);
  if (fault !== 0) return fault;
  if ((yield* stealPage(cpu, giver, mfn, true)) !== 0) return GNTST_bad_page;
  yield* flushDomain(cpu, giver);
  const taker = yield* findDomain(lowHalf(peek(op + TRANSFER_DOM)));
  const status = taker === 0 ? GNTST_bad_domain : yield* handOver(cpu, op, taker, mfn);
  if (status === TOLD_NOBODY) return GNTST_general_error;
  if (status !== GNTST_okay) yield* freeFrame(cpu, mfn);
  else trace(cpu, EVENT.grantTransfer, mfn, domidOf(taker));
  return status;
}

/** The frame is the taker's, but the entry changed version before it could say so. */
const TOLD_NOBODY = 1;

function* handOver(cpu: Cpu, op: number, taker: DomainRef, mfn: Mfn): Steps<number> {
  if (!(yield* reservePage(cpu, taker))) return GNTST_general_error;
  const ref = peek(op + TRANSFER_REF) >>> 0;
  const version = yield* commit(cpu, taker, ref);
  if (version === 0 || (yield* assignPage(cpu, taker, mfn, false)) !== 0) {
    yield* unreservePage(cpu, taker);
    return GNTST_general_error;
  }
  return yield* complete(cpu, taker, ref, mfn, version);
}

/** Counts the frame in the taker's total before it is the taker's; false: dying, or no room. */
function* reservePage(cpu: Cpu, taker: DomainRef): Steps<boolean> {
  yield* lock(cpu, domain.pageAllocLock(taker), RANK.pageAlloc);
  const total = yield* ld(domain.totPages(taker));
  const dying = yield* ldOnce(domain.dying(taker)); // raced on purpose: dying is set, then the lock taken
  const room = dying === 0 && total < peek(domain.maxPages(taker));
  if (room) {
    yield* st(domain.totPages(taker), total + 1);
    if (total === 0) yield* getKnownaliveDomain(taker);
  }
  yield* unlock(cpu, domain.pageAllocLock(taker));
  return room;
}

function* unreservePage(cpu: Cpu, taker: DomainRef): Steps<void> {
  yield* lock(cpu, domain.pageAllocLock(taker), RANK.pageAlloc);
  const total = (yield* ld(domain.totPages(taker))) - 1;
  yield* st(domain.totPages(taker), total);
  yield* unlock(cpu, domain.pageAllocLock(taker));
  if (total === 0) yield* putDomain(taker);
}

/** Locks down an entry that accepts a frame from the caller; the table's version, or 0 when it is none. */
function* commit(cpu: Cpu, taker: DomainRef, ref: number): Steps<number> {
  const rgt = tableOf(taker);
  let version = 0;
  yield* grantReadLock(cpu, rgt);
  if (ref < (yield* nrGrantEntries(rgt))) {
    version = yield* ld(grantTable.version(rgt));
    if (!(yield* commitEntry(yield* sharedEntry(rgt, version, ref), domidOf(currentDomain(cpu))))) version = 0;
  }
  yield* grantReadUnlock(cpu, rgt);
  return version;
}

function* commitEntry(shah: number, giver: number): Steps<boolean> {
  let header = yield* ldOnce(shah); // raced: the taker may take its offer back
  for (let i = 0; i < TRIES; i++) {
    if (lowHalf(header) !== GTF_accept_transfer || highHalf(header) !== giver) return false;
    const was = yield* cas(shah, header, header | GTF_transfer_committed);
    if (was === header) return true;
    header = was;
  }
  return false;
}

/** Tells the taker the frame's number. */
function* complete(cpu: Cpu, taker: DomainRef, ref: number, mfn: Mfn, version: number): Steps<number> {
  const c = outerClaim(cpu);
  setClaim(c, taker, ref, 0, 0);
  const act = yield* openEntry(cpu, c);
  if (act === 0) return TOLD_NOBODY;
  const same = peek(claim.version(c)) === version;
  const shah = peek(claim.shah(c));
  if (same) {
    yield* exchangeFrame(shah, version, mfn);
    yield* or(shah, GTF_transfer_completed);
  }
  yield* closeEntry(cpu, c, act);
  return same ? GNTST_okay : TOLD_NOBODY;
}

/**
 * What the entry held is the frame's pseudo-physical number from now on; the entry holds the frame's own.
 * Source: guest_physmap_add_page in gnttab_transfer, xen/common/grant_table.c.
 */
function* exchangeFrame(shah: number, version: number, mfn: Mfn): Steps<void> {
  if (version === 1) {
    yield* setM2p(mfn, yield* ldOnce(shah + 1), 0); // the taker's word, which it may change meanwhile
    yield* stOnce(shah + 1, mfn); // the taker waits for the bit that follows
    return;
  }
  const lo = yield* ld64(shah + V2_FRAME);
  yield* setM2p(mfn, lo, hi64());
  yield* st64(shah + V2_FRAME, mfn, 0);
}
