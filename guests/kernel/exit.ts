/**
 * The end of an address space, step by step.
 *
 * Today's order ([X74], items 1, 8): notifiers' release, arch hook (leave the roots everywhere, unpin), zap everything
 * inside one notification, free the tables, finish the gather, close the VMAs. 2.6.25's: no notifiers; the arch hook
 * comes first; VMAs are closed when all entries are long gone. What the arch hooks do is the design's choice.
 * Invariant: runs once, by whoever drops the last user, on whatever vCPU; the mm's record stays until mmDrop.
 * Lock: mmapLock shared for zapping, exclusive from free_pgtables on; none across the release and the arch hooks.
 * Source: Linux mm/mmap.c, arch/x86/xen/mmu_pv.c (xen_exit_mmap).
 */
import { DESIGN_STEP } from '../../src/abi/design-step.js';
import type { Va } from '../../src/abi/frames.js';
import { RANK } from '../../src/sync/lock-order.js';
import { add, ldOnce, peek, stOnce } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from './context.js';
import { COUNT } from './counters.js';
import { count } from './count.js';
import { enterStep } from './design-step.js';
import { freePgtables } from './free-pgtables.js';
import { gatherBegin, gatherFinish } from './gather.js';
import { USER_END } from './layout.js';
import { klock, kunlock, readLockMm, readUnlockMm, writeLockMm, writeUnlockMm } from './lock.js';
import { EXIT_BEGUN, EXIT_DONE, mm, mmDrop, pgdOf, type Mm } from './mm.js';
import { notifierRelease, RANGE_ALL_END } from './notifier.js';
import { pgdUnpin } from './pin.js';
import { EXIT_2_6_25, kernel } from './records.js';
import { dropMmRef } from './switch.js';
import { isPinned } from './tables.js';
import { firstVma, vma, vmaFree, vmaUnlink } from './vma.js';
import { unmapVmas } from './zap.js';
import { MARK } from '../../src/abi/marks.js';
import { mark } from './mark.js';
import { holdFiles, releaseHeldFiles } from './file.js';

/** mmput: drops a user; the last one ends the address space. */
export function* mmPut(c: KernelCpu, m: Mm): Steps<void> {
  if ((yield* add(mm.users(m), -1)) !== 1) return;
  yield* exitMmap(c, m);
  yield* mmDrop(c, m);
}

export function* exitMmap(c: KernelCpu, m: Mm): Steps<void> {
  yield* count(c, COUNT.exitMmaps);
  mark(c, MARK.exit_mmap);
  holdFiles(c);
  yield* stOnce(mm.exitStage(m), EXIT_BEGUN); // raced on purpose: checks look at it
  const was = enterStep(c, DESIGN_STEP.release);
  if (peek(kernel.exitOrder(c.k)) !== EXIT_2_6_25) yield* notifierRelease(c, m);
  enterStep(c, DESIGN_STEP.pre);
  yield* c.design.exitMmapPre(c, m);
  enterStep(c, DESIGN_STEP.zap);
  gatherBegin(c, m, true);
  yield* readLockMm(c, mm.mmapLock(m), RANK.guestMmapLock);
  const first = yield* firstVma(m);
  if (first !== 0) yield* unmapVmas(c, m, first, 0 as Va, RANGE_ALL_END);
  yield* readUnlockMm(c, mm.mmapLock(m));
  enterStep(c, DESIGN_STEP.post);
  yield* c.design.exitMmapPost(c, m);
  enterStep(c, DESIGN_STEP.tables);
  yield* writeLockMm(c, mm.mmapLock(m), RANK.guestMmapLock);
  if (first !== 0) yield* freePgtables(c, m, first, USER_END, 0 as Va, USER_END);
  yield* gatherFinish(c);
  enterStep(c, DESIGN_STEP.close);
  yield* closeVmas(c, m);
  yield* writeUnlockMm(c, mm.mmapLock(m));
  enterStep(c, was);
  yield* stOnce(mm.exitStage(m), EXIT_DONE); // raced on purpose: checks look at it
  mark(c, MARK.exit_mmap_ret);
  yield* releaseHeldFiles(c);
}

/** remove_vma for all. */
function* closeVmas(c: KernelCpu, m: Mm): Steps<void> {
  for (;;) {
    const v = yield* firstVma(m);
    if (v === 0) return;
    const ops = c.vmOps[peek(vma.ops(v))];
    if (ops !== undefined) yield* ops.close(c, v);
    yield* vmaUnlink(v);
    yield* vmaFree(c, v);
  }
}

/** xen_exit_mmap: no vCPU stays on the roots, then the tree is unpinned. */
export function* xenExitMmap(c: KernelCpu, m: Mm): Steps<void> {
  mark(c, MARK.xen_exit_mmap);
  yield* dropMmRef(c, m);
  yield* klock(c, mm.pageTableLock(m), RANK.guestPageTable);
  if (isPinned(c.k, pgdOf(m))) yield* pgdUnpin(c, m);
  yield* kunlock(c, mm.pageTableLock(m));
  mark(c, MARK.xen_exit_mmap_ret);
}

/** Whether the mm has other users than the caller; racy by nature. */
export function* hasOtherUsers(m: Mm): Steps<boolean> {
  return (yield* ldOnce(mm.users(m))) > 1; // raced on purpose: a snapshot
}
