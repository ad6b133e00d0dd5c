/**
 * mmu_gather: pages whose entries were cleared wait for the TLB flush before their references go ([L8]).
 *
 * Invariant, per page: clear the entry, queue the page, flush, drop the reference, free. A table page is queued like a
 * page when it has left the tree. When memory for the queue is short, the queue is flushed early, never skipped.
 * Lock: none; one per vCPU (a kernel operation is not preempted), in percpu.gather.
 * Source: Linux mm/mmu_gather.c; ../linux-teardown items 7, 11 (what is flushed, and when nothing is).
 */
import type { Pfn, Va } from '../../src/abi/frames.js';
import { slabFree } from '../../src/shm/slab.js';
import { peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { allocRecord } from './alloc.js';
import type { KernelCpu } from './context.js';
import { addVa, L1_SPAN, L2_SPAN, L3_SPAN, L4_SPAN } from './layout.js';
import { releasePage } from './lru.js';
import type { Mm } from './mm.js';
import { kernel, percpu } from './records.js';
import { flushMm, flushMmRange } from './tlb.js';
import { peekVa, pokeVa } from './words.js';
import { MARK } from '../../src/abi/marks.js';
import { mark } from './mark.js';

const G = {
  mm: 0,
  full: 1,
  start: 2,
  end: 4,
  cleared: 6,
  freedTables: 7,
  batches: 8,
  nrBatches: 9,
  nr: 10,
  tables: 11,
  inline: 12,
} as const;
const INLINE = 8;
/** Words of a further batch: the next one, the number of pages, the pages. */
export const BATCH_WORDS = 256;
const PER_BATCH = BATCH_WORDS - 2;
/** About 10,000 pages before a forced flush. */
const MAX_BATCHES = 40;

/** Tables queued before the TLB is flushed for them (MAX_TABLE_BATCH). */
const TABLE_BATCH = 509;

/** Bits of `cleared`: which levels' entries went, 1 for L1 entries. */
const CLEARED_PTES = 1;
const END = (2 ** 47) as Va;

const at = (c: KernelCpu, field: number): number => percpu.gather(c.pc) + field;

/** Opens the gather for `m`; `full`: nobody uses the mm any more. */
export function gatherBegin(c: KernelCpu, m: Mm, full: boolean): void {
  mark(c, full ? MARK.tlb_gather_fullmm : MARK.tlb_gather_mmu);
  poke(at(c, G.mm), m);
  poke(at(c, G.full), full ? 1 : 0);
  poke(at(c, G.batches), 0);
  poke(at(c, G.nrBatches), 0);
  poke(at(c, G.nr), 0);
  poke(at(c, G.tables), 0);
  resetRange(c);
}

function resetRange(c: KernelCpu): void {
  pokeVa(at(c, G.start), END);
  pokeVa(at(c, G.end), 0 as Va);
  poke(at(c, G.cleared), 0);
  poke(at(c, G.freedTables), 0);
}

export const gatherFull = (c: KernelCpu): boolean => peek(at(c, G.full)) === 1;

function widen(c: KernelCpu, va: Va, bit: number): void {
  if (va < peekVa(at(c, G.start))) pokeVa(at(c, G.start), va);
  if (addVa(va, L1_SPAN) > peekVa(at(c, G.end))) pokeVa(at(c, G.end), addVa(va, L1_SPAN));
  poke(at(c, G.cleared), peek(at(c, G.cleared)) | bit);
}

/** The entry of `va` was cleared; no page waits for it (a grant cleared by a plain store). */
export function gatherCleared(c: KernelCpu, va: Va): void {
  widen(c, va, CLEARED_PTES);
}

/** The entry of `va` was cleared; `pfn` loses the mapping's reference after the flush. */
export function* gatherPage(c: KernelCpu, va: Va, pfn: Pfn): Steps<void> {
  widen(c, va, CLEARED_PTES);
  yield* queue(c, pfn);
}

/** The table `pfn` of `level`, which covered `va`, has left the tree. */
export function* gatherTable(c: KernelCpu, va: Va, pfn: Pfn, level: number): Steps<void> {
  widen(c, va, CLEARED_PTES << level);
  poke(at(c, G.freedTables), 1);
  yield* queue(c, pfn);
  poke(at(c, G.tables), peek(at(c, G.tables)) + 1);
  if (peek(at(c, G.tables)) < TABLE_BATCH) return;
  poke(at(c, G.tables), 0);
  yield* gatherFlushTlb(c);
}

function* queue(c: KernelCpu, pfn: Pfn): Steps<void> {
  const inline = at(c, G.nr);
  if (peek(inline) < INLINE) {
    poke(at(c, G.inline) + peek(inline), pfn);
    poke(inline, peek(inline) + 1);
    return;
  }
  let batch = peek(at(c, G.batches));
  if (batch === 0 || peek(batch + 1) === PER_BATCH) batch = yield* newBatch(c);
  if (batch === 0) {
    yield* flushAndFree(c);
    poke(at(c, G.inline), pfn);
    poke(inline, 1);
    return;
  }
  poke(batch + 2 + peek(batch + 1), pfn);
  poke(batch + 1, peek(batch + 1) + 1);
}

function* newBatch(c: KernelCpu): Steps<number> {
  if (peek(at(c, G.nrBatches)) === MAX_BATCHES) return 0;
  const batch = yield* allocRecord(c, kernel.batchSlab(c.k));
  if (batch === 0) return 0;
  poke(batch, peek(at(c, G.batches)));
  poke(at(c, G.batches), batch);
  poke(at(c, G.nrBatches), peek(at(c, G.nrBatches)) + 1);
  return batch;
}

/** What one stale entry covers: the lowest level of which entries went. */
function span(cleared: number): number {
  if ((cleared & 1) !== 0) return L1_SPAN;
  return (cleared & 2) !== 0 ? L2_SPAN : (cleared & 4) !== 0 ? L3_SPAN : L4_SPAN;
}

function* flush(c: KernelCpu): Steps<void> {
  const m = peek(at(c, G.mm)) as Mm;
  const cleared = peek(at(c, G.cleared));
  if (gatherFull(c)) yield* flushMm(c, m);
  else if (cleared !== 0) {
    yield* flushMmRange(c, m, peekVa(at(c, G.start)), peekVa(at(c, G.end)), span(cleared));
  }
}

/** Flushes what was cleared so far, pages stay queued (tlb_flush_mmu_tlbonly). */
export function* gatherFlushTlb(c: KernelCpu): Steps<void> {
  yield* flush(c);
  resetRange(c);
}

function* flushAndFree(c: KernelCpu): Steps<void> {
  yield* flush(c);
  const nr = peek(at(c, G.nr));
  for (let i = 0; i < nr; i++) yield* releasePage(c, peek(at(c, G.inline) + i) as Pfn);
  for (let batch = peek(at(c, G.batches)); batch !== 0;) {
    for (let i = 0; i < peek(batch + 1); i++) yield* releasePage(c, peek(batch + 2 + i) as Pfn);
    const next = peek(batch);
    yield* slabFree(c.cpu, kernel.batchSlab(c.k), batch);
    batch = next;
  }
  poke(at(c, G.batches), 0);
  poke(at(c, G.nrBatches), 0);
  poke(at(c, G.nr), 0);
  resetRange(c);
}

/** Closes the gather: flushes, then lets the pages go. */
export function* gatherFinish(c: KernelCpu): Steps<void> {
  mark(c, MARK.tlb_finish_mmu);
  yield* flushAndFree(c);
  poke(at(c, G.mm), 0);
  mark(c, MARK.tlb_finish_ret);
}
