/**
 * GNTTABOP_copy: bytes from one frame to another, each named by a grant or, if it is the caller's own, by its number.
 *
 * Invariant: a side is kept from one operation of a batch to the next if it names the same thing; all is let go at the
 * first operation that fails and at the end. The target holds a `writable` type reference while it is written.
 * Lock: none over the copying itself: pins and references keep both frames.
 * Source: [X57]; xen/common/grant_table.c, gnttab_copy and below.
 */
import { DOMID_SELF, mfnWord, PAGE_SIZE, type Mfn } from '../../abi/frames.js';
import {
  COPY_DEST,
  COPY_LEN,
  COPY_PTR_WHERE,
  COPY_SOURCE,
  GNTCOPY_dest_gref,
  GNTCOPY_source_gref,
  GNTST_bad_copy_arg,
  GNTST_bad_domain,
  GNTST_bad_page,
  GNTST_general_error,
  GNTST_okay,
  GNTST_permission_denied,
  highHalf,
  lowHalf,
} from '../../abi/grant.js';
import { faultHit } from '../../fault/plan.js';
import { SITE } from '../../fault/sites.js';
import { mfnValid, PGT_writable_page } from '../../machine/frame.js';
import type { Cpu } from '../../sync/actor.js';
import { cas, copy, ldOnce, peek, poke, touch } from '../../sync/primitives.js';
import { POINT_ONCE, POINT_READ } from '../../sync/schedule.js';
import type { Steps } from '../../sync/steps.js';
import { EVENT } from '../../trace/events.js';
import { trace } from '../../trace/ring.js';
import { currentDomain, domidOf, findDomain, type DomainRef } from '../domain.js';
import { getPage, getPageType, putPage, putPageType } from '../page.js';
import { activeRange, rangeLength, rangeStart } from './active.js';
import { acquireGrantForCopy, releaseGrantForCopy } from './copy-claim.js';
import {
  claim,
  CLAIM_READONLY,
  copyBuf,
  copyDest,
  copySource,
  HOLDS_ALL,
  HOLDS_GRANT,
  HOLDS_PAGE,
  HOLDS_TYPE,
  outerClaim,
  type CopyBuf,
} from './scratch.js';
import { TWIN, twin } from '../twins.js';

export function clearCopyBufs(cpu: Cpu): void {
  for (let i = 0; i < copyBuf.words; i++) {
    poke(copySource(cpu) + i, 0);
    poke(copyDest(cpu) + i, 0);
  }
}

/** Lets go of grants, types and references of both sides. */
export function* releaseCopyHolds(cpu: Cpu): Steps<void> {
  yield* releaseBuf(cpu, copySource(cpu));
  yield* releaseBuf(cpu, copyDest(cpu));
}

/** The same, and forgets the domains. */
export function* releaseCopyBufs(cpu: Cpu): Steps<void> {
  yield* releaseCopyHolds(cpu);
  poke(copyBuf.domain(copySource(cpu)), 0);
  poke(copyBuf.domain(copyDest(cpu)), 0);
}

/** One operation; `op`: the argument structure, copied in. Its status, or COPY_RESTART. */
export function* copyOne(cpu: Cpu, op: number): Steps<number> {
  const fault = faultHit(cpu, SITE['gnttab.copy']);
  if (fault !== 0) return fault;
  const source = copySource(cpu);
  const dest = copyDest(cpu);
  if (!sameDomain(op + COPY_SOURCE, source) || !sameDomain(op + COPY_DEST, dest)) {
    yield* releaseCopyBufs(cpu);
    const status = yield* lockDomains(op, cpu);
    if (status !== GNTST_okay) return status;
  }
  let status = yield* ready(cpu, op, op + COPY_SOURCE, source, GNTCOPY_source_gref);
  if (status === GNTST_okay) status = yield* ready(cpu, op, op + COPY_DEST, dest, GNTCOPY_dest_gref);
  if (status !== GNTST_okay) return status;
  return yield* copyBytes(cpu, op);
}

