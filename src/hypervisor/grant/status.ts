/**
 * Claiming a shared entry: the bits by which the granter sees that a grant is in use, set against its revoking.
 *
 * Invariant: a claim and a revoke of one entry never both succeed. Version 1: both are compare-exchanges of one word.
 * Version 2: each side writes its own word, then reads the other's, and a claim that sees a change takes its bits back.
 * Lock: the active-entry lock; the shared words are the guest's as well, so every access of them is an intended race.
 * Source: [X40]-[X45]; xen/common/grant_table.c, _set_status_v1, _set_status_v2, reduce_status_for_pin.
 * Differs: a v2 status is or-ed atomically, where Xen's own store could undo a guest's store to the same half word.
 */
import {
  GNTST_general_error,
  GNTST_okay,
  GTF_permit_access,
  GTF_reading,
  GTF_readonly,
  GTF_sub_page,
  GTF_transitive,
  GTF_type_mask,
  GTF_writing,
  highHalf,
  lowHalf,
} from '../../abi/grant.js';
import { and, cas, ldOnce, or, peek, stOnce } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { active, GNTPIN_hstr_mask, GNTPIN_hstw_mask, GNTPIN_w_mask, type Active } from './active.js';
import { claim, CLAIM_MAP, CLAIM_READONLY, type Claim } from './scratch.js';
import { TWIN, twin } from '../twins.js';

/** Tries of a compare-exchange against a guest that keeps changing the word. */
const TRIES = 5;

/** No status word: the entry it would be in is gone with a change of version. */
export const NO_STATUS = -1;

/** Whether the header {flags, domid} lets `domid` in. */
function admits(header: number, version: number, how: number, domid: number): boolean {
  if (highHalf(header) !== domid) return false;
  const forMap = (how & CLAIM_MAP) !== 0;
  const kind = header & (GTF_type_mask | (forMap ? GTF_sub_page : 0));
  return kind === GTF_permit_access || (version !== 1 && !forMap && kind === GTF_transitive);
}

/**
 * Sets GTF_reading, and GTF_writing unless the claim only reads. GNTST_okay, or general_error with nothing set.
 * Entry open.
 */
export function* setStatus(c: Claim, act: Active): Steps<number> {
  const pin = peek(active.pin(act));
  const shah = peek(claim.shah(c));
  const how = peek(claim.how(c));
  const domid = peek(claim.domid(c));
  if (peek(claim.version(c)) === 1) return yield* setStatusV1(shah, pin, how, domid);
  return yield* setStatusV2(shah, peek(claim.half(c)), pin, how, domid);
}

function* setStatusV1(shah: number, pin: number, how: number, domid: number): Steps<number> {
  const readonly = (how & CLAIM_READONLY) !== 0;
  const bits = readonly ? GTF_reading : GTF_reading | GTF_writing;
  let header = yield* ldOnce(shah); // raced: the granter may revoke at any time
  for (let i = 0; i < TRIES; i++) {
    if (pin === 0 && !admits(header, 1, how, domid)) return GNTST_general_error;
    if (!readonly && (header & GTF_readonly) !== 0) return GNTST_general_error;
    const was = twin(TWIN['v1-claim-blind'])
      ? yield* orBlind(shah, bits, header)
      : yield* cas(shah, header, header | bits);
    if (was === header) return GNTST_okay;
    header = was;
  }
  return GNTST_general_error;
}

/** The twin v1-claim-blind: whatever the header is by now. */
function* orBlind(shah: number, bits: number, header: number): Steps<number> {
  yield* or(shah, bits);
  return header;
}

function* setStatusV2(shah: number, status: number, pin: number, how: number, domid: number): Steps<number> {
  const readonly = (how & CLAIM_READONLY) !== 0;
  const header = yield* ldOnce(shah); // raced: looked at again below
  if (pin === 0 && !admits(header, 2, how, domid)) return GNTST_general_error;
  if (!readonly && (header & GTF_readonly) !== 0) return GNTST_general_error;
  yield* orHalf(status, readonly ? GTF_reading : GTF_reading | GTF_writing);
  // The granter clears its flags, then reads the status; here it is the other way round.
  const again = twin(TWIN['v2-no-reread']) ? header : yield* ldOnce(shah);
  const locked = (again & GTF_readonly) !== 0;
  if (pin === 0) {
    if (admits(again, 2, how, domid) && (readonly || !locked)) return GNTST_okay;
    yield* clearFlags(status, GTF_reading | GTF_writing);
    return GNTST_general_error;
  }
  if (!locked) return GNTST_okay;
  yield* clearFlags(status, GTF_writing);
  return GNTST_general_error;
}

/** Takes back what the pin count no longer needs: reading at no pin, writing at no pin that writes ([X45]). */
export function* reduceStatusForPin(act: Active, half: number, readonly: boolean): Steps<void> {
  const pins = peek(active.pin(act));
  const pin = twin(TWIN['xsa-230']) ? pins & (GNTPIN_hstw_mask | GNTPIN_hstr_mask) : pins;
  let bits = pin === 0 ? GTF_reading : 0;
  if (!readonly && (pin & GNTPIN_w_mask) === 0) bits |= GTF_writing;
  if (half !== NO_STATUS && bits !== 0) yield* clearFlags(half, bits);
}

/** The same for the grant of a claim. Entry open. */
export function* reduceClaim(c: Claim, act: Active): Steps<void> {
  yield* reduceStatusForPin(act, peek(claim.half(c)), (peek(claim.how(c)) & CLAIM_READONLY) !== 0);
}

/** A locked AND of the half word alone: its neighbour is the guest's. */
export function* clearFlags(half: number, bits: number): Steps<void> {
  if (twin(TWIN['status-not-locked'])) {
    const word = yield* ldOnce(half >>> 1); // raced: what comes between is lost
    return yield* stOnce(half >>> 1, word & ~(bits << shiftOf(half)));
  }
  yield* and(half >>> 1, ~(bits << shiftOf(half)));
}

function* orHalf(half: number, bits: number): Steps<void> {
  yield* or(half >>> 1, bits << shiftOf(half));
}

/** The half word as it is now. */
export function* readHalf(half: number): Steps<number> {
  return lowHalf((yield* ldOnce(half >>> 1)) >>> shiftOf(half));
}

/** Stores the half word; its neighbour keeps what others store there meanwhile. */
export function* writeHalf(half: number, v: number): Steps<void> {
  const a = half >>> 1;
  const shift = shiftOf(half);
  let was = yield* ldOnce(a);
  for (;;) {
    const seen = yield* cas(a, was, (was & ~(0xffff << shift)) | (v << shift));
    if (seen === was) return;
    was = seen;
  }
}

const shiftOf = (half: number): number => (half & 1) << 4;
