/**
 * Kernel stacks of tasks in the vmalloc area (CONFIG_VMAP_STACK): four pages, mapped one by one, kept for the next task.
 *
 * Invariant: a stack is mapped once, by a set_pte per page outside lazy-MMU mode, and never unmapped; a free one is in the
 * cache. The emulated processor's traps use the vCPU's own stack: these are there for what they cost and hold.
 * Lock: kernel.stackLock guards the cache and the number of stacks; an entry is written by who took the number.
 * Source: Linux kernel/fork.c (alloc_thread_stack_node, cached_stacks), mm/vmalloc.c; ../linux-teardown item 20.
 * Differs: at most 128 stacks, none is given back to the page allocator; a kernel without the option has none.
 */
import { makeVa, type Pfn } from '../../src/abi/frames.js';
import { ENTRIES, entryLo, PAGE_NX_HI } from '../../src/abi/pte.js';
import { RANK } from '../../src/sync/lock-order.js';
import { ld, lock, peek, poke, st, unlock } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { allocPage } from './alloc.js';
import type { KernelCpu } from './context.js';
import { DIRECT_SLOT, PFN_NONE } from './layout.js';
import { initMm } from './switch.js';
import { pfnToMfn } from './p2m.js';
import { KERNEL_RW, setPte } from './pte.js';
import { kernel } from './records.js';
import { makeL1 } from './walk.js';

const STACK_PAGES = 4;
const STACKS = ENTRIES / STACK_PAGES;
/** Bits of the cache per word. */
const BITS = 32;
/** The vmalloc area: beside the direct map, in the same L4 slot. */
const AREA = makeVa(DIRECT_SLOT, 511, 0, 0);

/** Makes the area's tables in the kernel's own root; false when memory is short. First vCPU, before any task. */
export function* makeStackArea(c: KernelCpu): Steps<boolean> {
  const table = yield* makeL1(c, initMm(c), AREA);
  poke(kernel.stackTable(c.k), table);
  return table !== PFN_NONE;
}

/** A stack for a new task: its number + 1; 0: this kernel has none; -1: no room. */
export function* stackGet(c: KernelCpu): Steps<number> {
  if (peek(kernel.stackTable(c.k)) === PFN_NONE) return 0;
  const cached = yield* takeCached(c);
  if (cached >= 0) return cached + 1;
  const n = yield* newNumber(c);
  return n < 0 || !(yield* mapStack(c, n)) ? -1 : n + 1;
}

/** The task with this stack is gone. */
export function* stackPut(c: KernelCpu, stack: number): Steps<void> {
  if (stack <= 0) return;
  const word = kernel.stackCache(c.k) + (((stack - 1) / BITS) | 0);
  yield* lock(c.cpu, kernel.stackLock(c.k), RANK.guestP2m);
  yield* st(word, (yield* ld(word)) | (1 << ((stack - 1) % BITS)));
  yield* unlock(c.cpu, kernel.stackLock(c.k));
}

function* takeCached(c: KernelCpu): Steps<number> {
  let found = -1;
  yield* lock(c.cpu, kernel.stackLock(c.k), RANK.guestP2m);
  for (let w = 0; w < STACKS / BITS && found < 0; w++) {
    const free = yield* ld(kernel.stackCache(c.k) + w);
    if (free === 0) continue;
    const bit = 31 - Math.clz32(free & -free);
    yield* st(kernel.stackCache(c.k) + w, free & ~(1 << bit));
    found = w * BITS + bit;
  }
  yield* unlock(c.cpu, kernel.stackLock(c.k));
  return found;
}

function* newNumber(c: KernelCpu): Steps<number> {
  yield* lock(c.cpu, kernel.stackLock(c.k), RANK.guestP2m);
  const n = yield* ld(kernel.nrStacks(c.k));
  if (n < STACKS) yield* st(kernel.nrStacks(c.k), n + 1);
  yield* unlock(c.cpu, kernel.stackLock(c.k));
  return n < STACKS ? n : -1;
}

function* mapStack(c: KernelCpu, n: number): Steps<boolean> {
  const table = peek(kernel.stackTable(c.k)) as Pfn;
  for (let i = 0; i < STACK_PAGES; i++) {
    const pfn = yield* allocPage(c);
    if (pfn === PFN_NONE) return false;
    const lo = entryLo(yield* pfnToMfn(c, pfn), KERNEL_RW);
    if (!(yield* setPte(c, table, n * STACK_PAGES + i, lo, PAGE_NX_HI))) return false;
  }
  return true;
}