const flagsOf = (op: number): number => highHalf(peek(op + COPY_LEN));
const domidAt = (ptr: number): number => lowHalf(peek(ptr + COPY_PTR_WHERE));
const offsetAt = (ptr: number): number => highHalf(peek(ptr + COPY_PTR_WHERE));

const sameDomain = (ptr: number, buf: CopyBuf): boolean =>
  peek(copyBuf.domain(buf)) !== 0 && peek(copyBuf.domid(buf)) === domidAt(ptr);

function* lockDomains(op: number, cpu: Cpu): Steps<number> {
  const source = yield* lockDomain(cpu, op + COPY_SOURCE, copySource(cpu));
  if (source && (yield* lockDomain(cpu, op + COPY_DEST, copyDest(cpu)))) return GNTST_okay;
  poke(copyBuf.domain(copySource(cpu)), 0);
  return GNTST_bad_domain;
}

function* lockDomain(cpu: Cpu, ptr: number, buf: CopyBuf): Steps<boolean> {
  const domid = domidAt(ptr);
  const d = domid === DOMID_SELF ? currentDomain(cpu) : yield* findDomain(domid);
  poke(copyBuf.domain(buf), d);
  poke(copyBuf.domid(buf), domid);
  return d !== 0;
}

/** Makes the side hold what the operation names, unless it does already. */
function* ready(cpu: Cpu, op: number, ptr: number, buf: CopyBuf, refFlag: number): Steps<number> {
  const byRef = (flagsOf(op) & refFlag) !== 0;
  if (stillValid(ptr, buf, byRef)) return GNTST_okay;
  yield* releaseBuf(cpu, buf);
  return yield* claimBuf(cpu, ptr, buf, byRef, refFlag === GNTCOPY_source_gref);
}

function stillValid(ptr: number, buf: CopyBuf, byRef: boolean): boolean {
  const holds = peek(copyBuf.holds(buf));
  if ((holds & HOLDS_ALL) === 0) return false;
  if (byRef) return (holds & HOLDS_GRANT) !== 0 && peek(ptr) === peek(copyBuf.refLo(buf));
  return peek(ptr) === peek(copyBuf.refLo(buf)) && peek(ptr + 1) === peek(copyBuf.refHi(buf));
}

function* claimBuf(cpu: Cpu, ptr: number, buf: CopyBuf, byRef: boolean, reads: boolean): Steps<number> {
  const d = peek(copyBuf.domain(buf)) as DomainRef;
  const lo = peek(ptr);
  const hi = byRef ? 0 : peek(ptr + 1);
  if (byRef) {
    const me = domidOf(currentDomain(cpu));
    const status = yield* acquireGrantForCopy(cpu, d, lo, me, reads ? CLAIM_READONLY : 0);
    if (status !== GNTST_okay) return status;
    poke(copyBuf.mfn(buf), peek(claim.mfn(outerClaim(cpu))));
    poke(copyBuf.range(buf), peek(claim.range(outerClaim(cpu))));
  } else {
    // Only one's own frames go by number, and only under this name. Recorded: said here, after both domains were found.
    if (peek(copyBuf.domid(buf)) !== DOMID_SELF) return GNTST_permission_denied;
    if (!mfnValid(lo, hi) || !(yield* getPage(cpu, lo as Mfn, domidOf(d)))) return GNTST_bad_page;
    poke(copyBuf.mfn(buf), lo);
    poke(copyBuf.range(buf), activeRange(0, false, PAGE_SIZE));
  }
  poke(copyBuf.refLo(buf), lo);
  poke(copyBuf.refHi(buf), hi);
  poke(copyBuf.holds(buf), byRef ? HOLDS_PAGE | HOLDS_GRANT : HOLDS_PAGE);
  if (!reads) {
    const mfn = peek(copyBuf.mfn(buf)) as Mfn;
    if ((yield* getPageType(cpu, mfn, PGT_writable_page)) !== 0) return GNTST_general_error;
    poke(copyBuf.holds(buf), peek(copyBuf.holds(buf)) | HOLDS_TYPE);
  }
  poke(copyBuf.holds(buf), peek(copyBuf.holds(buf)) | HOLDS_ALL);
  return GNTST_okay;
}

