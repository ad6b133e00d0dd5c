/**
 * Unmapping granted pages: the user entries in one call, p2m, the kernel mappings in another; and later, when busy.
 *
 * Invariant: an entry is taken (`GE_REMOVING`) before its handles are used, and let go after the answers are in, so no
 * handle is used twice. A refused user unmap leaves its handle, and the kernel mapping with it, unless the design
 * forgets it (today's Linux does: it warns and goes on).
 * Lock: map.lock for taking and letting go; none across the calls.
 * Source: Linux drivers/xen/gntdev.c (__unmap_grant_pages), grant-table.c (gnttab_unmap_refs_async);
 * ../linux-teardown items 9, 12. Live handles are counted as answers come in (Qubes 7631).
 */
import { vaHi, vaLo } from '../../../src/abi/frames.js';
import { GNTST_okay } from '../../../src/abi/grant.js';
import { add, and, ld, ldOnce, peek, poke, st } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import { quarantinePage } from '../../kernel/alloc.js';
import type { KernelCpu } from '../../kernel/context.js';
import { COUNT, WARN } from '../../kernel/counters.js';
import { count, warn } from '../../kernel/count.js';
import { directVa } from '../../kernel/layout.js';
import { mm, type Mm } from '../../kernel/mm.js';
import { P2M_INVALID, setP2m } from '../../kernel/p2m.js';
import { page, pageOf, PG_foreign } from '../../kernel/page.js';
import { queueWork } from '../../kernel/work.js';
import { callUnmap, mapCapacity, putUnmap, unmapStatus } from '../../xen/grant-ops.js';
import { backingOf } from './backing.js';
import { isKept, noteRefused, retryUser } from './quarantine.js';
import {
  entryOf,
  GE_KERNEL,
  GE_PTE_HI,
  GE_PTE_LO,
  GE_REMOVING,
  GE_USER,
  grantMap,
  lockMap,
  mapGet,
  mapPut,
  mapWork,
  NO_HANDLE,
  pfnOfEntry,
  unlockMap,
  type GrantMap,
} from './map.js';
import { MARK } from '../../../src/abi/marks.js';
import { mark } from '../../kernel/mark.js';

/** More than the length of any run of grants. */
const RUN = 2 ** 20;

/** Index of the deferred unmap among KernelCpu.workers. */
export const WORKER_UNMAP = 0;

const hasHandle = (e: number): boolean => peek(e + GE_USER) !== NO_HANDLE || peek(e + GE_KERNEL) !== NO_HANDLE;

/**
 * Takes the first contiguous run in [first, end) of entries with a handle that nobody is removing. Answers
 * start * RUN + length, or -1 when there is none.
 */
function* takeRun(c: KernelCpu, map: GrantMap, first: number, end: number): Steps<number> {
  yield* lockMap(c, map);
  let start = first;
  while (start < end && !free(entryOf(map, start))) start++;
  let stop = start;
  while (stop < end && stop - start < mapCapacity(c) && free(entryOf(map, stop))) {
    yield* st(entryOf(map, stop) + GE_REMOVING, 1);
    stop++;
  }
  yield* unlockMap(c, map);
  return start === stop ? -1 : start * RUN + (stop - start);
}

const free = (e: number): boolean => peek(e + GE_REMOVING) === 0 && hasHandle(e);

function* letGo(c: KernelCpu, map: GrantMap, first: number, n: number): Steps<void> {
  yield* lockMap(c, map);
  for (let i = first; i < first + n; i++) yield* st(entryOf(map, i) + GE_REMOVING, 0);
  yield* unlockMap(c, map);
}

/** Unmaps what is mapped in [first, end), waiting for nobody: pages in use are unmapped all the same. */
export function* unmapRangeNow(c: KernelCpu, map: GrantMap, first: number, end: number): Steps<void> {
  for (let at = first; at < end;) {
    const run = yield* takeRun(c, map, at, end);
    if (run < 0) return;
    const start = Math.floor(run / RUN);
    const n = run % RUN;
    yield* count(c, COUNT.unmapTries);
    mark(c, MARK.unmap_try, 0, n);
    yield* unmapBoth(c, map, start, n);
    yield* letGo(c, map, start, n);
    at = start + n;
  }
}

