/**
 * The board: where frontends leave word of their rings and backends find them (what XenStore is for).
 *
 * A domain that is destroyed and built anew has another number each time, its first one and a multiple of 32: the board knows
 * which is the one that lives.
 * Invariant: a slot's state goes FREE, OFFERED, CLAIMED, ENDED, FREE; the frontend makes the first and the last step, the
 * backend's side the others; the words of an offer are stable while it is OFFERED or CLAIMED.
 * Lock: none; the state word is changed by compare-exchange only.
 * Differs: words of the shared memory outside every domain, as XenStore is outside their memory.
 */
import { record, type Ref } from '../../../src/shm/record.js';
import { add, cas, ld, ldOnce, st, stOnce } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';

export const slot = record('boardSlot', {
  state: 1,
  /** The frontend's domain, and the domain it is meant for. */
  frontend: 1,
  backend: 1,
  /** Reference of the ring page; port to bind. */
  ring: 1,
  port: 1,
  /** Requests the ring has served: goes up by one at each claim. */
  serial: 1,
});
export type Slot = Ref<'boardSlot'>;

export const SLOTS = 64;
/** Per domain: backend process slots that have begun, and that are done for good. */
const DOMAINS = 32;
const HEADER = 3 * DOMAINS;
export const BOARD_WORDS = HEADER + SLOTS * slot.words;
const begun = (board: number, domid: number): number => board + 2 * (domid & (DOMAINS - 1));
const done = (board: number, domid: number): number => begun(board, domid) + 1;

export const SLOT_FREE = 0;
export const SLOT_OFFERED = 1;
export const SLOT_CLAIMED = 2;
export const SLOT_ENDED = 3;
/** A frontend is writing its offer. */
const SLOT_FILLING = 4;

export const slotAt = (board: number, i: number): Slot => (board + HEADER + i * slot.words) as Slot;

/** A backend slot of `domid` begins to serve. */
export function* serve(board: number, domid: number): Steps<void> {
  yield* add(begun(board, domid), 1);
}
/** It is done for good; true when it was the domain's last. */
export function* serveNoMore(board: number, domid: number): Steps<boolean> {
  return (yield* add(done(board, domid), 1)) + 1 >= (yield* ldOnce(begun(board, domid))); // raced on purpose: only grows
}
/** Whether `domid` has served and never will again. */
export function* abandoned(board: number, domid: number): Steps<boolean> {
  const n = yield* ldOnce(begun(board, domid)); // raced on purpose: only grows
  return n > 0 && (yield* ldOnce(done(board, domid))) >= n; // raced on purpose: as above
}

const living = (board: number, domid: number): number => board + 2 * DOMAINS + (domid & (DOMAINS - 1));
/** Number of the domain that was `domid` at first, as it is now. */
export function* livingDomid(board: number, domid: number): Steps<number> {
  const now = yield* ldOnce(living(board, domid)); // raced on purpose: only the control plane changes it
  return now === 0 ? domid : now;
}

/** `domid` lives in the place of the domain that had this number, less a multiple of 32, before. */
export function* boardReborn(board: number, domid: number): Steps<void> {
  yield* stOnce(living(board, domid), domid); // raced on purpose: frontends look again and again
}

/** What the domain claimed is over: it is gone. */
export function* endClaimsOf(board: number, domid: number): Steps<void> {
  for (let i = 0; i < SLOTS; i++) {
    const s = slotAt(board, i);
    if ((yield* ldOnce(slot.backend(s))) === domid) yield* endClaim(s); // raced on purpose: a stale slot is not claimed
  }
}

/** Offers that earlier lives of `domid` left behind go, when nobody has claimed them any more. */
export function* boardSweep(board: number, domid: number): Steps<void> {
  for (let i = 0; i < SLOTS; i++) {
    const s = slotAt(board, i);
    const state = yield* ldOnce(slot.state(s)); // raced on purpose: one that is there stays until it is withdrawn
    if (state !== SLOT_OFFERED && state !== SLOT_ENDED) continue;
    const from = yield* ldOnce(slot.frontend(s)); // raced on purpose: stable while the offer stands
    if (from !== domid && (from & (DOMAINS - 1)) === (domid & (DOMAINS - 1))) yield* withdraw(s);
  }
}

/** The domain is gone (what XenStore tells through @releaseDomain): its claims are over, it serves no more. */
export function* boardDomainGone(board: number, domid: number): Steps<void> {
  yield* stOnce(done(board, domid), 1 << 30); // raced on purpose: looked at again and again
  yield* endClaimsOf(board, domid);
}

/** Offers a ring; the slot, or 0 when the board is full. */
export function* offer(board: number, frontend: number, backend: number, ring: number, port: number): Steps<Slot> {
  for (let i = 0; i < SLOTS; i++) {
    const s = slotAt(board, i);
    if ((yield* cas(slot.state(s), SLOT_FREE, SLOT_FILLING)) !== SLOT_FREE) continue;
    yield* st(slot.frontend(s), frontend);
    yield* st(slot.backend(s), backend);
    yield* st(slot.ring(s), ring);
    yield* st(slot.port(s), port);
    yield* cas(slot.state(s), SLOT_FILLING, SLOT_OFFERED);
    return s;
  }
  return 0 as Slot;
}

/** Claims an offer meant for `backend` from one of the domains in `peers` (a bit each), from slot `from` on; 0: none. */
export function* claim(board: number, backend: number, peers: number, from: number): Steps<Slot> {
  for (let n = 0; n < SLOTS; n++) {
    const s = slotAt(board, (from + n) % SLOTS);
    if ((yield* ldOnce(slot.state(s))) !== SLOT_OFFERED) continue; // raced on purpose: decided by the cas below
    if ((yield* ldOnce(slot.backend(s))) !== backend) continue; // raced on purpose: as above
    if ((peers & (1 << ((yield* ldOnce(slot.frontend(s))) & 31))) === 0) continue; // raced on purpose: as above
    if ((yield* cas(slot.state(s), SLOT_OFFERED, SLOT_CLAIMED)) === SLOT_OFFERED) return s;
  }
  return 0 as Slot;
}

/** The backend's process is gone. */
export function* endClaim(s: Slot): Steps<void> {
  yield* cas(slot.state(s), SLOT_CLAIMED, SLOT_ENDED);
}

/** The frontend takes its offer back; false: it is claimed. */
export function* withdraw(s: Slot): Steps<boolean> {
  if ((yield* cas(slot.state(s), SLOT_OFFERED, SLOT_FREE)) === SLOT_OFFERED) return true;
  return (yield* cas(slot.state(s), SLOT_ENDED, SLOT_FREE)) === SLOT_ENDED;
}

export function* slotState(s: Slot): Steps<number> {
  return yield* ld(slot.state(s));
}
