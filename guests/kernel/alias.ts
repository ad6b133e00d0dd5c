/**
 * The direct-map alias of a page: read-only while the page is a table, writable otherwise ([X4], [I15], [I18]).
 *
 * Lock: who changes an alias owns the page.
 * Source: Linux arch/x86/xen/mmu_pv.c (__set_pfn_prot, make_lowmem_page_*).
 */
import type { Pfn } from '../../src/abi/frames.js';
import { entryLo, PAGE_NX_HI, PAGE_RW } from '../../src/abi/pte.js';
import type { Steps } from '../../src/sync/steps.js';
import { queueVaMapping } from '../xen/batch.js';
import { updateVaMapping } from '../xen/calls.js';
import type { KernelCpu } from './context.js';
import { WARN } from './counters.js';
import { warn } from './count.js';
import { directVa } from './layout.js';
import { pfnToMfn } from './p2m.js';
import { MARK, MARK_ALIAS_FLUSH, MARK_ALIAS_RW } from '../../src/abi/marks.js';
import { markTable } from './mark.js';
import { levelOf } from './page.js';

/** Queues the change of the alias of `pfn` to `flags`. */
export function* queueAlias(c: KernelCpu, pfn: Pfn, flags: number, flush: number): Steps<void> {
  const kind = ((flags & PAGE_RW) !== 0 ? MARK_ALIAS_RW : 0) | (flush !== 0 ? MARK_ALIAS_FLUSH : 0);
  yield* queueVaMapping(c, directVa(pfn), entryLo(yield* pfnToMfn(c, pfn), flags), PAGE_NX_HI, flush);
  markTable(c, MARK.queue_alias, kind | (levelOf(c.k, pfn) << 8), pfn);
}

/** Makes the direct map show (lo, hi) at `pfn`, at once; false when Xen refuses. */
export function* setDirect(c: KernelCpu, pfn: Pfn, lo: number, hi: number, flush: number): Steps<boolean> {
  const r = yield* updateVaMapping(c, directVa(pfn), lo, hi, flush);
  if (r < 0) yield* warn(c, WARN.alias, pfn);
  return r >= 0;
}

/** Attempts after the first. */
const REPAIRS = 4;

/** The same where the page is lost without it: a refusal is asked about again, a few times. */
export function* insistDirect(c: KernelCpu, pfn: Pfn, lo: number, hi: number, flush: number): Steps<boolean> {
  for (let i = 0; i < REPAIRS; i++) if (yield* setDirect(c, pfn, lo, hi, flush)) return true;
  return yield* setDirect(c, pfn, lo, hi, flush);
}
