/**
 * frontend: grants a ring and data pages to a backend domain, waits, revokes them, checks what came back, frees them.
 *
 * Invariant: a page is freed only after its reference was revoked; a reference that stays busy keeps its page, and is looked
 * at again by later rounds (the run then shows a leak of the backend's, not a use after free of ours).
 * Arguments: peers (a bit per domain), pages, patience, trust (what the backend answered is
 * as it says, and its pages may be used for anything afterwards). Runs in the kernel, as blkfront does. Lock: none.
 */
import { INVALID_GREF } from '../../src/abi/grant.js';
import type { Pfn } from '../../src/abi/frames.js';
import { arenaAlloc, arenaFree } from '../../src/shm/arena.js';
import { ldOnce, or, peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import {
  abandoned,
  livingDomid,
  offer,
  slot,
  SLOT_ENDED,
  slotState,
  withdraw,
  type Slot,
} from '../drivers/blk/board.js';
import { answered, layRing, putRef, RING_MAX } from '../drivers/blk/ring.js';
import { deferEnd, endDeferred, pooledPage, toPool } from '../drivers/deferred.js';
import { endAccess, grantAccess } from '../drivers/grants.js';
import { allocZeroedPage } from '../kernel/alloc.js';
import { STEP_AGAIN, STEP_EXIT, STEP_SLEEP, type KernelCpu, type Program } from '../kernel/context.js';
import { WARN } from '../kernel/counters.js';
import { warn } from '../kernel/count.js';
import { addVa, directVa, PFN_NONE } from '../kernel/layout.js';
import { releasePage } from '../kernel/lru.js';
import { page, pageOf, PG_granted } from '../kernel/page.js';
import { kernel } from '../kernel/records.js';
import { taskArg, taskWord, type Task } from '../kernel/task.js';
import { allocUnbound, closePort } from '../xen/event-ops.js';
import { random } from './random.js';
import { quietProgram } from './quiet.js';
import { PROGRAM_ARGS } from './spawner.js';

const PEERS = PROGRAM_ARGS;
const PAGES = PROGRAM_ARGS + 1;
/** Looks at a busy reference before it is given up. */
const PATIENCE = PROGRAM_ARGS + 2;
const TRUST = PROGRAM_ARGS + 3;

const STAGE = 0;
const SLOT = 2;
const PORT = 3;
/** Chunk with (pfn, ref) pairs; pair 0 is the ring. */
const TABLE = 4;
const GRANTED = 5;
const TRIES = 6;
const GRANT = 0;
const WAIT = 1;
const REVOKE = 2;

const trusts = (t: Task): boolean => taskArg(t, TRUST) !== 0;
const pairAt = (t: Task, i: number): number => peek(taskWord(t, TABLE)) + 2 * i;

export const frontend: Program = Object.freeze({
  name: 'frontend',
  kernelThread: true,
  *step(c: KernelCpu, t: Task): Steps<number> {
    switch (peek(taskWord(t, STAGE))) {
      case GRANT:
        return yield* grantAll(c, t);
      case WAIT:
        return yield* wait(c, t);
      default:
        return yield* revokeAll(c, t);
    }
  },
  ...quietProgram,
});

/** One of the peers, at random. */
function choosePeer(c: KernelCpu, t: Task): number {
  const peers: number[] = [];
  for (let d = 0; d < 32; d++) if ((taskArg(t, PEERS) & (1 << d)) !== 0) peers.push(d);
  return peers[random(c, t, peers.length)] ?? -1;
}

function* grantAll(c: KernelCpu, t: Task): Steps<number> {
  const board = peek(kernel.board(c.k));
  const chosen = choosePeer(c, t);
  if (chosen < 0 || board === 0 || (yield* abandoned(board, chosen))) return STEP_EXIT;
  const peer = yield* livingDomid(board, chosen);
  const table = yield* arenaAlloc(c.cpu, peek(kernel.arena(c.k)), 1);
  if (table === 0) return STEP_EXIT;
  poke(taskWord(t, TABLE), table);
  poke(taskWord(t, STAGE), REVOKE);
  const n = Math.min(taskArg(t, PAGES), RING_MAX);
  for (let i = 0; i <= n; i++) if (!(yield* grantOne(c, t, peer))) return STEP_AGAIN;
  const ring = peek(pairAt(t, 0)) as Pfn;
  yield* layRing(c, ring, n);
  for (let i = 1; i <= n; i++) yield* putRef(c, ring, i - 1, peek(pairAt(t, i) + 1));
  const port = yield* allocUnbound(c, peer);
  poke(taskWord(t, PORT), port);
  if (port < 0) return STEP_AGAIN;
  const s = yield* offer(board, peek(kernel.domid(c.k)), peer, peek(pairAt(t, 0) + 1), port);
  poke(taskWord(t, SLOT), s);
  if (s !== 0) poke(taskWord(t, STAGE), WAIT);
  return STEP_AGAIN;
}

/** One more granted page with its number in the first word; false when pages or references are short. */
function* grantOne(c: KernelCpu, t: Task, peer: number): Steps<boolean> {
  const i = peek(taskWord(t, GRANTED));
  const pfn = trusts(t) ? yield* allocZeroedPage(c) : yield* pooledPage(c);
  if (pfn === PFN_NONE) return false;
  yield* c.g.store32(directVa(pfn), i);
  const ref = yield* grantAccess(c, peer, pfn, false);
  if (ref === INVALID_GREF) {
    yield* letGo(c, t, pfn);
    return false;
  }
  yield* or(page.flags(pageOf(c.k, pfn)), PG_granted);
  poke(pairAt(t, i), pfn);
  poke(pairAt(t, i) + 1, ref);
  poke(taskWord(t, GRANTED), i + 1);
  return true;
}

/** Until the backend's process is gone; an offer that nobody will take is taken back. */
function* wait(c: KernelCpu, t: Task): Steps<number> {
  const s = peek(taskWord(t, SLOT)) as Slot;
  const board = peek(kernel.board(c.k));
  const peer = peek(slot.backend(s));
  const over =
    (yield* slotState(s)) === SLOT_ENDED ||
    (yield* ldOnce(kernel.windDown(c.k))) !== 0 || // raced on purpose: set once
    (yield* abandoned(board, peer)) ||
    (yield* livingDomid(board, peer)) !== peer;
  if (!over || !(yield* withdraw(s))) return STEP_SLEEP;
  poke(taskWord(t, STAGE), REVOKE);
  return STEP_AGAIN;
}

/** Revokes what was granted, from the last to the first; a busy reference is looked at again. */
function* revokeAll(c: KernelCpu, t: Task): Steps<number> {
  for (let i = peek(taskWord(t, GRANTED)) - 1; i >= 0; i--) {
    if (!(yield* endAccess(c, peek(pairAt(t, i) + 1)))) {
      const tries = peek(taskWord(t, TRIES)) + 1;
      poke(taskWord(t, TRIES), tries);
      if (tries < taskArg(t, PATIENCE)) return STEP_AGAIN;
      yield* deferEnd(c, peek(pairAt(t, i)) as Pfn, peek(pairAt(t, i) + 1), !trusts(t));
    } else yield* takeBack(c, t, i);
    poke(taskWord(t, TRIES), 0);
    poke(taskWord(t, GRANTED), i);
  }
  yield* endDeferred(c);
  if (peek(taskWord(t, PORT)) > 0) yield* closePort(c, peek(taskWord(t, PORT)));
  yield* arenaFree(c.cpu, peek(kernel.arena(c.k)), peek(taskWord(t, TABLE)), 1);
  return STEP_EXIT;
}

/** A page nobody else has any more: what the backend wrote is looked at, then the page goes. */
function* takeBack(c: KernelCpu, t: Task, i: number): Steps<void> {
  const pfn = peek(pairAt(t, i)) as Pfn;
  if (trusts(t) && i > 0 && i <= (yield* answered(c, peek(pairAt(t, 0)) as Pfn))) {
    const mark = yield* c.g.load32(addVa(directVa(pfn), 4));
    if (mark !== i) yield* warn(c, WARN.ioData, i);
  }
  yield* letGo(c, t, pfn);
}

function* letGo(c: KernelCpu, t: Task, pfn: Pfn): Steps<void> {
  if (trusts(t)) yield* releasePage(c, pfn);
  else yield* toPool(c, pfn);
}