/** The grant's pin first, then type and reference (XSA-236). */
function* releaseBuf(cpu: Cpu, buf: CopyBuf): Steps<void> {
  const holds = peek(copyBuf.holds(buf));
  const mfn = peek(copyBuf.mfn(buf)) as Mfn;
  poke(copyBuf.holds(buf), 0);
  const early = twin(TWIN['xsa-236']);
  if (early && (holds & HOLDS_TYPE) !== 0) yield* putPageType(cpu, mfn);
  if (early && (holds & HOLDS_PAGE) !== 0) yield* putPage(cpu, mfn);
  if ((holds & HOLDS_GRANT) !== 0) {
    const d = peek(copyBuf.domain(buf)) as DomainRef;
    const how = buf === copySource(cpu) ? CLAIM_READONLY : 0;
    yield* releaseGrantForCopy(cpu, d, peek(copyBuf.refLo(buf)), how);
  }
  if (!early && (holds & HOLDS_TYPE) !== 0) yield* putPageType(cpu, mfn);
  if (!early && (holds & HOLDS_PAGE) !== 0) yield* putPage(cpu, mfn);
}

function* copyBytes(cpu: Cpu, op: number): Steps<number> {
  const source = copySource(cpu);
  const dest = copyDest(cpu);
  const from = offsetAt(op + COPY_SOURCE);
  const to = offsetAt(op + COPY_DEST);
  const n = lowHalf(peek(op + COPY_LEN));
  if (from + n > PAGE_SIZE || to + n > PAGE_SIZE) return GNTST_bad_copy_arg;
  if (!within(from, n, peek(copyBuf.range(source)))) return GNTST_general_error;
  if (!within(to, n, peek(copyBuf.range(dest)))) return GNTST_general_error;
  const toByte = mfnWord(peek(copyBuf.mfn(dest)) as Mfn) * 4 + to;
  const fromByte = mfnWord(peek(copyBuf.mfn(source)) as Mfn) * 4 + from;
  yield* moveBytes(toByte, fromByte, n);
  trace(cpu, EVENT.grantCopy, peek(copyBuf.mfn(source)), peek(copyBuf.mfn(dest)));
  return GNTST_okay;
}

const within = (offset: number, n: number, range: number): boolean =>
  offset >= rangeStart(range) && offset + n <= rangeStart(range) + rangeLength(range);

/** Copies `n` bytes between byte addresses: whole words in one go where they line up, else byte by byte. */
function* moveBytes(to: number, from: number, n: number): Steps<void> {
  let i = 0;
  if (((to ^ from) & 3) === 0) {
    for (; i < n && ((to + i) & 3) !== 0; i++) yield* moveByte(to + i, from + i);
    const words = (n - i) >>> 2;
    if (words > 0) {
      // Guests may write either frame meanwhile; each word arrives whole.
      yield* touch((from + i) >>> 2, words, POINT_READ | POINT_ONCE);
      yield* copy((to + i) >>> 2, (from + i) >>> 2, words);
      i += words * 4;
    }
  }
  for (; i < n; i++) yield* moveByte(to + i, from + i);
}

/** One byte, leaving the other three of its word to whoever else writes them. */
function* moveByte(to: number, from: number): Steps<void> {
  const v = ((yield* ldOnce(Math.floor(from / 4))) >>> ((from & 3) * 8)) & 0xff;
  const a = Math.floor(to / 4);
  const shift = (to & 3) * 8;
  let was = yield* ldOnce(a);
  for (;;) {
    const seen = yield* cas(a, was, (was & ~(0xff << shift)) | (v << shift));
    if (seen === was) return;
    was = seen;
  }
}
