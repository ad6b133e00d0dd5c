/**
 * Pinning a grant for the time of a copy, through one level of transitivity, and letting it go again.
 *
 * Invariant: okay means one host pin more on the grant (and on the one behind a transitive grant) and one reference of
 * the frame; anything else means nothing is held. A transitive grant or a part of a page that is pinned counts in
 * nrV2Ops, which keeps the table at version 2 (XSA-226).
 * Lock: one open entry at a time: the transitive one is closed before the one behind it is opened.
 * Source: [X57]; xen/common/grant_table.c, acquire_grant_for_copy, release_grant_for_copy.
 */
import { PAGE_SIZE, type Mfn } from '../../abi/frames.js';
import {
  GNTST_bad_domain,
  GNTST_bad_gntref,
  GNTST_bad_page,
  GNTST_general_error,
  GNTST_okay,
  GTF_sub_page,
  GTF_transitive,
  GTF_type_mask,
  highHalf,
  lowHalf,
  V2_FRAME,
  V2_RANGE,
  V2_TRANS_DOM,
  V2_TRANS_REF,
} from '../../abi/grant.js';
import { mfnValid, ownerOf, ownerWord } from '../../machine/frame.js';
import type { Cpu } from '../../sync/actor.js';
import { add, hi64, ld, ld64, ldOnce, peek, poke, st } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { domain, domidOf, findDomain, type DomainRef } from '../domain.js';
import { getPage, getPageAny, putPage } from '../page.js';
import {
  active,
  activeRange,
  ACTIVE_SUB_PAGE,
  GNTPIN_hstr_inc,
  GNTPIN_hstw_inc,
  rangeLength,
  rangeStart,
  type Active,
} from './active.js';
import {
  claimTable,
  closeEntry,
  latch,
  needsStatus,
  openEntry,
  pinRefused,
  reopenEntry,
  setClaim,
  takePin,
} from './claim.js';
import { claim, CLAIM_READONLY, innerClaim, outerClaim, type Claim } from './scratch.js';
import { reduceClaim, setStatus } from './status.js';
import { grantTable } from './table.js';
import { TWIN, twin } from '../twins.js';

/** Nothing is held; try the operation again from the start. */
export const COPY_RESTART = 1;

const NO_DOMAIN = 0 as DomainRef;
const granterOf = (c: Claim): DomainRef => peek(claim.granter(c)) as DomainRef;
const pinIncrement = (c: Claim): number =>
  (peek(claim.how(c)) & CLAIM_READONLY) !== 0 ? GNTPIN_hstr_inc : GNTPIN_hstw_inc;

function* countV2(c: Claim, n: number): Steps<void> {
  yield* add(grantTable.nrV2Ops(claimTable(c)), n);
}

/**
 * Pins grant `ref` of `granter` for `domid`. okay: frame and range are in `outerClaim`, with a reference of the frame;
 * else an error status, or COPY_RESTART.
 */
export function* acquireGrantForCopy(
  cpu: Cpu,
  granter: DomainRef,
  ref: number,
  domid: number,
  how: number,
): Steps<number> {
  const c = outerClaim(cpu);
  setClaim(c, granter, ref, domid, how);
  const act = yield* openEntry(cpu, c);
  if (act === 0) return GNTST_bad_gntref;
  const transitive = yield* isTransitive(c);
  let status: number = GNTST_general_error;
  if (!pinRefused(c, act, pinIncrement(c))) {
    status = transitive ? yield* findBehind(c, act) : yield* acquireDirect(cpu, c, act);
  }
  const oldPin = peek(active.pin(act));
  if (status !== GNTST_okay || !transitive) {
    yield* closeEntry(cpu, c, act);
    return status;
  }
  yield* countV2(c, 1);
  yield* closeEntry(cpu, c, act);
  return yield* acquireThrough(cpu, c, oldPin);
}

/** Read apart from the claim, which looks at the header for itself: the granter may change it in between. */
function* isTransitive(c: Claim): Steps<boolean> {
  if (peek(claim.version(c)) === 1) return false;
  return ((yield* ldOnce(peek(claim.shah(c)))) & GTF_type_mask) === GTF_transitive;
}

