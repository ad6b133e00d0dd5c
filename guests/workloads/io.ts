/**
 * io: a backend's process. It claims a frontend's ring, maps ring and data pages by gntdev, works on them in user mode,
 * and ends: by unmapping first, by exit, or by a signal, with the grants still mapped.
 *
 * With `busy` a part of the pages is held by an I/O that is under way when the process ends, as a device would: the
 * references go only later, by a kernel thread. Threads beyond the first touch the pages until they are gone.
 * Arguments: peers (a bit per domain), end, busy, patience, limit on pages. Lock: none.
 */
import { makeVa, type Va } from '../../src/abi/frames.js';
import { peek, poke, stOnce, ldOnce } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import {
  claim,
  endClaim,
  serve,
  serveNoMore,
  slot,
  SLOT_OFFERED,
  slotAt,
  SLOTS,
  slotState,
  type Slot,
} from '../drivers/blk/board.js';
import { answer, RING_MAX, ringCount, ringRef } from '../drivers/blk/ring.js';
import { gntdevMmap, gntdevNewMap, gntdevOpen } from '../drivers/gntdev/device.js';
import { setGrant, type GrantMap } from '../drivers/gntdev/map.js';
import { STEP_AGAIN, STEP_EXIT, type KernelCpu, type Program } from '../kernel/context.js';
import { COUNT } from '../kernel/counters.js';
import { count } from '../kernel/count.js';
import { closeFile, fileOf, installFile } from '../kernel/file.js';
import { addVa } from '../kernel/layout.js';
import { mm, type Mm } from '../kernel/mm.js';
import { munmap } from '../kernel/mmap.js';
import { kernel } from '../kernel/records.js';
import { killTask, task, taskArg, taskWord, type Task } from '../kernel/task.js';
import { userLoad, userStore, userTouch } from '../kernel/user.js';
import { bindInterdomain, closePort, sendEvent } from '../xen/event-ops.js';
import { holdForIo } from './io-hold.js';
import { random } from './random.js';
import { PROGRAM_ARGS, SPAWNER_NOTE, THREAD_NUMBER } from './spawner.js';

const PEERS = PROGRAM_ARGS;
const END = PROGRAM_ARGS + 1;
const BUSY = PROGRAM_ARGS + 2;
/** Looks at an empty board before the process ends with nothing done. */
const PATIENCE = PROGRAM_ARGS + 3;
const LIMIT = PROGRAM_ARGS + 4;

/** How a process ends, in the order of the catalog's choice. */
export const END_UNMAP = 0;
export const END_EXIT = 1;
export const END_KILL = 2;
const END_ANY = 3;
const SIGKILL = 9;

const STAGE = 0;
const TRIES = 2;
const SLOT = 3;
const FD = 4;
const PAGES = 5;
const DONE = 6;
const CLAIM = 0;
const MAP = 1;
const WORK = 2;
const FINISH = 3;

/** mm.programWords: pages mapped, for the other threads. */
const SHARED_PAGES = 0;

const RING = makeVa(96);
const DATA = makeVa(96, 1);
const QUANTUM = 8;

export const io: Program = Object.freeze({
  name: 'io',
  kernelThread: false,
  *step(c: KernelCpu, t: Task): Steps<number> {
    if (peek(taskWord(t, THREAD_NUMBER)) > 0) return yield* toucher(c, t);
    switch (peek(taskWord(t, STAGE))) {
      case CLAIM:
        return yield* claimRing(c, t);
      case MAP:
        return yield* mapData(c, t);
      case WORK:
        return yield* workOn(c, t);
      default:
        return yield* finish(c, t);
    }
  },
  /** Nobody of the process is left: the frontend may have its pages back. */
  *ended(c: KernelCpu, spawner: Task): Steps<void> {
    const s = (yield* ldOnce(taskWord(spawner, SPAWNER_NOTE))) as Slot; // raced on purpose: its writer is gone
    if (s !== 0) yield* release(c, s);
  },
  *begin(c: KernelCpu): Steps<void> {
    if (peek(kernel.board(c.k)) !== 0) yield* serve(peek(kernel.board(c.k)), peek(kernel.domid(c.k)));
  },
  *finish(c: KernelCpu): Steps<void> {
    const board = peek(kernel.board(c.k));
    const me = peek(kernel.domid(c.k));
    if (board !== 0 && (yield* serveNoMore(board, me))) yield* tellFrontends(c, board, me);
  },
});

function* release(c: KernelCpu, s: Slot): Steps<void> {
  const port = yield* bindInterdomain(c, peek(slot.frontend(s)), peek(slot.port(s)));
  yield* endClaim(s);
  if (port >= 0) yield* kick(c, port);
}

/** Raises the frontend's event and lets the port go. */
function* kick(c: KernelCpu, port: number): Steps<void> {
  yield* sendEvent(c, port);
  yield* closePort(c, port);
}

