/**
 * mmap, munmap, mprotect, mremap and madvise of ranges.
 *
 * Invariant: a range that is being unmapped is out of the mm's map before the first entry goes, so a fault finds no VMA.
 * Lock: mmapLock exclusive; munmap goes on shared once the VMAs are detached, so other ranges can fault meanwhile.
 * Source: Linux mm/mmap.c (do_mas_munmap), mm/mprotect.c, mm/mremap.c, mm/madvise.c; ../linux-teardown items 11-13, 17.
 */
import { DESIGN_STEP } from '../../src/abi/design-step.js';
import { EFAULT, EINVAL, ENOMEM } from '../../src/abi/errno.js';
import { PAGE_SIZE, type Va } from '../../src/abi/frames.js';
import { mapInit } from '../../src/shm/ordered-map.js';
import { RANK } from '../../src/sync/lock-order.js';
import { ld, peek, st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from './context.js';
import { COUNT } from './counters.js';
import { count } from './count.js';
import { enterStep } from './design-step.js';
import { freePgtables } from './free-pgtables.js';
import { gatherBegin, gatherFinish } from './gather.js';
import { addVa, isUserVa, USER_END } from './layout.js';
import { downgradeMm, readLockMm, readUnlockMm, writeLockMm, writeUnlockMm } from './lock.js';
import { mm, type Mm } from './mm.js';
import { invalidateEnd, invalidateStart, NOTIFY_CLEAR } from './notifier.js';
import { percpu } from './records.js';
import { anonJoin, type Anon } from './rmap.js';
import {
  findVma,
  firstIn,
  nextVma,
  prevVma,
  vma,
  vmaAlloc,
  vmaDetach,
  vmaEnd,
  vmaFree,
  vmaLink,
  vmaSetEnd,
  vmaStart,
  vmaDrop,
  type Vma,
} from './vma.js';
import { unmapVmas, zapRange } from './zap.js';
import { ldVa, stVa } from './words.js';
import { MARK } from '../../src/abi/marks.js';
import { mark } from './mark.js';

export const aligned = (va: Va, pages: number): boolean =>
  pages > 0 && va >= 0 && va % PAGE_SIZE === 0 && isUserVa(va) && va + pages * PAGE_SIZE <= USER_END;

/** Maps `pages` of anonymous memory at exactly `at`; 0, or -EINVAL where something is mapped already, or -ENOMEM. */
export function* mmapAnon(c: KernelCpu, m: Mm, at: Va, pages: number, flags: number): Steps<number> {
  if (!aligned(at, pages)) return -EINVAL;
  yield* writeLockMm(c, mm.mmapLock(m), RANK.guestMmapLock);
  const v = yield* placeVma(c, m, at, pages, flags);
  yield* writeUnlockMm(c, mm.mmapLock(m));
  return v > 0 ? 0 : v;
}

/** A linked VMA for the free range, or -EINVAL, -ENOMEM. Lock held: mmapLock, exclusive. */
export function* placeVma(c: KernelCpu, m: Mm, at: Va, pages: number, flags: number): Steps<number> {
  const end = addVa(at, pages * PAGE_SIZE);
  const after = yield* findVma(m, at);
  if (after !== 0 && vmaStart(after) < end) return -EINVAL;
  const v = yield* vmaAlloc(c, m, at, end, flags);
  if (v === 0) return -ENOMEM;
  yield* vmaLink(v);
  yield* count(c, COUNT.mmaps);
  return v;
}

/** Splits `v` at `at`: `v` keeps the lower part; answers the upper one, 0 when memory is short. */
export function* splitVma(c: KernelCpu, v: Vma, at: Va): Steps<Vma> {
  const upper = yield* copyVma(c, v, at, vmaEnd(v));
  if (upper === 0) return upper;
  yield* stVa(vma.pgoff(upper), ((yield* ldVa(vma.pgoff(v))) + (at - vmaStart(v)) / PAGE_SIZE) as Va);
  yield* vmaSetEnd(v, at);
  yield* vmaLink(upper);
  return upper;
}

/** An unlinked VMA over [start, end) with everything else as in `v`. */
export function* copyVma(c: KernelCpu, v: Vma, start: Va, end: Va): Steps<Vma> {
  const copy = yield* vmaAlloc(c, (yield* ld(vma.mm(v))) as Mm, start, end, yield* ld(vma.flags(v)));
  if (copy === 0) return copy;
  yield* stVa(vma.pgoff(copy), yield* ldVa(vma.pgoff(v)));
  for (const field of [vma.ops, vma.private, vma.file]) yield* st(field(copy), yield* ld(field(v)));
  yield* anonJoin(c, copy, (yield* ld(vma.anon(v))) as Anon);
  const ops = c.vmOps[peek(vma.ops(copy))];
  if (ops !== undefined) yield* ops.open(c, copy);
  return copy;
}

/** Makes [start, end) fall on VMA borders; answers the first VMA in it (0: none), or -ENOMEM. */
function* isolate(c: KernelCpu, m: Mm, start: Va, end: Va): Steps<number> {
  let first = yield* findVma(m, start);
  if (first === 0 || vmaStart(first) >= end) return 0;
  if (vmaStart(first) < start) {
    first = yield* splitVma(c, first, start);
    if (first === 0) return -ENOMEM;
  }
  for (let v = first; v !== 0 && vmaStart(v) < end; v = yield* nextVma(v)) {
    if (vmaEnd(v) > end && (yield* splitVma(c, v, end)) === 0) return -ENOMEM;
  }
  return first;
}

/** Unmaps [at, at + pages); 0, or -EINVAL, -ENOMEM (then nothing was unmapped). */
export function* munmap(c: KernelCpu, m: Mm, at: Va, pages: number): Steps<number> {
  if (!aligned(at, pages)) return -EINVAL;
  const end = addVa(at, pages * PAGE_SIZE);
  yield* writeLockMm(c, mm.mmapLock(m), RANK.guestMmapLock);
  const first = yield* isolate(c, m, at, end);
  if (first <= 0) {
    yield* writeUnlockMm(c, mm.mmapLock(m));
    return first;
  }
  yield* count(c, COUNT.munmaps);
  const was = enterStep(c, DESIGN_STEP.unmap);
  mark(c, MARK.do_mas_munmap);
  const prev = yield* prevVma(first as Vma);
  const floor = prev === 0 ? (0 as Va) : vmaEnd(prev);
  const after = yield* detach(c, first as Vma, end);
  const ceiling = after === 0 ? USER_END : vmaStart(after);
  yield* downgradeMm(c, mm.mmapLock(m));
  yield* unmapDetached(c, m, at, end, floor, ceiling);
  yield* readUnlockMm(c, mm.mmapLock(m));
  yield* closeDetached(c);
  enterStep(c, was);
  return 0;
}

/** Moves the VMAs from `first` up to `end` to this vCPU's private map; answers the VMA after them. */
function* detach(c: KernelCpu, first: Vma, end: Va): Steps<Vma> {
  yield* mapInit(percpu.detached(c.pc));
  let v = first;
  while (v !== 0 && vmaStart(v) < end) {
    const next = yield* nextVma(v);
    yield* vmaDetach(v, percpu.detached(c.pc));
    v = next;
  }
  return v;
}

function* unmapDetached(c: KernelCpu, m: Mm, start: Va, end: Va, floor: Va, ceiling: Va): Steps<void> {
  const first = yield* firstIn(percpu.detached(c.pc));
  gatherBegin(c, m, false);
  yield* unmapVmas(c, m, first, start, end);
  yield* freePgtables(c, m, first, end, floor, ceiling);
  yield* gatherFinish(c);
}

function* closeDetached(c: KernelCpu): Steps<void> {
  for (;;) {
    const v = yield* firstIn(percpu.detached(c.pc));
    if (v === 0) return;
    const ops = c.vmOps[peek(vma.ops(v))];
    if (ops !== undefined) yield* ops.close(c, v);
    yield* vmaDrop(v, percpu.detached(c.pc));
    yield* vmaFree(c, v);
  }
}

/** Zaps the pages of the range and keeps the VMAs; 0, or -EFAULT when a hole is in it. */
export function* madviseDontneed(c: KernelCpu, m: Mm, at: Va, pages: number): Steps<number> {
  if (!aligned(at, pages)) return -EINVAL;
  const end = addVa(at, pages * PAGE_SIZE);
  yield* readLockMm(c, mm.mmapLock(m), RANK.guestMmapLock);
  const was = enterStep(c, DESIGN_STEP.unmap);
  gatherBegin(c, m, false);
  let answer = -EFAULT;
  for (let v = yield* findVma(m, at); v !== 0 && vmaStart(v) < end; v = yield* nextVma(v)) {
    const from = Math.max(at, vmaStart(v)) as Va;
    const to = Math.min(end, vmaEnd(v)) as Va;
    yield* invalidateStart(c, m, from, to, NOTIFY_CLEAR, true);
    yield* zapRange(c, m, v, from, to);
    yield* invalidateEnd(c, m);
    answer = 0;
  }
  yield* gatherFinish(c);
  yield* readUnlockMm(c, mm.mmapLock(m));
  enterStep(c, was);
  return answer;
}

/** For mremap and mprotect: the one VMA that begins at `start` and ends at `end`, isolated; 0 none; -ENOMEM. */
export function* isolateOne(c: KernelCpu, m: Mm, start: Va, end: Va): Steps<number> {
  const v = yield* isolate(c, m, start, end);
  if (v <= 0) return v;
  return vmaStart(v as Vma) === start && vmaEnd(v as Vma) === end ? v : 0;
}
