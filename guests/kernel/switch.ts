/**
 * Loading an mm's roots, and leaving them: lazy cr3.
 *
 * Invariant: percpu.cr3 is what was asked for, percpu.currentCr3 what has been carried out; they differ while the switch
 * waits in a batch. A vCPU without a user task keeps the last mm loaded and holds a count of it (heldMm).
 * Unpinning waits until no vCPU's currentCr3 is the dying pgd: a missed one keeps the tree typed ([X73]).
 * Lock: none; only the vCPU writes its words. `dropMmRef` holds no lock that an interrupt handler could want.
 * Source: [X72], ../linux-teardown items 4, 22; Linux arch/x86/mm/tlb.c (switch_mm, leave_mm), xen/mmu_pv.c.
 */
import { MMUEXT_NEW_BASEPTR, MMUEXT_NEW_USER_BASEPTR } from '../../src/abi/mmu.js';
import { ldOnce, peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { batchBegin, batchFlush, batchIssue, CB_CR3_DONE, queueCallback, queueMmuext } from '../xen/batch.js';
import type { KernelCpu } from './context.js';
import { COUNT } from './counters.js';
import { count } from './count.js';
import { joinSet, leaveSet, ownWord } from './cpu-set.js';
import { crossCallDropMm } from './cross-call.js';
import { PFN_NONE } from './layout.js';
import { mm, mmDrop, mmGrab, pgdOf, type Mm } from './mm.js';
import { pfnToMfn } from './p2m.js';
import { userPgd } from './pgd.js';
import { kernel, LAZY_CPU, percpu, type Percpu } from './records.js';
import { MARK } from '../../src/abi/marks.js';
import { mark } from './mark.js';

/** xen_write_cr3: asks for the roots of `m`; the kernel's own root has no user half, so the user base becomes 0. */
export function* writeCr3(c: KernelCpu, m: Mm): Steps<void> {
  const pgd = pgdOf(m);
  const user = userPgd(c, pgd);
  batchBegin(c);
  poke(percpu.cr3(c.pc), pgd);
  yield* queueMmuext(c, MMUEXT_NEW_BASEPTR, yield* pfnToMfn(c, pgd));
  yield* queueCallback(c, CB_CR3_DONE, pgd);
  yield* queueMmuext(c, MMUEXT_NEW_USER_BASEPTR, user === PFN_NONE ? 0 : yield* pfnToMfn(c, user));
  yield* batchIssue(c, LAZY_CPU);
}

export const loadedMm = (c: KernelCpu): Mm => peek(percpu.loadedMm(c.pc)) as Mm;
export const initMm = (c: KernelCpu): Mm => peek(kernel.initMm(c.k)) as Mm;

/** switch_mm: this vCPU's tables become those of `next`. */
export function* switchMm(c: KernelCpu, next: Mm): Steps<void> {
  const prev = loadedMm(c);
  if (prev === next) return;
  yield* joinSet(mm.cpumask(next), c.id);
  poke(percpu.loadedMm(c.pc), next);
  yield* writeCr3(c, next);
  yield* leaveSet(mm.cpumask(prev), c.id);
}

/** leave_mm: from a lazily kept mm to the kernel's own tables. */
export function* leaveMm(c: KernelCpu): Steps<void> {
  const init = initMm(c);
  if (loadedMm(c) === init) return;
  yield* count(c, COUNT.leaveMm);
  mark(c, MARK.leave_mm);
  yield* switchMm(c, init);
}

/** The part of xen_drop_mm_ref that each vCPU does for itself, also as an interrupt. */
export function* dropMmRefHere(c: KernelCpu, m: Mm): Steps<void> {
  mark(c, MARK.drop_mm_ref_this_cpu);
  if (loadedMm(c) === m) yield* leaveMm(c);
  if (peek(percpu.currentCr3(c.pc)) === pgdOf(m)) yield* batchFlush(c);
}

/** The record of vCPU `i`. */
export const percpuAt = (c: KernelCpu, i: number): Percpu => (peek(kernel.percpus(c.k)) + i * percpu.words) as Percpu;

/** xen_drop_mm_ref: no vCPU is on the roots of `m` afterwards. */
export function* dropMmRef(c: KernelCpu, m: Mm): Steps<void> {
  yield* dropMmRefHere(c, m);
  let lo = 0;
  let hi = 0;
  for (let i = 0; i < peek(kernel.nrVcpus(c.k)); i++) {
    if (i === c.id) continue;
    const on = yield* ldOnce(percpu.currentCr3(percpuAt(c, i))); // raced on purpose: [X72]
    if (on !== pgdOf(m)) continue;
    lo |= ownWord(i, 0);
    hi |= ownWord(i, 1);
  }
  if ((lo | hi) !== 0) yield* crossCallDropMm(c, lo, hi, m);
}

/** A task of `next` will run here; who was held lazily is let go. */
export function* activateMm(c: KernelCpu, next: Mm): Steps<void> {
  yield* switchMm(c, next);
  const held = peek(percpu.heldMm(c.pc)) as Mm;
  if (held === 0) return;
  poke(percpu.heldMm(c.pc), 0);
  yield* mmDrop(c, held);
}

/** enter_lazy_tlb: no user task runs here; the tables of `m` may stay loaded, and the mm is held. */
export function* enterLazyTlb(c: KernelCpu, m: Mm): Steps<void> {
  if (peek(percpu.heldMm(c.pc)) !== 0) return;
  poke(percpu.heldMm(c.pc), m);
  yield* mmGrab(m);
}
