/**
 * The machine that most benches run on: one domain, one vCPU in kernel mode, `pages` data pages mapped from VA 0 up.
 *
 * The base L4 maps the data at slot 0 and the kernel (text, stack, argument pages) at slot 300. A second L4 over tables of
 * its own maps the same data and is nobody's base.
 */
import { makeVa, mfnWord, type Mfn, type Va } from '../src/abi/frames.js';
import { entryLo } from '../src/abi/pte.js';
import { newGuestCr3 } from '../src/hypervisor/base.js';
import { buildDomain, hypervisorBoot } from '../src/hypervisor/boot.js';
import { vcpuOf, type DomainRef } from '../src/hypervisor/domain.js';
import { countInfo, ownerOf, ownerWord, PGC_xen_heap, PGT_count_mask, typeInfo } from '../src/machine/frame.js';
import { FRAMES } from '../src/machine/layout.js';
import { words } from '../src/ops/memory.js';
import { CONTROL, type Cpu } from '../src/sync/actor.js';
import { peek, run } from '../src/sync/primitives.js';
import type { Steps } from '../src/sync/steps.js';
import type { GuestHandlers, Vcpu } from '../src/vcpu/guest-cpu.js';
import { makeGuestCpu } from '../src/vcpu/vcpu.js';

const KERNEL_L4 = 300;
const ARGUMENT_PAGES = 4;
const RW = 0x67;
const FIRST_ALIAS = 16;
const ALIASES = 400;

export interface Tree {
  readonly l4: Mfn;
  readonly l3: Mfn;
  readonly l2s: readonly Mfn[];
  readonly l1s: readonly Mfn[];
}
export interface World {
  readonly d: DomainRef;
  readonly cpu: Cpu;
  readonly g: Vcpu;
  readonly data: readonly Mfn[];
  /** The base. */
  readonly base: Tree;
  /** The other tree over the same data. */
  readonly other: Tree;
  /** Kernel address of argument page `n`. */
  readonly argument: (n: number, offset?: number) => Va;
  /** Kernel address through which the other tree's L1 number `n` can be written, as long as it is no table in use. */
  readonly alias: (n: number, offset?: number) => Va;
}

const refuses: GuestHandlers = {
  *pageFault(_g, va): Steps<boolean> {
    throw new Error(`the bench faults at ${String(va)}`);
  },
  *generalProtection(): Steps<void> {
    throw new Error('the bench gets a #GP');
  },
  *event(): Steps<void> {
    throw new Error('the bench gets an event');
  },
  *ipi(): Steps<void> {
    throw new Error('the bench gets an interrupt');
  },
};

export const put = (table: Mfn, index: number, mfn: Mfn, flags = RW): void => {
  words[mfnWord(table) + 2 * index] = entryLo(mfn, flags);
  words[mfnWord(table) + 2 * index + 1] = 0;
};
export const pageVa = (n: number, offset = 0): Va => (n * 4096 + offset) as Va;

/** Frames of domain `domid`, ascending, without those that Xen shares with it. */
export function framesOf(domid: number): Mfn[] {
  const all: Mfn[] = [];
  for (let m = 1 as Mfn; m < FRAMES; m = (m + 1) as Mfn) {
    if (ownerOf(peek(ownerWord(m))) === domid && (peek(countInfo(m)) & PGC_xen_heap) === 0) all.push(m);
  }
  return all;
}

/** Lays a tree over `data` from frames that `take` gives. */
export function layTree(take: () => Mfn, data: readonly Mfn[]): Tree {
  const [l4, l3] = [take(), take()];
  const l2s = Array.from({ length: Math.ceil(data.length / (512 * 512)) }, take);
  const l1s = Array.from({ length: Math.ceil(data.length / 512) }, take);
  put(l4, 0, l3);
  l2s.forEach((l2, i) => {
    put(l3, i, l2);
  });
  l1s.forEach((l1, i) => {
    put(l2s[i >> 9] as Mfn, i & 511, l1);
  });
  data.forEach((mfn, i) => {
    put(l1s[i >> 9] as Mfn, i & 511, mfn);
  });
  return { l4, l3, l2s, l1s };
}

/** Kernel part of a base: text, stack, argument pages; answers its L1. */
export function layKernel(take: () => Mfn, l4: Mfn): Mfn {
  const [l3, l2, l1] = [take(), take(), take()];
  put(l4, KERNEL_L4, l3);
  put(l3, 0, l2);
  put(l2, 0, l1);
  put(l1, 0, take(), 0x61);
  for (let i = 1; i < 2 + ARGUMENT_PAGES; i++) put(l1, i, take(), 0x63);
  return l1;
}

export const argumentVa = (n: number, offset = 0): Va => makeVa(KERNEL_L4, 0, 0, 2 + n, offset);

/** The processor of a bench vCPU: a page fault, an event or a #GP ends the bench. */
export function benchCpu(cpu: Cpu): Vcpu {
  const g = makeGuestCpu(cpu, refuses);
  g.setKernel(makeVa(KERNEL_L4, 0, 0, 2), makeVa(KERNEL_L4));
  return g;
}

/** `shuffled`: the data's frames in another order than their addresses; `aliased`: the other tree's L1s are mapped. */
export function makeWorld(pages: number, { shuffled = false, aliased = false } = {}): World {
  hypervisorBoot({});
  const tables = 2 * (3 + Math.ceil(pages / 512) + Math.ceil(pages / (512 * 512))) + 16;
  const d = run(function* () {
    return yield* buildDomain(CONTROL, { domid: 1, pages: pages + tables });
  });
  const frames = framesOf(1);
  const take = (): Mfn => frames.pop() as Mfn;
  const data = frames.splice(0, pages);
  if (shuffled) shuffle(data);
  const base = layTree(take, data);
  const kernel = layKernel(take, base.l4);
  const other = layTree(take, data);
  other.l1s.slice(0, ALIASES).forEach((l1, i) => {
    put(kernel, FIRST_ALIAS + i, l1, aliased ? 0x63 : 0);
  });
  const cpu = vcpuOf(d, 0);
  const g = benchCpu(cpu);
  run(function* () {
    const rc = yield* newGuestCr3(cpu, base.l4, 0);
    if (rc !== 0) throw new Error(`the base is refused: ${String(rc)}`);
    yield* g.start();
  });
  const alias = (n: number, offset = 0): Va => makeVa(KERNEL_L4, 0, 0, FIRST_ALIAS + n, offset);
  return { d, cpu, g, data, base, other, argument: argumentVa, alias };
}

/** The same pseudo-random numbers on every side (xorshift32; the C twins have the same). */
export function xorshift(): () => number {
  let x = 2463534242;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}
export function shuffle(a: number[]): void {
  const next = xorshift();
  for (let i = a.length - 1; i > 0; i--) {
    const k = next() % (i + 1);
    const t = a[i] as number;
    a[i] = a[k] as number;
    a[k] = t;
  }
}

/** The type counts of the frames `data` together: what the tables over them hold. */
export const typeCounts = (data: readonly Mfn[]): number =>
  data.reduce((n, mfn) => (n + (peek(typeInfo(mfn)) & PGT_count_mask)) | 0, 0);

/** Sets every L1 entry of a tree that is in nobody's use, over its data again. */
export function refill(tree: Tree, data: readonly Mfn[]): void {
  data.forEach((mfn, i) => {
    put(tree.l1s[i >> 9] as Mfn, i & 511, mfn, RW);
  });
}
