/** A process as the recordings of linux-teardown have it: program, heap, data, stack in three L4 slots, four L1s. */
import { makeVa, type Va } from '../../src/abi/frames.js';
import { HYPERVISOR_mmuext_op, HYPERVISOR_multicall } from '../../src/abi/hypercall.js';
import { poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from '../../guests/kernel/context.js';
import { newProcessMm } from '../../guests/kernel/exec.js';
import type { Mm } from '../../guests/kernel/mm.js';
import { mmapAnon } from '../../guests/kernel/mmap.js';
import { percpu } from '../../guests/kernel/records.js';
import { activateMm } from '../../guests/kernel/switch.js';
import { taskAlloc, taskStart, type Task } from '../../guests/kernel/task.js';
import { userTouch } from '../../guests/kernel/user.js';
import { VM_READ, VM_WRITE } from '../../guests/kernel/vma.js';
import type { Call } from './machine.js';

const RW = VM_READ | VM_WRITE;
export const PROG = makeVa(0, 0, 2, 0);
export const DATA = makeVa(64);
export const GNT = makeVa(96);
export const VDSO = makeVa(255, 511, 447, 0);

export interface Process {
  readonly m: Mm;
  readonly t: Task;
}

/** A running process with `pages` touched pages of data; `stride` pages apart. Its task is current on the vCPU. */
export function* makeProcess(c: KernelCpu, pages: number, stride = 1): Steps<Process> {
  const m = yield* newProcessMm(c);
  if (m === 0) throw new Error('no memory for a process');
  const t = yield* taskAlloc(c, 0, m, 0 as Task);
  yield* taskStart(c, t);
  poke(percpu.current(c.pc), t);
  yield* activateMm(c, m);
  yield* place(c, m, PROG, 8);
  yield* place(c, m, VDSO, 1);
  if (pages > 0) {
    if ((yield* mmapAnon(c, m, DATA, (pages - 1) * stride + 1, RW)) !== 0) throw new Error('mmap refused');
    for (let i = 0; i < pages; i++) yield* touch(c, (DATA + i * stride * 4096) as Va, 1);
  }
  return { m, t };
}

function* place(c: KernelCpu, m: Mm, at: Va, pages: number): Steps<void> {
  if ((yield* mmapAnon(c, m, at, pages, RW)) !== 0) throw new Error('mmap refused');
  yield* touch(c, at, pages);
}

export function* touch(c: KernelCpu, at: Va, pages: number): Steps<void> {
  if ((yield* userTouch(c, at, pages, true)) !== pages) throw new Error('touch refused');
}

/** Hypercalls by number; multicalls' entries counted apart, and how many multicalls had how many. */
export interface Totals {
  readonly direct: Readonly<Record<number, number>>;
  readonly sub: Readonly<Record<number, number>>;
  readonly multicalls: readonly number[];
}

export function totals(calls: readonly Call[]): Totals {
  const direct: Record<number, number> = {};
  const sub: Record<number, number> = {};
  for (const c of calls) {
    direct[c.nr] = (direct[c.nr] ?? 0) + 1;
    for (const e of c.entries) sub[e.nr] = (sub[e.nr] ?? 0) + (e.nr === HYPERVISOR_mmuext_op ? e.count : 1);
  }
  return { direct, sub, multicalls: calls.filter((c) => c.nr === HYPERVISOR_multicall).map((c) => c.entries.length) };
}