/** Unmaps what is mapped in [first, end), now where no page is in use, later where one is. */
export function* unmapRangeAsync(c: KernelCpu, map: GrantMap, first: number, end: number): Steps<void> {
  for (let at = first; at < end;) {
    const run = yield* takeRun(c, map, at, end);
    if (run < 0) return;
    const start = Math.floor(run / RUN);
    const n = run % RUN;
    yield* mapGet(map);
    yield* tryUnmap(c, map, start, n, 0);
    at = start + n;
  }
}

/** Unmaps the user entries in [first, end) now; the kernel's mappings now where no page is in use, later where one is. */
export function* unmapRangeSplit(c: KernelCpu, map: GrantMap, first: number, end: number): Steps<void> {
  for (let at = first; at < end;) {
    const run = yield* takeRun(c, map, at, end);
    if (run < 0) return;
    const start = Math.floor(run / RUN);
    const n = run % RUN;
    yield* mapGet(map);
    yield* unmapUser(c, map, start, n);
    yield* tryUnmap(c, map, start, n, 0);
    at = start + n;
  }
}

/** One attempt for a taken run; it owns a ref of the map, which goes when the run is done. */
function* tryUnmap(c: KernelCpu, map: GrantMap, first: number, n: number, age: number): Steps<void> {
  yield* count(c, COUNT.unmapTries);
  mark(c, MARK.unmap_try, age, n);
  if (yield* anyBusy(c, map, first, n)) {
    yield* count(c, COUNT.unmapDeferred);
    if (yield* deferUnmap(c, map, first, n, age)) return;
  }
  // A user entry that was refused may be what keeps its table by now: then it goes as kept entries do.
  if (age > 0 && (yield* isKept(c, map))) {
    for (let i = first; i < first + n; i++) yield* retryUser(c, map, i);
    yield* unmapKernel(c, map, first, n);
  } else yield* unmapBoth(c, map, first, n);
  yield* letGo(c, map, first, n);
  yield* mapPut(c, map);
}

function* anyBusy(c: KernelCpu, map: GrantMap, first: number, n: number): Steps<boolean> {
  for (let i = first; i < first + n; i++) {
    const refs = yield* ldOnce(page.refcount(pageOf(c.k, pfnOfEntry(entryOf(map, i))))); // raced on purpose: a snapshot
    if (refs > 1) return true;
  }
  return false;
}

/** Queues the next attempt, further away each time; false when the map's one item is taken (then it is done now). */
function* deferUnmap(c: KernelCpu, map: GrantMap, first: number, n: number, age: number): Steps<boolean> {
  yield* lockMap(c, map);
  const mine = (yield* ld(grantMap.workCount(map))) === 0;
  if (mine) {
    yield* st(grantMap.workFirst(map), first);
    yield* st(grantMap.workCount(map), n);
    yield* st(grantMap.workAge(map), age + 1);
  }
  yield* unlockMap(c, map);
  return mine && (yield* queueWork(c, mapWork(map), WORKER_UNMAP, map, age + 1));
}

/** The deferred work: one more attempt. */
export function* unmapWorker(c: KernelCpu, map: GrantMap): Steps<void> {
  yield* lockMap(c, map);
  const first = yield* ld(grantMap.workFirst(map));
  const n = yield* ld(grantMap.workCount(map));
  const age = yield* ld(grantMap.workAge(map));
  yield* st(grantMap.workCount(map), 0);
  yield* unlockMap(c, map);
  yield* tryUnmap(c, map, first, n, age);
}

/** gnttab_unmap_refs: user entries, p2m, kernel mappings. */
function* unmapBoth(c: KernelCpu, map: GrantMap, first: number, n: number): Steps<void> {
  mark(c, MARK.gnttab_unmap_refs, 0, n);
  yield* unmapUser(c, map, first, n);
  yield* unmapKernel(c, map, first, n);
  mark(c, MARK.unmap_done);
}

