/**
 * Frames into and out of a domain's hands: assign, free, steal, and Xen's own frames shared with a guest.
 *
 * Invariant: a domain's frame has its owner set before its count is above 0 and until it is 0 again; tot_pages counts
 * the frames with that owner which are not Xen's, xenheap_pages those which are.
 * Lock: pageAllocLock of the domain for owner and totals; the heap's lock may be taken inside.
 * Source: assign_pages, free_domheap_pages, steal_page, share_xen_page_with_guest; [X1], [X58].
 */
import { E2BIG, EINVAL, EPERM } from '../abi/errno.js';
import { HypervisorBug } from '../abi/errors.js';
import { INVALID_MFN, type Mfn } from '../abi/frames.js';
import {
  countInfo,
  ownerOf,
  ownerWord,
  PGC_allocated,
  PGC_count_mask,
  PGC_xen_heap,
  PGT_count_mask,
  PGT_locked,
  PGT_lock_waiters,
  PGT_none,
  PGT_pinned,
  PGT_validated,
  PGT_writable_page,
  NO_OWNER,
  typeInfo,
} from '../machine/frame.js';
import type { Cpu } from '../sync/actor.js';
import { RANK } from '../sync/lock-order.js';
import { and, cas, ld, ldOnce, lock, peek, st, stOnce, unlock, waitChange } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { EVENT } from '../trace/events.js';
import { trace } from '../trace/ring.js';
import { domain, domidOf, getKnownaliveDomain, ownerDomain, putDomain, type DomainRef } from './domain.js';
import { allocFrame, freeFrame, setOwner } from './heap.js';
import { getPageAny, putPage } from './page.js';
import { TWIN, twin } from './twins.js';

function* adjustTotal(a: number, by: number): Steps<number> {
  const total = (yield* ld(a)) + by;
  if (total < 0) throw new HypervisorBug('page total below zero');
  yield* st(a, total);
  return total;
}

function* widenBounds(d: DomainRef, mfn: Mfn): Steps<void> {
  if (mfn < (yield* ld(domain.mfnLow(d)))) yield* st(domain.mfnLow(d), mfn);
  if (mfn > (yield* ld(domain.mfnHigh(d)))) yield* st(domain.mfnHigh(d), mfn);
}

/**
 * Makes an ownerless frame the domain's, with its allocation reference. 0; -EINVAL when the domain is dying; -E2BIG or
 * -EPERM above max_pages. `counted` false: the frame already counts in tot_pages (an exchange).
 */
export function* assignPage(cpu: Cpu, d: DomainRef, mfn: Mfn, counted: boolean): Steps<number> {
  yield* lock(cpu, domain.pageAllocLock(d), RANK.pageAlloc);
  const rc = yield* assignLocked(d, mfn, counted);
  yield* unlock(cpu, domain.pageAllocLock(d));
  return rc;
}

function* assignLocked(d: DomainRef, mfn: Mfn, counted: boolean): Steps<number> {
  if ((yield* ldOnce(domain.dying(d))) !== 0 && !twin(TWIN['dying-unchecked'])) return -EINVAL; // raced on purpose: dying is set, then the lock taken
  if (counted) {
    const total = yield* ld(domain.totPages(d));
    if (total > peek(domain.maxPages(d))) return -EPERM;
    if (total === peek(domain.maxPages(d))) return -E2BIG;
    if ((yield* adjustTotal(domain.totPages(d), 1)) === 1) yield* getKnownaliveDomain(d);
  }
  yield* widenBounds(d, mfn);
  yield* setOwner(mfn, domidOf(d));
  yield* stOnce(countInfo(mfn), PGC_allocated | 1); // raced on purpose: published after the owner
  return 0;
}

/** A zeroed frame of the domain; INVALID_MFN when there is none or the domain may have no more. */
export function* allocDomainFrame(cpu: Cpu, d: DomainRef): Steps<Mfn> {
  const mfn = yield* allocFrame(cpu);
  if (mfn < 0) return INVALID_MFN;
  if ((yield* assignPage(cpu, d, mfn, true)) === 0) return mfn;
  yield* freeFrame(cpu, mfn);
  return INVALID_MFN;
}

/** The last reference went: the frame leaves its owner. Xen's frames stay Xen's, merely unshared. */
export function* freePage(cpu: Cpu, mfn: Mfn): Steps<void> {
  const d = yield* ownerDomain(ownerOf(yield* ld(ownerWord(mfn))));
  if (d === 0) throw new HypervisorBug(`frame ${String(mfn)} lost its last reference and has no owner`);
  const xen = ((yield* ldOnce(countInfo(mfn))) & PGC_xen_heap) !== 0; // raced on purpose: others may try to get it
  const type = yield* ldOnce(typeInfo(mfn)); // raced on purpose: as above
  if (!xen && (type & PGT_count_mask) !== 0) throw new HypervisorBug(`frame ${String(mfn)} freed while typed`);
  trace(cpu, EVENT.pageFree, mfn, domidOf(d));
  const total = xen ? domain.xenheapPages(d) : domain.totPages(d);
  const locked = !twin(TWIN['total-unlocked']);
  if (locked) yield* lock(cpu, domain.pageAllocLock(d), RANK.pageAlloc);
  const left = yield* adjustTotal(total, -1);
  if (locked) yield* unlock(cpu, domain.pageAllocLock(d));
  if (!xen) yield* freeFrame(cpu, mfn);
  if (left === 0) yield* putDomain(d);
}

