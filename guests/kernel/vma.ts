/**
 * VMAs: ranges of an address space, in an ordered map keyed by their end.
 *
 * Invariant: ranges of one mm never overlap; start < end, both page aligned, in user space.
 * Keyed by end, the VMA for an address (or the first above it) is the smallest key above the address.
 * Lock: mm.mmapLock: shared to look, exclusive to change. Lists of an anon record: its lock (rmap.ts).
 * Source: Linux include/linux/mm_types.h (vm_area_struct), mm/mmap.c (find_vma).
 */
import type { Va } from '../../src/abi/frames.js';
import { LIST_WORDS } from '../../src/shm/list.js';
import {
  MAP_NODE_WORDS,
  mapCeil,
  mapFirst,
  mapInsert,
  mapNext,
  mapPrev,
  mapRemove,
} from '../../src/shm/ordered-map.js';
import { record, type Ref } from '../../src/shm/record.js';
import { slabFree } from '../../src/shm/slab.js';
import { add, ld, peek, st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { allocRecord } from './alloc.js';
import type { KernelCpu } from './context.js';
import { mm, type Mm } from './mm.js';
import { kernel } from './records.js';
import { keyHi, keyLo, ldVa, peekVa, stVa } from './words.js';

export const vma = record('vma', {
  node: MAP_NODE_WORDS,
  mm: 1,
  /** The map it is in: its mm's, or that of a vCPU which is unmapping it. */
  root: 1,
  flags: 1,
  start: 2,
  end: 2,
  /** Page number of `start` within what is mapped: the object, or the anon record's space. */
  pgoff: 2,
  /** Index in KernelCpu.vmOps; VM_OPS_ANON for anonymous memory. */
  ops: 1,
  /** The driver's object, e.g. a grant map. */
  private: 1,
  file: 1,
  anon: 1,
  anonNode: LIST_WORDS,
});
export type Vma = Ref<'vma'>;

export const VM_READ = 1;
export const VM_WRITE = 2;
/** Not copied by fork ([X78]). */
export const VM_DONTCOPY = 4;
/** mremap may not make it longer. */
export const VM_DONTEXPAND = 8;
/** Entries without a struct page. */
export const VM_MIXEDMAP = 16;
/** Writes go to the file's pages. */
export const VM_SHARED = 32;

export const VM_OPS_ANON = 0;
export const VM_OPS_GNTDEV = 1;
export const VM_OPS_FILE = 2;

const NODE = vma.node(0 as Vma);
const ofNode = (node: number): Vma => (node === 0 ? 0 : node - NODE) as Vma;

export const vmaStart = (v: Vma): Va => peekVa(vma.start(v));
export const vmaEnd = (v: Vma): Va => peekVa(vma.end(v));
export const vmaPages = (v: Vma): number => (vmaEnd(v) - vmaStart(v)) / 4096;

/** A VMA in no map yet; 0 when memory is short. */
export function* vmaAlloc(c: KernelCpu, m: Mm, start: Va, end: Va, flags: number): Steps<Vma> {
  const v = (yield* allocRecord(c, kernel.vmaSlab(c.k))) as Vma;
  if (v === 0) return v;
  yield* st(vma.mm(v), m);
  yield* st(vma.flags(v), flags);
  yield* stVa(vma.start(v), start);
  yield* stVa(vma.end(v), end);
  yield* stVa(vma.pgoff(v), (start / 4096) as Va);
  return v;
}

export function* vmaFree(c: KernelCpu, v: Vma): Steps<void> {
  yield* slabFree(c.cpu, kernel.vmaSlab(c.k), v);
}

/** Puts `v` into its mm. Lock held: mmapLock, exclusive. */
export function* vmaLink(v: Vma): Steps<void> {
  const m = (yield* ld(vma.mm(v))) as Mm;
  yield* linkInto(v, mm.vmas(m));
  yield* add(mm.nrVmas(m), 1);
}

function* linkInto(v: Vma, root: number): Steps<void> {
  const end = yield* ldVa(vma.end(v));
  yield* st(vma.root(v), root);
  yield* mapInsert(root, vma.node(v), keyHi(end), keyLo(end));
}

/** Takes `v` out of its mm. Lock held: mmapLock, exclusive. */
export function* vmaUnlink(v: Vma): Steps<void> {
  const m = (yield* ld(vma.mm(v))) as Mm;
  yield* mapRemove(mm.vmas(m), vma.node(v));
  yield* add(mm.nrVmas(m), -1);
}

/** Moves `v` from its mm to the private map at `root`: nobody finds it there. Lock held: mmapLock, exclusive. */
export function* vmaDetach(v: Vma, root: number): Steps<void> {
  yield* vmaUnlink(v);
  yield* linkInto(v, root);
}

/** Takes `v` out of the private map at `root`, to which it was moved: its mm counts it no more. */
export function* vmaDrop(v: Vma, root: number): Steps<void> {
  yield* mapRemove(root, vma.node(v));
}

/** Moves the end of a linked VMA. Lock held: mmapLock, exclusive. */
export function* vmaSetEnd(v: Vma, end: Va): Steps<void> {
  const root = yield* ld(vma.root(v));
  yield* mapRemove(root, vma.node(v));
  yield* stVa(vma.end(v), end);
  yield* linkInto(v, root);
}

/** Moves the start, and with it the page offset. Lock held: mmapLock, exclusive. */
export function* vmaSetStart(v: Vma, start: Va): Steps<void> {
  const by = (start - (yield* ldVa(vma.start(v)))) / 4096;
  yield* stVa(vma.pgoff(v), ((yield* ldVa(vma.pgoff(v))) + by) as Va);
  yield* stVa(vma.start(v), start);
}

/** The first VMA that ends above `va`; 0 when there is none. It may begin above `va`. */
export function* findVma(m: Mm, va: Va): Steps<Vma> {
  return ofNode(yield* mapCeil(mm.vmas(m), keyHi((va + 1) as Va), keyLo((va + 1) as Va)));
}

/** The VMA that contains `va`; 0 when there is none. */
export function* vmaAt(m: Mm, va: Va): Steps<Vma> {
  const v = yield* findVma(m, va);
  return v !== 0 && (yield* ldVa(vma.start(v))) <= va ? v : (0 as Vma);
}

export function* firstVma(m: Mm): Steps<Vma> {
  return ofNode(yield* mapFirst(mm.vmas(m)));
}
/** The first VMA of the private map at `root`. */
export function* firstIn(root: number): Steps<Vma> {
  return ofNode(yield* mapFirst(root));
}
export function* nextVma(v: Vma): Steps<Vma> {
  return ofNode(yield* mapNext(peek(vma.root(v)), vma.node(v)));
}
export function* prevVma(v: Vma): Steps<Vma> {
  return ofNode(yield* mapPrev(peek(vma.root(v)), vma.node(v)));
}
