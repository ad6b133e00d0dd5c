/**
 * Start of day: the first vCPU lays the kernel's records and takes over the builder's tables; the others join.
 *
 * Invariant: nobody but the first vCPU touches the records before `ready`; it is set last.
 * Lock: none before `ready`.
 * Source: Linux arch/x86/xen/enlighten_pv.c (xen_start_kernel), mmu_pv.c (xen_setup_kernel_pagetable).
 */
import type { Domid, Mfn, Pfn } from '../../src/abi/frames.js';
import { HYPERVISOR_vm_assist } from '../../src/abi/hypercall.js';
import {
  MMUEXT_NEW_BASEPTR,
  MMUEXT_PIN_L4_TABLE,
  UVMF_INVLPG,
  VMASST_CMD_enable,
  VMASST_TYPE_writable_pagetables,
} from '../../src/abi/mmu.js';
import { entryLo, PAGE_NX_HI } from '../../src/abi/pte.js';
import { arenaAlloc, CHUNK } from '../../src/shm/arena.js';
import { listAddTail, listInit } from '../../src/shm/list.js';
import { mapInit } from '../../src/shm/ordered-map.js';
import { slabInit } from '../../src/shm/slab.js';
import { RANK } from '../../src/sync/lock-order.js';
import { ldOnce, peek, poke, stOnce, wake } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { setDirect } from './alias.js';
import { anon } from './rmap.js';
import { BATCH_WORDS } from './gather.js';
import { GNT_FILE_WORDS } from '../drivers/gntdev/device.js';
import { grantMap } from '../drivers/gntdev/map.js';
import { HOLD_WORDS } from '../workloads/io-hold.js';
import { mmuextOp } from '../xen/calls.js';
import type { KernelCpu } from './context.js';
import { image, isImageTable, type ImageSpec } from './domain-image.js';
import { file } from './file.js';
import { addVa, directVa } from './layout.js';
import { mm, type Mm } from './mm.js';
import { notifier, subscription } from './notifier.js';
import { pfnToMfn } from './p2m.js';
import { page, pageArrayWords, pageOf, PG_ballooned, PG_free, PG_pinned, PG_reserved, PG_table } from './page.js';
import { KERNEL_RW } from './pte.js';
import { kernel, percpu, SCAN_TABLES, type Kernel, type Percpu } from './records.js';
import { task } from './task.js';
import { vma } from './vma.js';
import { pokeVa } from './words.js';
import { makeStackArea } from './kernel-stack.js';

export interface KernelParams {
  readonly domid: Domid;
  readonly spec: ImageSpec;
  /** Frames of the machine. */
  readonly frames: number;
  /** Arena for the kernel's records. */
  readonly arena: number;
  /** p2m array, filled by the builder. */
  readonly p2m: number;
  /** Actor records of the domain's vCPUs. */
  readonly actors: readonly number[];
  /** Frame of the shared-info page; -1: none is mapped. */
  readonly sharedInfo: number;
  /** Board through which domains find each other; 0: none. */
  readonly board: number;
  /** EXIT_6_1 or EXIT_2_6_25. */
  readonly exitOrder: number;
  /** Lazy-MMU sections queue their requests; yes unless said. */
  readonly lazyMmu?: boolean;
  /** Seed of the programs, and rounds of each process slot (0: until told to stop). */
  readonly seed?: number;
  readonly rounds?: number;
  /** One lock per page-table page; yes unless said. */
  readonly splitPteLocks?: boolean;
  /** Kernel stacks in a vmalloc area, four pages mapped one by one (CONFIG_VMAP_STACK); no unless said. */
  readonly vmapStacks?: boolean;
  /** BACKING_*: what backs the kernel mapping of a grant; the balloon unless said. */
  readonly backing?: number;
}

/** Chunks for `words` words. */
export const chunksFor = (words: number): number => Math.ceil(words / CHUNK);
/** Chunks of the kernel record. */
export const KERNEL_CHUNKS = chunksFor(kernel.words);

/** The record of vCPU `id`, whose words may be read once the kernel is ready. */
export const percpuOf = (k: Kernel, id: number): Percpu => (peek(kernel.percpus(k)) + id * percpu.words) as Percpu;

