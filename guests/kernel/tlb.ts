/**
 * TLB flushes a kernel asks for after it changed entries of an mm.
 *
 * One vCPU may have it: INVLPG or TLB_FLUSH here; several: one MULTI op over the mm's vCPUs, this one included; none:
 * nothing. A single page goes as INVLPG, up to 33 one by one, more as a whole flush.
 * Lock: none; `cpumask` is read once, after the entries were changed.
 * Source: Linux arch/x86/mm/tlb.c (flush_tlb_mm_range), xen/mmu_pv.c (xen_flush_tlb_multi); ../linux-teardown 7, 11, 24.
 */
import { vaHi, vaLo, type Va } from '../../src/abi/frames.js';
import {
  MMUEXT_INVLPG_LOCAL,
  MMUEXT_INVLPG_MULTI,
  MMUEXT_TLB_FLUSH_LOCAL,
  MMUEXT_TLB_FLUSH_MULTI,
} from '../../src/abi/mmu.js';
import { ldOnce } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { batchBegin, batchIssue, maskVa, queueMmuext } from '../xen/batch.js';
import type { KernelCpu } from './context.js';
import { COUNT } from './counters.js';
import { count } from './count.js';
import { ownWord } from './cpu-set.js';
import { addVa, L1_SPAN } from './layout.js';
import { mm, type Mm } from './mm.js';
import { LAZY_MMU } from './records.js';
import { loadedMm } from './switch.js';
import { MARK } from '../../src/abi/marks.js';
import { mark } from './mark.js';

/** More pages than this are not invalidated one by one (tlb_single_page_flush_ceiling). */
const CEILING = 33;

/** Flushes [start, end) of `m` wherever it may be cached; `span` is what one stale entry covers. */
export function* flushMmRange(c: KernelCpu, m: Mm, start: Va, end: Va, span: number = L1_SPAN): Steps<void> {
  const lo = yield* ldOnce(mm.cpumask(m)); // raced on purpose: vCPUs come and go, after the entries changed
  const hi = yield* ldOnce(mm.cpumask(m) + 1); // raced on purpose: as above
  const pages = Math.ceil((end - start) / span);
  mark(c, MARK.flush_tlb_mm_range);
  const others = (lo & ~ownWord(c.id, 0)) | (hi & ~ownWord(c.id, 1));
  if (others !== 0) yield* flushMulti(c, lo, hi, start, pages);
  else if (loadedMm(c) === m) yield* flushHere(c, start, pages, span);
}

export function* flushMm(c: KernelCpu, m: Mm): Steps<void> {
  yield* flushMmRange(c, m, 0 as Va, (CEILING * 2 * L1_SPAN) as Va);
}

export function* flushPage(c: KernelCpu, m: Mm, va: Va): Steps<void> {
  yield* flushMmRange(c, m, va, addVa(va, L1_SPAN));
}

function* flushHere(c: KernelCpu, start: Va, pages: number, span: number): Steps<void> {
  yield* count(c, COUNT.tlbFlushes);
  if (pages > CEILING) {
    yield* flushOp(c, MMUEXT_TLB_FLUSH_LOCAL, 0 as Va, 0 as Va);
    return;
  }
  for (let i = 0; i < pages; i++) yield* flushOp(c, MMUEXT_INVLPG_LOCAL, addVa(start, i * span), 0 as Va);
}

function* flushMulti(c: KernelCpu, lo: number, hi: number, start: Va, pages: number): Steps<void> {
  yield* count(c, COUNT.tlbFlushes);
  yield* c.g.store(maskVa(c), lo, hi);
  if (pages === 1) yield* flushOp(c, MMUEXT_INVLPG_MULTI, start, maskVa(c));
  else yield* flushOp(c, MMUEXT_TLB_FLUSH_MULTI, 0 as Va, maskVa(c));
}

function* flushOp(c: KernelCpu, cmd: number, va: Va, mask: Va): Steps<void> {
  batchBegin(c);
  yield* queueMmuext(c, cmd, vaLo(va), vaHi(va), vaLo(mask), vaHi(mask));
  yield* batchIssue(c, LAZY_MMU);
}
