/**
 * execve, as far as memory goes: a new address space is built and pinned, loaded, and then the old one goes.
 *
 * Invariant: the first stack page is put in place while the tree is unpinned (its set_pte is a hypercall all the same);
 * the switch comes before the old mm's end, so that end has no root to leave (items 4, 15).
 * Lock: none held across; a new mm is its maker's alone.
 * Source: Linux fs/exec.c (begin_new_exec, exec_mmap), xen/mmu_pv.c (xen_activate_mm).
 */
import { ENOMEM } from '../../src/abi/errno.js';
import { makeVa } from '../../src/abi/frames.js';
import { peek, stOnce } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from './context.js';
import { COUNT } from './counters.js';
import { count } from './count.js';
import { exitMmap, mmPut } from './exit.js';
import { handleMmFault } from './fault.js';
import { pinNew } from './fork.js';
import { addVa, L1_SPAN } from './layout.js';
import { mmAlloc, mmDrop, type Mm } from './mm.js';
import { mmapAnon } from './mmap.js';
import { switchMm } from './switch.js';
import { task, type Task } from './task.js';
import { FAULT_OK } from './vm-ops.js';
import { VM_READ, VM_WRITE } from './vma.js';

/** Where programs have their stack: the top of user space. */
export const STACK_PAGES = 4;
export const STACK_TOP = makeVa(255, 511, 511, 511);
export const STACK_BASE = addVa(STACK_TOP, -STACK_PAGES * L1_SPAN);

/** A pinned address space with a stack, one page of which is there; 0 when memory is short or Xen refuses. */
export function* newProcessMm(c: KernelCpu): Steps<Mm> {
  const m = yield* mmAlloc(c);
  if (m === 0) return m;
  const top = addVa(STACK_TOP, -L1_SPAN);
  if (
    (yield* mmapAnon(c, m, STACK_BASE, STACK_PAGES, VM_READ | VM_WRITE)) === 0 &&
    (yield* handleMmFault(c, m, top, true)) === FAULT_OK &&
    (yield* pinNew(c, m))
  ) {
    return m;
  }
  yield* exitMmap(c, m);
  yield* mmDrop(c, m);
  return 0 as Mm;
}

/** Replaces the address space of the running task; 0 or -ENOMEM (then nothing has changed). */
export function* execTask(c: KernelCpu, t: Task): Steps<number> {
  const fresh = yield* newProcessMm(c);
  if (fresh === 0) return -ENOMEM;
  yield* count(c, COUNT.execs);
  const old = peek(task.mm(t)) as Mm;
  yield* stOnce(task.mm(t), fresh); // raced on purpose: who looks for the old mm's other threads need not find this one
  yield* switchMm(c, fresh);
  if (old !== 0) yield* mmPut(c, old);
  return 0;
}