/** Lays the kernel's records, at build time or by the first vCPU; false when the arena is too small. */
export function* layKernel(cpu: KernelCpu['cpu'], k: Kernel, p: KernelParams): Steps<boolean> {
  poke(kernel.domid(k), p.domid);
  poke(kernel.nrVcpus(k), p.spec.vcpus);
  poke(kernel.maxPfn(k), p.spec.maxPfn);
  poke(kernel.nrPopulated(k), p.spec.populated);
  poke(kernel.frames(k), p.frames);
  poke(kernel.arena(k), p.arena);
  poke(kernel.p2m(k), p.p2m);
  poke(kernel.board(k), p.board);
  poke(kernel.exitOrder(k), p.exitOrder);
  poke(kernel.lazyMmu(k), p.lazyMmu === false ? 0 : 1);
  poke(kernel.seed(k), p.seed ?? 1);
  poke(kernel.roundsWanted(k), p.rounds ?? 0);
  poke(kernel.splitPtl(k), p.splitPteLocks === false ? 0 : 1);
  poke(kernel.backing(k), p.backing ?? 0);
  for (const [i, a] of p.actors.entries()) poke(kernel.actors(k) + i, a);
  const pages = yield* arenaAlloc(cpu, p.arena, chunksFor(pageArrayWords(p.spec.maxPfn)));
  const percpus = yield* arenaAlloc(cpu, p.arena, chunksFor(p.spec.vcpus * percpu.words));
  const scan = yield* arenaAlloc(cpu, p.arena, SCAN_TABLES * p.spec.vcpus);
  if (pages === 0 || percpus === 0 || scan === 0) return false;
  poke(kernel.pages(k), pages);
  poke(kernel.percpus(k), percpus);
  for (let i = 0; i < p.spec.vcpus; i++) layPercpu(percpuOf(k, i), p.spec, i, scan + i * SCAN_TABLES * CHUNK);
  for (const head of [kernel.freePages, kernel.balloonPages, kernel.lru, kernel.runqueue, kernel.tasks]) {
    yield* listInit(head(k));
  }
  for (const head of [kernel.mms, kernel.work, kernel.kept, kernel.deferredEnds, kernel.grantPool])
    yield* listInit(head(k));
  yield* laySlabs(cpu, k, p.arena);
  yield* layPages(k, p.spec);
  return true;
}

function layPercpu(pc: Percpu, s: ImageSpec, id: number, scan: number): void {
  poke(percpu.id(pc), id);
  poke(percpu.scan(pc), scan);
  pokeVa(percpu.batchVa(pc), directVa(image.batch(s, id)));
  pokeVa(percpu.areaVa(pc), directVa(image.area(s, id)));
  poke(percpu.areaPages(pc), s.areaPages);
}

function* laySlabs(cpu: KernelCpu['cpu'], k: Kernel, arena: number): Steps<void> {
  const rank = RANK.guestSlab;
  yield* slabInit(cpu, kernel.mmSlab(k), mm.words, arena, rank);
  yield* slabInit(cpu, kernel.vmaSlab(k), vma.words, arena, rank);
  yield* slabInit(cpu, kernel.anonSlab(k), anon.words, arena, rank);
  yield* slabInit(cpu, kernel.taskSlab(k), task.words, arena, rank);
  yield* slabInit(cpu, kernel.fileSlab(k), file.words, arena, rank);
  yield* slabInit(cpu, kernel.subscriptionSlab(k), subscription.words, arena, rank);
  yield* slabInit(cpu, kernel.notifierSlab(k), notifier.words, arena, rank);
  yield* slabInit(cpu, kernel.batchSlab(k), BATCH_WORDS, arena, rank);
  yield* slabInit(cpu, kernel.mapSlab(k), grantMap.words, arena, rank);
  yield* slabInit(cpu, kernel.gntFileSlab(k), GNT_FILE_WORDS, arena, rank);
  yield* slabInit(cpu, kernel.holdSlab(k), HOLD_WORDS, arena, rank);
}

