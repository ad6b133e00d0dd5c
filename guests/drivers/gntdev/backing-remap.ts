/**
 * Backing by remap: an ordinary page, whose own frame is noted, taken off the direct map, and put back after the unmap.
 *
 * Between the grant's unmap and the remap the page shows nothing: a window.
 * Invariant: the low word of page.index is the page's own frame from `vacate` to the moment it is back, else 0. The frame
 * stays the domain's meanwhile (its allocation reference), and its M2P entry goes on naming the page.
 * Rule [X53]: mapping over an entry flushes nothing, so the old entry is flushed everywhere when it is taken away.
 * Lock: none. Source: section 5, "Restore backing" (ii).
 */
import type { Mfn, Pfn, Va } from '../../../src/abi/frames.js';
import { GNTTABOP_unmap_grant_ref } from '../../../src/abi/grant.js';
import { UVMF_ALL, UVMF_INVLPG, UVMF_NONE } from '../../../src/abi/mmu.js';
import { entryLo, PAGE_NX_HI } from '../../../src/abi/pte.js';
import { ld, st } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import { insistDirect, setDirect } from '../../kernel/alias.js';
import { allocPage } from '../../kernel/alloc.js';
import type { KernelCpu } from '../../kernel/context.js';
import { COUNT } from '../../kernel/counters.js';
import { count } from '../../kernel/count.js';
import { releasePage } from '../../kernel/lru.js';
import { P2M_INVALID, pfnToMfn, setP2m } from '../../kernel/p2m.js';
import { page, pageOf } from '../../kernel/page.js';
import { KERNEL_RW } from '../../kernel/pte.js';
import type { Backing } from './backing.js';

/** Where the page's own frame is noted while it is away. */
const noted = (c: KernelCpu, pfn: Pfn): number => page.index(pageOf(c.k, pfn));

/** The page's own frame, 0 when it is in place. */
export function* ownFrame(c: KernelCpu, pfn: Pfn): Steps<Mfn> {
  return (yield* ld(noted(c, pfn))) as Mfn;
}

/** p2m names the page's own frame again, which its place in the direct map shows. */
export function* frameIsBack(c: KernelCpu, pfn: Pfn, own: Mfn): Steps<void> {
  yield* setP2m(c, pfn, own);
  yield* st(noted(c, pfn), 0);
}

/** Puts the page's own frame back if it is away; false when Xen refuses. */
export function* putBack(c: KernelCpu, pfn: Pfn): Steps<boolean> {
  const own = yield* ownFrame(c, pfn);
  if (own === 0) return true;
  if (!(yield* insistDirect(c, pfn, entryLo(own, KERNEL_RW), PAGE_NX_HI, UVMF_NONE))) return false;
  yield* frameIsBack(c, pfn, own);
  return true;
}

export const remapBacking: Backing = Object.freeze({
  name: 'remap',
  command: GNTTABOP_unmap_grant_ref,
  restores: true,
  *take(c: KernelCpu): Steps<Pfn> {
    const pfn = yield* allocPage(c);
    if (pfn !== 0) yield* st(noted(c, pfn), 0);
    return pfn;
  },
  *vacate(c: KernelCpu, pfn: Pfn): Steps<boolean> {
    if ((yield* ownFrame(c, pfn)) !== 0) return true;
    const own = yield* pfnToMfn(c, pfn);
    if (!(yield* setDirect(c, pfn, 0, 0, UVMF_INVLPG | UVMF_ALL))) return false;
    yield* st(noted(c, pfn), own);
    yield* setP2m(c, pfn, P2M_INVALID);
    return true;
  },
  *replacement(): Steps<Va> {
    return 0 as Va;
  },
  *unmapped(c: KernelCpu, pfn: Pfn): Steps<boolean> {
    return yield* putBack(c, pfn);
  },
  *refused(): Steps<void> {
    return;
  },
  *give(c: KernelCpu, pfn: Pfn): Steps<void> {
    if (yield* putBack(c, pfn)) yield* releasePage(c, pfn);
    else yield* count(c, COUNT.pagesLost);
  },
});