/** A grant of a frame of the granter's, or of a part of one. Entry open. */
function* acquireDirect(cpu: Cpu, c: Claim, act: Active): Steps<number> {
  let status: number;
  if (needsStatus(peek(active.pin(act)), peek(claim.how(c)))) {
    status = yield* setStatus(c, act);
    if (status !== GNTST_okay) return status;
    status = yield* latchForCopy(cpu, c, act);
  } else {
    status = yield* referencePinned(cpu, c, act);
  }
  if (status === GNTST_okay) yield* takePin(c, act, pinIncrement(c));
  else yield* reduceClaim(c, act);
  return status;
}

/** Takes the frame out of the shared entry: latches it at the first use, later demands that it is the same. */
function* latchForCopy(cpu: Cpu, c: Claim, act: Active): Steps<number> {
  const shah = peek(claim.shah(c));
  const v1 = peek(claim.version(c)) === 1;
  const lo = v1 ? yield* ldOnce(shah + 1) : yield* ld64(shah + V2_FRAME);
  const hi = v1 ? 0 : hi64();
  const part = !v1 && ((yield* ldOnce(shah)) & GTF_sub_page) !== 0;
  const window = part ? yield* ldOnce(shah + V2_RANGE) : PAGE_SIZE << 16;
  const range = activeRange(lowHalf(window), part, highHalf(window));
  if (!mfnValid(lo, hi) || !(yield* getPage(cpu, lo as Mfn, domidOf(granterOf(c))))) return GNTST_bad_page;
  if (peek(active.pin(act)) === 0) {
    yield* latch(c, act, lo, range, granterOf(c), peek(claim.ref(c)));
    if (part) yield* countV2(c, 1);
    return GNTST_okay;
  }
  const has = peek(active.range(act));
  const sameWindow = (has & ACTIVE_SUB_PAGE) === 0 || has === range;
  if (sameWindow && names(act, lo, granterOf(c), peek(claim.ref(c)))) return GNTST_okay;
  yield* putPage(cpu, lo as Mfn);
  return GNTST_general_error;
}

function names(act: Active, mfn: number, behind: DomainRef, behindRef: number): boolean {
  const sameFrame = peek(active.mfn(act)) === mfn;
  const sameDomain = peek(active.transDomain(act)) === behind;
  return sameFrame && sameDomain && peek(active.transGref(act)) === behindRef;
}

/** A grant that is in use already: one more reference of its frame, which must still be the granter's. */
function* referencePinned(cpu: Cpu, c: Claim, act: Active): Steps<number> {
  const mfn = peek(active.mfn(act)) as Mfn;
  const got = yield* getPageAny(mfn);
  if (twin(TWIN['xsa-236'])) return GNTST_okay;
  if (!got) return GNTST_bad_domain;
  const owner = ownerOf(yield* ld(ownerWord(mfn)));
  // A dying granter's frame may be gone although it is pinned: pins come before references.
  const dying = yield* ldOnce(domain.dying(granterOf(c)));
  if (owner === domidOf(granterOf(c)) && dying === 0) return GNTST_okay;
  yield* putPage(cpu, mfn);
  return GNTST_bad_domain;
}

/** Claims a transitive entry and notes which grant is behind it. Entry open. */
function* findBehind(c: Claim, act: Active): Steps<number> {
  if (needsStatus(peek(active.pin(act)), peek(claim.how(c)))) {
    const status = yield* setStatus(c, act);
    if (status !== GNTST_okay) return status;
  }
  // Each read once: the granter may write them at any time.
  const behindId = lowHalf(yield* ldOnce(peek(claim.shah(c)) + V2_TRANS_DOM));
  poke(claim.behindRef(c), yield* ldOnce(peek(claim.shah(c)) + V2_TRANS_REF));
  const behind = behindId === domidOf(granterOf(c)) ? NO_DOMAIN : yield* findDomain(behindId);
  poke(claim.behind(c), behind);
  if (behind !== NO_DOMAIN) return GNTST_okay;
  yield* reduceClaim(c, act);
  return GNTST_general_error;
}

