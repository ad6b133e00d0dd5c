/**
 * Single hypercalls: each fills Xen's structure in the vCPU's own page and makes the call.
 *
 * Answers are Xen's: 0 or a count, or -errno. Lock: none; the page belongs to the vCPU.
 * Source: xen/include/public/{xen,memory,event_channel,sched}.h.
 */
import { DOMID_SELF, vaHi, vaLo, type Mfn, type Va } from '../../src/abi/frames.js';
import {
  HYPERVISOR_memory_op,
  HYPERVISOR_mmuext_op,
  HYPERVISOR_mmu_update,
  HYPERVISOR_update_va_mapping,
} from '../../src/abi/hypercall.js';
import { MMU_UPDATE_WORDS, MMUEXT_OP_WORDS } from '../../src/abi/mmu.js';
import { peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from '../kernel/context.js';
import { percpu } from '../kernel/records.js';
import { structVa } from './batch.js';

/** update_va_mapping of one page of the current kernel tables. */
export function* updateVaMapping(c: KernelCpu, va: Va, lo: number, hi: number, flags: number): Steps<number> {
  c.g.argVa(0, va);
  c.g.arg(1, lo, hi);
  c.g.arg(2, flags, 0);
  return yield* c.g.hypercall(HYPERVISOR_update_va_mapping);
}

/** One mmu_update request. */
export function* mmuUpdate(c: KernelCpu, ptrLo: number, ptrHi: number, lo: number, hi: number): Steps<number> {
  const s = percpu.scratch(c.pc);
  poke(s, ptrLo);
  poke(s + 1, ptrHi);
  poke(s + 2, lo);
  poke(s + 3, hi);
  return yield* arrayCall(c, HYPERVISOR_mmu_update, MMU_UPDATE_WORDS);
}

/** One mmuext_op. */
export function* mmuextOp(c: KernelCpu, cmd: number, arg1: number, arg1Hi = 0, arg2 = 0): Steps<number> {
  const s = percpu.scratch(c.pc);
  poke(s, cmd);
  poke(s + 1, 0);
  poke(s + 2, arg1);
  poke(s + 3, arg1Hi);
  poke(s + 4, arg2);
  poke(s + 5, 0);
  return yield* arrayCall(c, HYPERVISOR_mmuext_op, MMUEXT_OP_WORDS);
}

/** Calls `nr` with an array of one structure, which is in percpu.scratch. */
function* arrayCall(c: KernelCpu, nr: number, words: number): Steps<number> {
  const at = structVa(c);
  yield* c.g.storeWords(at, percpu.scratch(c.pc), words);
  c.g.argVa(0, at);
  c.g.arg(1, 1, 0);
  c.g.arg(2, 0, 0);
  c.g.arg(3, DOMID_SELF, 0);
  return yield* c.g.hypercall(nr);
}

/**
 * One single-page reservation. `extent` is the word in the extent list: an mfn to give up, a pfn to populate.
 * Answers 1 when done; a populated frame is read by `populatedFrame`.
 */
export function* memoryReservation(c: KernelCpu, cmd: number, extent: number): Steps<number> {
  const at = structVa(c);
  const list = (at + 64) as Va;
  yield* c.g.store(list, extent, 0);
  const s = percpu.scratch(c.pc);
  poke(s, vaLo(list));
  poke(s + 1, vaHi(list));
  poke(s + 2, 1);
  poke(s + 3, 0);
  poke(s + 4, 0);
  poke(s + 5, 0);
  poke(s + 6, DOMID_SELF);
  poke(s + 7, 0);
  yield* c.g.storeWords(at, s, 8);
  c.g.arg(0, cmd, 0);
  c.g.argVa(1, at);
  return yield* c.g.hypercall(HYPERVISOR_memory_op);
}

/** The frame that the last populate answered. */
export function* populatedFrame(c: KernelCpu): Steps<Mfn> {
  return (yield* c.g.load32((structVa(c) + 64) as Va)) as Mfn;
}

/** Calls `nr` with command `cmd` and one structure of `words` words, which the caller put in percpu.scratch. */
export function* structCall(c: KernelCpu, nr: number, cmd: number, words: number): Steps<number> {
  const at = structVa(c);
  yield* c.g.storeWords(at, percpu.scratch(c.pc), words);
  c.g.arg(0, cmd, 0);
  c.g.argVa(1, at);
  return yield* c.g.hypercall(nr);
}

/** Word `i` of the structure of the last `structCall`, as Xen left it. */
export function* structWord(c: KernelCpu, i: number): Steps<number> {
  return yield* c.g.load32((structVa(c) + 4 * i) as Va);
}

export const scratchSet = (c: KernelCpu, i: number, v: number): void => {
  poke(percpu.scratch(c.pc) + i, v);
};
export const scratchGet = (c: KernelCpu, i: number): number => peek(percpu.scratch(c.pc) + i);