/** The user entries of a taken run, by machine address. */
export function* unmapUser(c: KernelCpu, map: GrantMap, first: number, n: number): Steps<void> {
  let ops = 0;
  for (let i = first; i < first + n; i++) {
    const e = entryOf(map, i);
    if (peek(e + GE_USER) === NO_HANDLE) continue;
    yield* putUnmap(c, ops++, peek(e + GE_PTE_LO), peek(e + GE_PTE_HI), peek(e + GE_USER));
  }
  if (ops === 0) return;
  const r = yield* callUnmap(c, ops);
  ops = 0;
  for (let i = first; i < first + n; i++) {
    const e = entryOf(map, i);
    if (peek(e + GE_USER) === NO_HANDLE) continue;
    yield* userAnswer(c, map, e, r < 0 ? r : yield* unmapStatus(c, ops++));
  }
}

/** Notes what Xen said to the unmap of a user entry. */
export function* userAnswer(c: KernelCpu, map: GrantMap, e: number, status: number): Steps<void> {
  if (status !== GNTST_okay) {
    yield* warn(c, WARN.grantUnmap, -status);
    if (c.design.forgetsRefused) yield* forget(c, map, e + GE_USER);
    else yield* noteRefused(c, map);
    return;
  }
  poke(e + GE_USER, NO_HANDLE);
  yield* add(grantMap.live(map), -1);
  yield* count(c, COUNT.grantsTornDown);
  const m = peek(grantMap.mm(map)) as Mm;
  if (m !== 0) yield* add(mm.granted(m), -1);
}

/** p2m and kernel mappings of a taken run; entries whose user unmap was refused keep theirs. */
export function* unmapKernel(c: KernelCpu, map: GrantMap, first: number, n: number): Steps<void> {
  const backing = backingOf(c);
  let ops = 0;
  for (let i = first; i < first + n; i++) {
    const e = entryOf(map, i);
    if (!kernelGoes(e)) continue;
    yield* setP2m(c, pfnOfEntry(e), P2M_INVALID);
    yield* and(page.flags(pageOf(c.k, pfnOfEntry(e))), ~PG_foreign);
    const va = directVa(pfnOfEntry(e));
    const instead = yield* backing.replacement(c, pfnOfEntry(e));
    yield* putUnmap(c, ops++, vaLo(va), vaHi(va), peek(e + GE_KERNEL), instead);
  }
  if (ops === 0) return;
  const r = yield* callUnmap(c, ops, backing.command);
  ops = 0;
  for (let i = first; i < first + n; i++) {
    const e = entryOf(map, i);
    if (!kernelGoes(e)) continue;
    const status = r < 0 ? r : yield* unmapStatus(c, ops++);
    yield* kernelAnswer(c, map, e, status);
  }
}

/** Notes what Xen said to the unmap of a kernel mapping; a page that still shows a foreign frame is never used again. */
function* kernelAnswer(c: KernelCpu, map: GrantMap, e: number, status: number): Steps<void> {
  const pfn = pfnOfEntry(e);
  if (status === GNTST_okay) {
    poke(e + GE_KERNEL, NO_HANDLE);
    yield* add(grantMap.live(map), -1);
    if (!(yield* backingOf(c).unmapped(c, pfn))) yield* quarantinePage(c, pfn);
    return;
  }
  yield* warn(c, WARN.grantUnmap, -status);
  yield* backingOf(c).refused(c, pfn);
  if (!c.design.forgetsRefused) return;
  yield* forget(c, map, e + GE_KERNEL);
  yield* quarantinePage(c, pfn);
}

/** Drops the handle at `a` although Xen still has it: nobody will ever release it. */
function* forget(c: KernelCpu, map: GrantMap, a: number): Steps<void> {
  poke(a, NO_HANDLE);
  yield* add(grantMap.live(map), -1);
  yield* count(c, COUNT.grantsForgotten);
}

const kernelGoes = (e: number): boolean => peek(e + GE_USER) === NO_HANDLE && peek(e + GE_KERNEL) !== NO_HANDLE;
