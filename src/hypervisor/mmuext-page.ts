/**
 * mmuext operations on frames: pin, unpin, clear, copy.
 *
 * Invariant: PGT_pinned holds one type reference and one general reference, once per frame ([X10]).
 * Lock: none; the bit itself decides. A pin of a domain that dies meanwhile is taken back by whoever clears the bit.
 * Source: do_mmuext_op, xen/arch/x86/mm.c; [X32], [X34]; fault sites mmuext.pin, mmuext.unpin.
 */
import { EINTR, EINVAL, ERESTART } from '../abi/errno.js';
import { mfnWord, PAGE_WORDS, type Mfn } from '../abi/frames.js';
import { faultHit } from '../fault/plan.js';
import { SITE } from '../fault/sites.js';
import { PGT_l1_page_table, PGT_pinned, PGT_writable_page, typeInfo } from '../machine/frame.js';
import type { Cpu } from '../sync/actor.js';
import { RANK } from '../sync/lock-order.js';
import { and, copy, fill, ldOnce, lock, or, touch, unlock } from '../sync/primitives.js';
import { POINT_READ } from '../sync/schedule.js';
import type { Steps } from '../sync/steps.js';
import { EVENT } from '../trace/events.js';
import { trace } from '../trace/ring.js';
import { toMfn } from './base.js';
import { currentDomain, domain, domidOf, type DomainRef } from './domain.js';
import {
  getPage,
  getPageType,
  getPageTypePreemptible,
  putPage,
  putPageAndType,
  putPageAndTypePreemptible,
} from './page.js';
import { isOldGuestTable, setOldGuestTable } from './upper.js';
import { TWIN, twin } from './twins.js';

const NO_TABLE = -1 as Mfn;

/** A reference on the frame if it is `d`'s; the frame, or negative. */
function* getOwn(cpu: Cpu, d: DomainRef, lo: number, hi: number): Steps<Mfn> {
  const mfn = toMfn(lo, hi);
  return mfn >= 0 && (yield* getPage(cpu, mfn, domidOf(d))) ? mfn : NO_TABLE;
}

/** MMUEXT_PIN_L*_TABLE: 0, -EINVAL, an entry's error, or -ERESTART. */
export function* pinPage(cpu: Cpu, pgOwner: DomainRef, lo: number, hi: number, type: number): Steps<number> {
  const fault = faultHit(cpu, SITE['mmuext.pin'], -1, -1, lo);
  if (fault !== 0) return fault;
  const mfn = yield* getOwn(cpu, pgOwner, lo, hi);
  if (mfn < 0) return -EINVAL;
  const rc = yield* getPageTypePreemptible(cpu, mfn, type);
  if (rc !== 0) {
    if (!isOldGuestTable(cpu, mfn)) yield* putPage(cpu, mfn);
    return rc === -EINTR ? -ERESTART : rc;
  }
  const seen = twin(TWIN['pin-race']) ? yield* ldOnce(typeInfo(mfn)) : 0; // raced: too early
  const set = yield* or(typeInfo(mfn), PGT_pinned);
  const was = twin(TWIN['pin-race']) ? seen : set;
  trace(cpu, EVENT.pin, mfn, type);
  if ((was & PGT_pinned) !== 0) {
    yield* pinDrop(cpu, mfn, type);
    return -EINVAL;
  }
  if (pgOwner !== currentDomain(cpu) && (yield* diedMeanwhile(cpu, pgOwner, mfn))) yield* pinDrop(cpu, mfn, type);
  return 0;
}

/** The owner is dying and its destroyer has not seen the pin: then it is ours to drop. */
function* diedMeanwhile(cpu: Cpu, d: DomainRef, mfn: Mfn): Steps<boolean> {
  yield* lock(cpu, domain.pageAllocLock(d), RANK.pageAlloc);
  const dying = yield* ldOnce(domain.dying(d)); // raced on purpose: either side clears the bit
  const was = dying === 0 ? 0 : yield* and(typeInfo(mfn), ~PGT_pinned);
  yield* unlock(cpu, domain.pageAllocLock(d));
  return (was & PGT_pinned) !== 0;
}

/** The references taken for a pin that is not to be: an L1's at once, others' as old_guest_table. */
function* pinDrop(cpu: Cpu, mfn: Mfn, type: number): Steps<void> {
  if (type === PGT_l1_page_table) yield* putPageAndType(cpu, mfn);
  else setOldGuestTable(cpu, mfn, false);
}

/** MMUEXT_UNPIN_TABLE: 0 or -EINVAL; an interrupted teardown is finished later and the operation counts as done. */
export function* unpinPage(cpu: Cpu, pgOwner: DomainRef, lo: number, hi: number): Steps<number> {
  const injected = faultHit(cpu, SITE['mmuext.unpin'], -1, -1, lo);
  if (injected !== 0) return injected;
  const mfn = yield* getOwn(cpu, pgOwner, lo, hi);
  if (mfn < 0) return -EINVAL;
  const seen = twin(TWIN['unpin-race']) ? yield* ldOnce(typeInfo(mfn)) : 0; // raced: too early
  const cleared = yield* and(typeInfo(mfn), ~PGT_pinned);
  const was = twin(TWIN['unpin-race']) ? seen : cleared;
  if ((was & PGT_pinned) === 0) {
    yield* putPage(cpu, mfn);
    return -EINVAL;
  }
  const rc = yield* putPageAndTypePreemptible(cpu, mfn);
  if (rc !== 0) setOldGuestTable(cpu, mfn, rc === -ERESTART);
  trace(cpu, EVENT.unpin, mfn, rc);
  yield* putPage(cpu, mfn);
  return 0;
}

/** MMUEXT_CLEAR_PAGE: 0 or -EINVAL. */
export function* clearPage(cpu: Cpu, pgOwner: DomainRef, lo: number, hi: number): Steps<number> {
  const mfn = yield* getWritable(cpu, pgOwner, lo, hi);
  if (mfn < 0) return -EINVAL;
  yield* fill(mfnWord(mfn), PAGE_WORDS);
  yield* putPageAndType(cpu, mfn);
  return 0;
}

/** MMUEXT_COPY_PAGE: 0 or -EINVAL. */
export function* copyPage(
  cpu: Cpu,
  pgOwner: DomainRef,
  lo: number,
  hi: number,
  srcLo: number,
  srcHi: number,
): Steps<number> {
  const src = yield* getOwn(cpu, pgOwner, srcLo, srcHi);
  if (src < 0) return -EINVAL;
  const dst = yield* getWritable(cpu, pgOwner, lo, hi);
  if (dst >= 0) {
    yield* touch(mfnWord(src), PAGE_WORDS, POINT_READ);
    yield* copy(mfnWord(dst), mfnWord(src), PAGE_WORDS);
    yield* putPageAndType(cpu, dst);
  }
  yield* putPage(cpu, src);
  return dst < 0 ? -EINVAL : 0;
}

/** Reference and writable type on a frame of `d`; the frame, or negative. */
function* getWritable(cpu: Cpu, d: DomainRef, lo: number, hi: number): Steps<Mfn> {
  const mfn = yield* getOwn(cpu, d, lo, hi);
  if (mfn < 0) return NO_TABLE;
  if ((yield* getPageType(cpu, mfn, PGT_writable_page)) === 0) return mfn;
  yield* putPage(cpu, mfn);
  return NO_TABLE;
}
