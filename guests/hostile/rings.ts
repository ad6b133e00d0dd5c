/**
 * What makes a hostile guest reachable: it offers rings as a frontend does and serves rings as a backend does, over the
 * board, with contents that are mostly right. What follows, its other steps do: it ends, overwrites, transfers and frees
 * what others have mapped by then. And it sends events in storms.
 *
 * Invariant: of the board it changes its own places only, as XenStore would have it; what it puts there may be nonsense.
 * Lock: none; the board's words are changed by compare-exchange.
 * Source: XSA-391, 392, 396, 397 (what backends and frontends may do to each other).
 */
import { DOMID_SELF, vaHi, vaLo, type Va } from '../../src/abi/frames.js';
import * as ev from '../../src/abi/event-channel.js';
import * as gnt from '../../src/abi/grant.js';
import {
  HYPERVISOR_event_channel_op,
  HYPERVISOR_grant_table_op,
  HYPERVISOR_update_va_mapping,
} from '../../src/abi/hypercall.js';
import { UVMF_INVLPG } from '../../src/abi/mmu.js';
import { entryLo, PAGE_NX_HI } from '../../src/abi/pte.js';
import { peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { GuestCpu } from '../../src/vcpu/guest-cpu.js';
import {
  claim,
  endClaim,
  offer,
  slot,
  SLOT_CLAIMED,
  SLOT_ENDED,
  SLOT_OFFERED,
  slotState,
  withdraw,
  type Slot,
} from '../drivers/blk/board.js';
import { peekVa } from '../kernel/words.js';
import { KIND } from './kinds.js';
import {
  below,
  bump,
  chance,
  hostile,
  isWild,
  learnHandle,
  learnPort,
  learnRef,
  MAX_PORTS,
  MAX_RINGS,
  type Hostile,
} from './record.js';
import { tallyAgainst, tallyGrantStatus, tallyReached, tallyStatus } from './tally.js';
import { frameAt, isNormal, levelAt, noise } from './values.js';

/** Data pages of an offered ring, and pages mapped of one that is served. */
const MOST = 6;
/** Words of a ring page (guests/drivers/blk/ring.ts). */
const RING_COUNT = 0;
const RING_ANSWERED = 1;
const RING_REFS = 2;
/** References that offers use, among those that the other steps use too. */
const FIRST_REF = 8;
const REFS = 40;
const MAX_EVENTS = 48;

/** One hypercall whose first structure lies at the beginning of the argument page. */
function* call(g: GuestCpu, h: Hostile, op: number, command: number, words: readonly number[]): Steps<number> {
  const at = peekVa(hostile.argsVa(h));
  words.forEach((w, i) => {
    poke(hostile.structure(h) + i, w);
  });
  yield* g.storeWords(at, hostile.structure(h), words.length);
  g.arg(0, command, 0);
  g.argVa(1, at);
  g.arg(2, 1, 0);
  bump(hostile.calls(h));
  const rc = yield* g.hypercall(op);
  tallyStatus(h, rc);
  return rc;
}
function* answerWord(g: GuestCpu, h: Hostile, i: number): Steps<number> {
  return yield* g.load32((peekVa(hostile.argsVa(h)) + 4 * i) as Va);
}

/** One of the normal domains that it has heard of; -1: none. */
function normalDomain(h: Hostile): number {
  const n = peek(hostile.nDomains(h));
  const first = n === 0 ? 0 : below(h, n);
  for (let i = 0; i < n; i++) {
    const domid = peek(hostile.domains(h) + ((first + i) % n));
    if (isNormal(h, domid)) return domid;
  }
  return -1;
}

/** A page of the window that is to show data: its number, which is the place of a frame in the list; -1: not found. */
function dataPage(h: Hostile): number {
  const n = Math.min(peek(hostile.nFrames(h)), peek(hostile.windowPages(h)) - 1);
  for (let looks = 0; looks < 16 && n > 0; looks++) {
    const i = below(h, n);
    if (levelAt(h, i) === 0) return i;
  }
  return -1;
}
const pageAt = (h: Hostile, i: number): Va => (peekVa(hostile.windowVa(h)) + 4096 * i) as Va;

/** Has page `i` of the window show its frame, writable; false: refused. */
function* show(g: GuestCpu, h: Hostile, i: number): Steps<boolean> {
  g.argVa(0, pageAt(h, i));
  g.arg(1, entryLo(frameAt(h, i), 0x67), PAGE_NX_HI);
  g.arg(2, UVMF_INVLPG, 0);
  bump(hostile.calls(h));
  const rc = yield* g.hypercall(HYPERVISOR_update_va_mapping);
  tallyStatus(h, rc);
  return rc === 0;
}

/** The entry `ref` of its own table gives `mfn` to `domid`. */
function* give(g: GuestCpu, h: Hostile, ref: number, domid: number, mfn: number, type: number): Steps<void> {
  const v2 = peek(hostile.grantVersion(h)) === 2;
  const at = (peekVa(hostile.grantVa(h)) + (v2 ? 16 : 8) * (ref & 255)) as Va;
  const flags = type | (domid << 16);
  if (v2) {
    yield* g.store((at + 8) as Va, mfn, 0);
    yield* g.store(at, flags, 0);
  } else yield* g.store(at, flags, mfn);
}

/** As a frontend: looks at what it has offered, or offers another ring to a normal domain. */
export function* offerRing(g: GuestCpu, h: Hostile): Steps<boolean> {
  const i = below(h, MAX_RINGS);
  const s = peek(hostile.offered(h) + i) as Slot;
  if (s !== 0) return yield* lookAtOffer(h, s, i);
  const board = peek(hostile.board(h));
  const peer = normalDomain(h);
  const ring = dataPage(h);
  if (board === 0 || peer < 0 || ring < 0 || peek(hostile.grantPages(h)) === 0) return false;
  if (!(yield* show(g, h, ring))) return false;
  const first = FIRST_REF + below(h, REFS);
  yield* layRing(g, h, ring, first, peer);
  const rc = yield* call(g, h, HYPERVISOR_event_channel_op, ev.EVTCHNOP_alloc_unbound, [DOMID_SELF | (peer << 16), 0]);
  const port = rc === 0 ? yield* answerWord(g, h, ev.ALLOC_UNBOUND_PORT) : below(h, 16);
  if (rc === 0) learnPort(h, port);
  const made = yield* offer(board, peek(hostile.domid(h)), peer, isWild(h) ? noise(h) : first, port);
  poke(hostile.offered(h) + i, made);
  poke(hostile.taken(h) + i, 0);
  tallyAgainst(h, KIND.offerRing, false);
  return made !== 0;
}

/** Data pages and the ring page, given to `peer` from reference `first` on, the ring first. */
function* layRing(g: GuestCpu, h: Hostile, ring: number, first: number, peer: number): Steps<void> {
  const va = pageAt(h, ring);
  const n = 1 + below(h, MOST);
  yield* g.store32((va + 4 * RING_COUNT) as Va, isWild(h) ? noise(h) : n);
  yield* g.store32((va + 4 * RING_ANSWERED) as Va, 0);
  for (let k = 0; k < n; k++) {
    yield* g.store32((va + 4 * (RING_REFS + k)) as Va, isWild(h) ? noise(h) : first + 1 + k);
    const page = dataPage(h);
    const type = chance(h, 24) ? gnt.GTF_permit_access | gnt.GTF_readonly : gnt.GTF_permit_access;
    if (page >= 0) yield* give(g, h, first + 1 + k, peer, frameAt(h, page), type);
  }
  yield* give(g, h, first, peer, frameAt(h, ring), gnt.GTF_permit_access);
}

/** A ring that was taken has reached somebody; one that is over is withdrawn, one that nobody takes now and then. */
function* lookAtOffer(h: Hostile, s: Slot, i: number): Steps<boolean> {
  const state = yield* slotState(s);
  if (state === SLOT_CLAIMED || state === SLOT_ENDED) {
    if (peek(hostile.taken(h) + i) === 0) tallyReached(h, KIND.offerRing);
    poke(hostile.taken(h) + i, 1);
  }
  if (state === SLOT_CLAIMED || (state === SLOT_OFFERED && !chance(h, 64))) return false;
  if (!(yield* withdraw(s))) return false;
  poke(hostile.offered(h) + i, 0);
  return true;
}

/** As a backend: lets go of a ring, or takes one, maps it and some of its pages, writes over them, answers. */
export function* serveRing(g: GuestCpu, h: Hostile): Steps<boolean> {
  const i = below(h, MAX_RINGS);
  const had = peek(hostile.claimed(h) + i) as Slot;
  if (had !== 0) {
    yield* endClaim(had);
    poke(hostile.claimed(h) + i, 0);
    return true;
  }
  const board = peek(hostile.board(h));
  if (board === 0) return false;
  const s = yield* claim(board, peek(hostile.domid(h)), peek(hostile.normal(h)), below(h, 64));
  if (s === 0) return false;
  poke(hostile.claimed(h) + i, s);
  const from = peek(slot.frontend(s));
  yield* bind(g, h, from, peek(slot.port(s)));
  const va = yield* mapAt(g, h, from, peek(slot.ring(s)));
  if (va !== 0) yield* workOn(g, h, va, from);
  return true;
}

function* workOn(g: GuestCpu, h: Hostile, va: Va, from: number): Steps<void> {
  const n = Math.min(MOST, Math.max(0, yield* g.load32((va + 4 * RING_COUNT) as Va)));
  for (let k = 0; k < n; k++) {
    const ref = yield* g.load32((va + 4 * (RING_REFS + k)) as Va);
    learnRef(h, from, ref);
    const data = chance(h, 170) ? yield* mapAt(g, h, from, ref) : 0;
    if (data !== 0) yield* g.store(data, noise(h), noise(h));
  }
  const where = isWild(h) ? below(h, 1024) : RING_ANSWERED;
  yield* g.store32((va + 4 * where) as Va, isWild(h) ? noise(h) : n);
}

/** Maps a grant at a page of the window; its address, or 0. */
function* mapAt(g: GuestCpu, h: Hostile, domid: number, ref: number): Steps<Va> {
  const page = dataPage(h);
  if (page < 0) return 0 as Va;
  const va = pageAt(h, page);
  const flags = gnt.GNTMAP_host_map | (chance(h, 40) ? gnt.GNTMAP_readonly : 0);
  const words = [vaLo(va), vaHi(va), flags, ref, domid & 0xffff, -1, 0, 0];
  const rc = yield* call(g, h, HYPERVISOR_grant_table_op, gnt.GNTTABOP_map_grant_ref, words);
  const status = rc === 0 ? (yield* answerWord(g, h, gnt.MAP_DOM)) >> 16 : gnt.GNTST_general_error;
  const handle = yield* answerWord(g, h, gnt.MAP_HANDLE);
  tallyGrantStatus(h, status);
  tallyAgainst(h, KIND.serveRing, status === gnt.GNTST_okay);
  if (status !== gnt.GNTST_okay) return 0 as Va;
  learnHandle(h, handle, flags, vaLo(va), vaHi(va));
  return va;
}

function* bind(g: GuestCpu, h: Hostile, domid: number, port: number): Steps<void> {
  const rc = yield* call(g, h, HYPERVISOR_event_channel_op, ev.EVTCHNOP_bind_interdomain, [domid & 0xffff, port, 0]);
  tallyAgainst(h, KIND.serveRing, rc === 0);
  if (rc === 0) learnPort(h, yield* answerWord(g, h, ev.BIND_INTERDOMAIN_LOCAL));
}

/** Raises the event of one port over and over. */
export function* storm(g: GuestCpu, h: Hostile): Steps<boolean> {
  const n = Math.min(peek(hostile.nPorts(h)), MAX_PORTS);
  if (n === 0) return false;
  const port = peek(hostile.ports(h) + below(h, n));
  let sent = 0;
  for (let left = 1 + below(h, MAX_EVENTS); left > 0; left--) {
    if ((yield* call(g, h, HYPERVISOR_event_channel_op, ev.EVTCHNOP_send, [port])) !== 0) break;
    sent++;
  }
  return sent > 0;
}

/** It will do nothing more: its claims are over, offers that nobody took are gone. */
export function* leaveRings(h: Hostile): Steps<void> {
  for (let i = 0; i < MAX_RINGS; i++) {
    const claimed = peek(hostile.claimed(h) + i) as Slot;
    const offered = peek(hostile.offered(h) + i) as Slot;
    if (claimed !== 0) yield* endClaim(claimed);
    if (offered !== 0) yield* withdraw(offered);
  }
}