/** Drops the allocation's reference if it is still there ([X1]); the caller holds one of its own. */
export function* putPageAllocRef(cpu: Cpu, mfn: Mfn): Steps<boolean> {
  const a = countInfo(mfn);
  // The twin's look comes first, and whoever else looks before the bit is gone drops the reference too.
  const was = twin(TWIN['alloc-ref-race']) ? yield* ldOnce(a) : yield* and(a, ~PGC_allocated);
  if ((was & PGC_allocated) === 0) return false;
  if (twin(TWIN['alloc-ref-race'])) yield* and(a, ~PGC_allocated);
  yield* putPage(cpu, mfn);
  return true;
}

/**
 * Takes the frame out of the domain: afterwards count 0, no type, no owner. Wants it mapped nowhere, else -EINVAL.
 * `counted` false: tot_pages keeps counting it (another frame will take its place).
 */
export function* stealPage(cpu: Cpu, d: DomainRef, mfn: Mfn, counted: boolean): Steps<number> {
  if (!(yield* getPageAny(mfn))) return -EINVAL;
  if (!(yield* unhook(d, mfn))) {
    yield* putPage(cpu, mfn);
    return -EINVAL;
  }
  yield* lock(cpu, domain.pageAllocLock(d), RANK.pageAlloc);
  const type = yield* ldOnce(typeInfo(mfn)); // raced on purpose: gets fail at count 0
  if ((type & (PGT_count_mask | PGT_pinned)) !== 0) throw new HypervisorBug(`stolen frame ${String(mfn)} is typed`);
  yield* stOnce(typeInfo(mfn), 0);
  yield* setOwner(mfn, NO_OWNER);
  const gone = counted && (yield* adjustTotal(domain.totPages(d), -1)) === 0;
  yield* unlock(cpu, domain.pageAllocLock(d));
  if (gone) yield* putDomain(d);
  return 0;
}

/** From exactly {allocation, our probe} to nothing, at once; our probe is held on entry. */
function* unhook(d: DomainRef, mfn: Mfn): Steps<boolean> {
  if (ownerOf(yield* ld(ownerWord(mfn))) !== domidOf(d)) return false;
  const a = countInfo(mfn);
  const want = PGC_allocated | 2;
  const mask = PGC_count_mask | PGC_allocated | PGC_xen_heap;
  let y = peek(a);
  for (;;) {
    const x = y;
    if ((x & mask) !== want) {
      y = yield* ldOnce(a); // raced on purpose: others get and put
      if (y !== x) continue;
      return false;
    }
    const next = x & ~(PGC_count_mask | PGC_allocated | PGT_locked | PGT_lock_waiters);
    if (twin(TWIN['xsa-287'])) {
      yield* stOnce(a, next); // raced: a reference taken since the look is lost
      return true;
    }
    y = yield* cas(a, x, next);
    if (y === x) return true;
  }
}

/** A zeroed frame of Xen's heap, shared with nobody; INVALID_MFN when none is left. */
export function* allocXenFrame(cpu: Cpu): Steps<Mfn> {
  const mfn = yield* allocFrame(cpu);
  if (mfn >= 0) yield* stOnce(countInfo(mfn), PGC_xen_heap); // raced on purpose: count 0 refuses every get
  return mfn;
}

/**
 * Lets the domain map Xen's frame, read-only unless `writable`; the domain then holds its allocation reference. A dying
 * domain gets none: nobody would drop it any more.
 */
export function* shareXenFrame(cpu: Cpu, mfn: Mfn, d: DomainRef, writable: boolean): Steps<void> {
  yield* lock(cpu, domain.pageAllocLock(d), RANK.pageAlloc);
  yield* stOnce(typeInfo(mfn), (writable ? PGT_writable_page : PGT_none) | PGT_validated | 1);
  yield* setOwner(mfn, domidOf(d));
  // Raced on purpose: dying is set, then the lock taken.
  if ((yield* ldOnce(domain.dying(d))) === 0) {
    if ((yield* adjustTotal(domain.xenheapPages(d), 1)) === 1) yield* getKnownaliveDomain(d);
    yield* widenBounds(d, mfn);
    yield* stOnce(countInfo(mfn), PGC_xen_heap | PGC_allocated | 1); // raced on purpose: published last
  }
  yield* unlock(cpu, domain.pageAllocLock(d));
}

/**
 * Takes back what a domain shares that was never finished, so that nobody can look its frames' owner up; one that died has
 * dropped this reference itself. Whoever tried to get the frame meanwhile gives up at once.
 */
export function* unshareUnfound(cpu: Cpu, mfn: Mfn): Steps<void> {
  const shared = PGC_xen_heap | PGC_allocated | 1;
  for (;;) {
    const was = yield* cas(countInfo(mfn), shared, PGC_xen_heap);
    if (was === shared || (was & PGC_allocated) === 0) return;
    yield* waitChange(cpu, countInfo(mfn), was);
  }
}

/** Gives a frame of Xen's heap back; nobody holds a reference on it any more. */
export function* freeXenFrame(cpu: Cpu, mfn: Mfn): Steps<void> {
  const info = yield* ldOnce(countInfo(mfn)); // raced on purpose: gets on a count of 0 fail
  if ((info & PGC_count_mask) !== 0) throw new HypervisorBug(`Xen's frame ${String(mfn)} freed while referenced`);
  yield* freeFrame(cpu, mfn);
}