/** struct page of every pfn, the free list, the balloon's list. */
function* layPages(k: Kernel, s: ImageSpec): Steps<void> {
  for (let pfn = 0; pfn < s.maxPfn; pfn++) {
    const p = pageOf(k, pfn as Pfn);
    if (isImageTable(s, pfn)) poke(page.flags(p), PG_reserved | PG_table | PG_pinned);
    else if (pfn < image.firstFree(s)) poke(page.flags(p), PG_reserved);
    else if (pfn < s.populated) {
      poke(page.flags(p), PG_free);
      yield* listAddTail(kernel.freePages(k), page.lru(p));
    } else if (pfn < image.firstBallooned(s)) poke(page.flags(p), PG_reserved | PG_ballooned);
    else {
      poke(page.flags(p), PG_ballooned);
      yield* listAddTail(kernel.balloonPages(k), page.lru(p));
    }
  }
  poke(kernel.nrFree(k), s.populated - image.firstFree(s));
  poke(kernel.nrBallooned(k), s.maxPfn - image.firstBallooned(s));
}

/** The first vCPU goes on: takes its tables over; false when Xen refuses them. */
export function* bootFirst(c: KernelCpu, p: KernelParams): Steps<boolean> {
  const { k } = c;
  const l4 = yield* pfnToMfn(c, image.l4);
  if ((yield* mmuextOp(c, MMUEXT_PIN_L4_TABLE, l4)) < 0) return false;
  if ((yield* enableAssist(c)) < 0) return false;
  const init = yield* initialMm(c);
  if (init === 0 || !(yield* enterKernel(c, p))) return false;
  if (p.vmapStacks === true && !(yield* makeStackArea(c))) return false;
  if (p.sharedInfo >= 0) yield* mapXenFrame(c, image.sharedInfo(p.spec), p.sharedInfo as Mfn);
  yield* stOnce(kernel.ready(k), 1); // raced on purpose: the other vCPUs wait for it
  wake(kernel.ready(k));
  return true;
}

/** Stores to read-only L1s are to be emulated ([X36]). */
function* enableAssist(c: KernelCpu): Steps<number> {
  c.g.arg(0, VMASST_CMD_enable, 0);
  c.g.arg(1, VMASST_TYPE_writable_pagetables, 0);
  return yield* c.g.hypercall(HYPERVISOR_vm_assist);
}

/** Waits for the first vCPU, then switches to the kernel's tables. */
export function* bootOther(c: KernelCpu, p: KernelParams): Steps<boolean> {
  return yield* enterKernel(c, p);
}

/** For a vCPU that has no KernelCpu yet: the kernel's records are there afterwards. */
export function* awaitKernel(g: KernelCpu['g'], k: Kernel): Steps<void> {
  for (;;) {
    const ready = yield* ldOnce(kernel.ready(k)); // raced on purpose: set once
    if (ready !== 0) return;
    yield* g.relax(kernel.ready(k), ready);
  }
}

/** init_mm: the builder's L4, never unpinned, with no user half. */
function* initialMm(c: KernelCpu): Steps<Mm> {
  const m = (yield* arenaAlloc(c.cpu, peek(kernel.arena(c.k)), chunksFor(mm.words))) as Mm;
  if (m === 0) return m;
  yield* mapInit(mm.vmas(m));
  poke(mm.users(m), 1);
  poke(mm.count(m), 1);
  poke(mm.pgd(m), image.l4);
  poke(kernel.initMm(c.k), m);
  return m;
}

/** This vCPU's base, stack and words. */
function* enterKernel(c: KernelCpu, p: KernelParams): Steps<boolean> {
  const l4 = yield* pfnToMfn(c, image.l4);
  if ((yield* mmuextOp(c, MMUEXT_NEW_BASEPTR, l4)) < 0) return false;
  c.g.setKernel(addVa(directVa(image.stack(p.spec, c.id)), 4096), directVa(image.text(p.spec)));
  poke(percpu.loadedMm(c.pc), peek(kernel.initMm(c.k)));
  poke(percpu.cr3(c.pc), image.l4);
  yield* stOnce(percpu.currentCr3(c.pc), image.l4); // raced on purpose: [X72]
  yield* c.g.unmaskEvents();
  return true;
}

/** Shows a frame of Xen's at the unpopulated `pfn` of the direct map. */
export function* mapXenFrame(c: KernelCpu, pfn: Pfn, mfn: Mfn): Steps<boolean> {
  return yield* setDirect(c, pfn, entryLo(mfn, KERNEL_RW), PAGE_NX_HI, UVMF_INVLPG);
}