/** Nobody here will take the offers that are still out: their frontends are told. */
function* tellFrontends(c: KernelCpu, board: number, me: number): Steps<void> {
  for (let i = 0; i < SLOTS; i++) {
    const s = slotAt(board, i);
    if ((yield* slotState(s)) !== SLOT_OFFERED || peek(slot.backend(s)) !== me) continue;
    const port = yield* bindInterdomain(c, peek(slot.frontend(s)), peek(slot.port(s)));
    if (port >= 0) yield* kick(c, port);
  }
}

function* claimRing(c: KernelCpu, t: Task): Steps<number> {
  const board = peek(kernel.board(c.k));
  const s = board === 0 ? 0 : yield* claim(board, peek(kernel.domid(c.k)), taskArg(t, PEERS), random(c, t, 64));
  if (s === 0) {
    poke(taskWord(t, TRIES), peek(taskWord(t, TRIES)) + 1);
    return peek(taskWord(t, TRIES)) < taskArg(t, PATIENCE) ? STEP_AGAIN : STEP_EXIT;
  }
  poke(taskWord(t, SLOT), s);
  const parent = peek(task.parent(t)) as Task;
  if (parent !== 0) yield* stOnce(taskWord(parent, SPAWNER_NOTE), s); // raced on purpose: read when we are gone
  const f = yield* gntdevOpen(c);
  const fd = f === 0 ? -1 : yield* installFile(t, f);
  poke(taskWord(t, FD), fd);
  if (fd < 0 || (yield* mapGrants(c, t, RING, 1)) === 0) return STEP_EXIT;
  poke(taskWord(t, STAGE), MAP);
  return STEP_AGAIN;
}

/** Maps `n` grants of the claimed frontend at `at`: the ring page itself, or the references in it; 0 when refused. */
function* mapGrants(c: KernelCpu, t: Task, at: Va, n: number): Steps<number> {
  const f = fileOf(t, peek(taskWord(t, FD)));
  const s = peek(taskWord(t, SLOT)) as Slot;
  const map: GrantMap = yield* gntdevNewMap(c, f, n, false);
  if (map === 0) return 0;
  const domid = peek(slot.frontend(s));
  for (let i = 0; i < n; i++) setGrant(map, i, domid, at === RING ? peek(slot.ring(s)) : yield* ringRef(c, RING, i));
  if ((yield* gntdevMmap(c, peek(task.mm(t)) as Mm, f, map, at)) < 0) return 0;
  if (at !== RING && taskArg(t, BUSY) !== 0) yield* holdForIo(c, map, random(c, t, n));
  return n;
}

function* mapData(c: KernelCpu, t: Task): Steps<number> {
  const n = Math.min(yield* ringCount(c, RING), taskArg(t, LIMIT), RING_MAX);
  if (n <= 0 || (yield* mapGrants(c, t, DATA, n)) === 0) return STEP_EXIT;
  poke(taskWord(t, PAGES), n);
  yield* stOnce(mm.programWords(peek(task.mm(t)) as Mm) + SHARED_PAGES, n); // raced on purpose: the other threads look
  poke(taskWord(t, STAGE), WORK);
  return STEP_AGAIN;
}

/** Reads each page's number, writes the answer beside it. */
function* workOn(c: KernelCpu, t: Task): Steps<number> {
  const n = peek(taskWord(t, PAGES));
  const first = peek(taskWord(t, DONE));
  const end = Math.min(n, first + QUANTUM);
  for (let i = first; i < end; i++) {
    const va = addVa(DATA, i * 4096);
    yield* userStore(c, addVa(va, 4), yield* userLoad(c, va));
  }
  yield* count(c, COUNT.ioRequests, end - first);
  poke(taskWord(t, DONE), end);
  if (end < n) return STEP_AGAIN;
  yield* answer(c, RING, n);
  poke(taskWord(t, STAGE), FINISH);
  return STEP_AGAIN;
}

function* finish(c: KernelCpu, t: Task): Steps<number> {
  const end = taskArg(t, END) === END_ANY ? random(c, t, 3) : taskArg(t, END);
  const m = peek(task.mm(t)) as Mm;
  if (end === END_UNMAP) {
    yield* munmap(c, m, DATA, peek(taskWord(t, PAGES)));
    yield* munmap(c, m, RING, 1);
    yield* closeFile(c, t, peek(taskWord(t, FD)));
  } else if (end === END_KILL) yield* killTask(c, t, SIGKILL);
  return STEP_EXIT;
}

/** Another thread: touches data pages while they are there. */
function* toucher(c: KernelCpu, t: Task): Steps<number> {
  const m = peek(task.mm(t)) as Mm;
  const n = yield* ldOnce(mm.programWords(m) + SHARED_PAGES); // raced on purpose: the first thread sets it
  if (n > 0) yield* userTouch(c, addVa(DATA, random(c, t, n) * 4096 + 8), 1, true);
  poke(taskWord(t, TRIES), peek(taskWord(t, TRIES)) + 1);
  return peek(taskWord(t, TRIES)) < taskArg(t, PATIENCE) ? STEP_AGAIN : STEP_EXIT;
}
