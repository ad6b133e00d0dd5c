/**
 * The process whose end a benchmark measures: laid out as the recorded ones, with ordinary pages and granted ones.
 *
 * Program, vdso and stack lie in two L4 slots, the data in a third, the grants in a fourth, so that the tables are those
 * of the recordings: 4 L1, 3 L2, 3 L3 with few ordinary pages, and 5, 4, 4 with few grants beside them.
 * Lock: none; the process is its maker's until it runs.
 * Source: ../../linux-teardown, "A line" (what the recorded processes had mapped).
 */
import { makeVa, type Va } from '../../src/abi/frames.js';
import { INVALID_GREF } from '../../src/abi/grant.js';
import { add, peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { gntdevMmap, gntdevNewMap, gntdevOpen } from '../drivers/gntdev/device.js';
import { setGrant, type GrantMap } from '../drivers/gntdev/map.js';
import { grantAccess } from '../drivers/grants.js';
import { allocZeroedPage } from '../kernel/alloc.js';
import type { KernelCpu } from '../kernel/context.js';
import { newProcessMm } from '../kernel/exec.js';
import { installFile } from '../kernel/file.js';
import { mm, type Mm } from '../kernel/mm.js';
import { mmapAnon } from '../kernel/mmap.js';
import { PFN_NONE } from '../kernel/layout.js';
import { percpu } from '../kernel/records.js';
import { activateMm } from '../kernel/switch.js';
import { taskAlloc, taskStart, type Task } from '../kernel/task.js';
import { userTouch } from '../kernel/user.js';
import { VM_READ, VM_WRITE } from '../kernel/vma.js';

const RW = VM_READ | VM_WRITE;
export const DATA = makeVa(64);
const PROG = makeVa(0, 0, 2, 0);
const GNT = makeVa(96);
const VDSO = makeVa(255, 511, 447, 0);
const PROG_PAGES = 8;
/** A program number that no program has: its task ends at its next step. */
export const ENDS_AT_ONCE = 999;

/**
 * A process with `pages` touched pages of data, loaded on this vCPU, its main task current; its mm, or 0. With `queued`
 * the task is on the run queue, for whoever is to end it.
 */
export function* layProcess(c: KernelCpu, pages: number, queued: boolean): Steps<Mm> {
  const m = yield* newProcessMm(c);
  if (m === 0) return m;
  const t = yield* taskAlloc(c, ENDS_AT_ONCE, m, 0 as Task);
  if (t === 0) return 0 as Mm;
  if (queued) yield* taskStart(c, t);
  poke(percpu.current(c.pc), t);
  yield* activateMm(c, m);
  const all =
    (yield* place(c, m, PROG, PROG_PAGES)) && (yield* place(c, m, VDSO, 1)) && (yield* place(c, m, DATA, pages));
  return all ? m : (0 as Mm);
}

/** One more thread of `m`, ready to run; 0: no memory. */
export function* addSibling(c: KernelCpu, m: Mm): Steps<Task> {
  const t = yield* taskAlloc(c, ENDS_AT_ONCE, m, 0 as Task);
  if (t === 0) return t;
  yield* add(mm.users(m), 1);
  yield* taskStart(c, t);
  return t;
}

function* place(c: KernelCpu, m: Mm, at: Va, pages: number): Steps<boolean> {
  if (pages === 0) return true;
  return (yield* mmapAnon(c, m, at, pages, RW)) === 0 && (yield* userTouch(c, at, pages, true)) === pages;
}

/** Grants `n` fresh pages of this kernel's to `domid` and notes the references from address `refs` on; false: no room. */
export function* grantPages(c: KernelCpu, domid: number, n: number, refs: number): Steps<boolean> {
  for (let i = 0; i < n; i++) {
    const pfn = yield* allocZeroedPage(c);
    const ref = pfn === PFN_NONE ? 0 : yield* grantAccess(c, domid, pfn, false);
    if (ref === 0 || ref === INVALID_GREF) return false;
    poke(refs + i, ref);
  }
  return true;
}

/**
 * Maps `n` grants into the process and touches them: number i is reference `refs`[i] of domain `first` + i / `each`.
 * Answers the map, 0 when it was refused.
 */
export function* mapForeign(
  c: KernelCpu,
  m: Mm,
  n: number,
  refs: number,
  first: number,
  each: number,
): Steps<GrantMap> {
  const file = yield* gntdevOpen(c);
  const map = file === 0 ? (0 as GrantMap) : yield* gntdevNewMap(c, file, n, false);
  if (map === 0) return map;
  yield* installFile(peek(percpu.current(c.pc)) as Task, file);
  for (let i = 0; i < n; i++) setGrant(map, i, first + Math.floor(i / each), peek(refs + i));
  const ok = (yield* gntdevMmap(c, m, file, map, GNT)) === 0 && (yield* userTouch(c, GNT, n, true)) === n;
  return ok ? map : (0 as GrantMap);
}
