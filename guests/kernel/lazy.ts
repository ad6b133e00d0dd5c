/**
 * Lazy-MMU mode: between enter and leave, set_pte and its kind only queue; leaving issues the queue.
 *
 * Invariant: modes do not nest; a vCPU in a mode has not given up the operation it is in.
 * Lock: none; inside a section the PTE lock of the table being edited is held, and still is when the queue is issued.
 * Source: [X66]; Linux arch/x86/kernel/paravirt.c, xen/mmu_pv.c (xen_leave_lazy_mmu).
 */
import { HypervisorBug } from '../../src/abi/errors.js';
import { peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { batchFlush } from '../xen/batch.js';
import type { KernelCpu } from './context.js';
import { COUNT } from './counters.js';
import { count } from './count.js';
import { kernel, LAZY_CPU, LAZY_MMU, LAZY_NONE, percpu } from './records.js';
import { MARK } from '../../src/abi/marks.js';
import { mark } from './mark.js';

function enter(c: KernelCpu, mode: number): void {
  if (peek(percpu.lazyMode(c.pc)) !== LAZY_NONE) throw new HypervisorBug('guest: lazy modes nest');
  poke(percpu.lazyMode(c.pc), mode);
}

export function enterLazyMmu(c: KernelCpu): void {
  if (peek(kernel.lazyMmu(c.k)) !== 0) enter(c, LAZY_MMU);
}

/** Issues what was queued; answers how many entries were refused. */
export function* leaveLazyMmu(c: KernelCpu): Steps<number> {
  yield* count(c, COUNT.lazySections);
  const refused = yield* batchFlush(c);
  poke(percpu.lazyMode(c.pc), LAZY_NONE);
  mark(c, MARK.leave_lazy_mmu);
  return refused;
}

/** Around a context switch. */
export function enterLazyCpu(c: KernelCpu): void {
  enter(c, LAZY_CPU);
}
export function* leaveLazyCpu(c: KernelCpu): Steps<void> {
  yield* batchFlush(c);
  poke(percpu.lazyMode(c.pc), LAZY_NONE);
}

/** Issues queued requests without leaving the mode: before something that must see them done. */
export function* flushLazyMmu(c: KernelCpu): Steps<void> {
  if (peek(percpu.lazyMode(c.pc)) === LAZY_MMU) yield* batchFlush(c);
}