/** Pins the grant behind `c`, then `c` itself unless it changed meanwhile. Nothing is open. */
function* acquireThrough(cpu: Cpu, c: Claim, oldPin: number): Steps<number> {
  const inner = innerClaim(cpu);
  const behind = peek(claim.behind(c)) as DomainRef;
  setClaim(inner, behind, peek(claim.behindRef(c)), domidOf(granterOf(c)), peek(claim.how(c)));
  let status = yield* acquireBehind(cpu, inner);
  const mfn = peek(claim.mfn(inner)) as Mfn;
  let act = yield* reopenEntry(cpu, c);
  if (status === GNTST_okay) {
    if (yield* pinThrough(c, inner, act, oldPin)) {
      yield* closeEntry(cpu, c, act);
      return GNTST_okay;
    }
    yield* closeEntry(cpu, c, act);
    yield* unpinCopied(cpu, inner);
    act = yield* reopenEntry(cpu, c);
    status = COPY_RESTART;
  }
  yield* countV2(c, -1);
  yield* reduceClaim(c, act);
  yield* closeEntry(cpu, c, act);
  if (status === COPY_RESTART) yield* putPage(cpu, mfn);
  return status;
}

/** The grant behind a transitive one must not be transitive itself; its status is claimed before that is seen. */
function* acquireBehind(cpu: Cpu, c: Claim): Steps<number> {
  const act = yield* openEntry(cpu, c);
  if (act === 0) return GNTST_bad_gntref;
  let status: number = GNTST_general_error;
  const transitive = yield* isTransitive(c);
  if (!pinRefused(c, act, pinIncrement(c))) {
    if (!transitive) status = yield* acquireDirect(cpu, c, act);
    else {
      const claims = needsStatus(peek(active.pin(act)), peek(claim.how(c)));
      if (!claims || (yield* setStatus(c, act)) === GNTST_okay) yield* reduceClaim(c, act);
    }
  }
  yield* closeEntry(cpu, c, act);
  return status;
}

/** Kept as a part of a page, whatever is behind it: that is what keeps it from being mapped. Entry open. */
function* pinThrough(c: Claim, inner: Claim, act: Active, oldPin: number): Steps<boolean> {
  const mfn = peek(claim.mfn(inner));
  const got = peek(claim.range(inner));
  const range = activeRange(rangeStart(got), true, rangeLength(got));
  const behind = peek(claim.behind(c)) as DomainRef;
  const behindRef = peek(claim.behindRef(c));
  if (peek(claim.version(c)) !== 2 || peek(active.pin(act)) !== oldPin) return false;
  if (oldPin === 0) yield* latch(c, act, mfn, range, behind, behindRef);
  else {
    const forUs = peek(active.domid(act)) === peek(claim.domid(c));
    const sameWindow = peek(active.range(act)) === range;
    if (!forUs || !sameWindow || !names(act, mfn, behind, behindRef)) return false;
    yield* countV2(c, -1);
  }
  yield* takePin(c, act, pinIncrement(c));
  return true;
}

/** Undoes an acquire, that of the grant behind a transitive one included. The frame's reference is the caller's. */
export function* releaseGrantForCopy(cpu: Cpu, granter: DomainRef, ref: number, how: number): Steps<void> {
  const c = outerClaim(cpu);
  setClaim(c, granter, ref, 0, how);
  yield* unpinCopied(cpu, c);
  const behind = peek(claim.behind(c)) as DomainRef;
  if (behind === granter) return;
  // One level only: what is behind a transitive grant is not transitive.
  const inner = innerClaim(cpu);
  setClaim(inner, behind, peek(claim.behindRef(c)), 0, how);
  yield* unpinCopied(cpu, inner);
}

/** Takes one pin back; which grant is behind goes to `c`. */
function* unpinCopied(cpu: Cpu, c: Claim): Steps<void> {
  const act = yield* reopenEntry(cpu, c);
  const v1 = peek(claim.version(c)) === 1;
  poke(claim.behind(c), v1 ? granterOf(c) : peek(active.transDomain(act)));
  poke(claim.behindRef(c), v1 ? peek(claim.ref(c)) : peek(active.transGref(act)));
  const pin = peek(active.pin(act)) - pinIncrement(c);
  yield* st(active.pin(act), pin);
  yield* reduceClaim(c, act);
  if (pin === 0 && (peek(active.range(act)) & ACTIVE_SUB_PAGE) !== 0) yield* countV2(c, -1);
  yield* closeEntry(cpu, c, act);
}
