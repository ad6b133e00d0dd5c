/**
 * Backing by unmap_and_replace: the page's own frame waits at a scratch address and moves in with the unmap itself.
 *
 * Rule [X56]: the operation steals the entry at the scratch address, leaving it empty, and puts it where the grant was;
 * there is no moment without a mapping. A refusal after the steal leaves the scratch address empty as well.
 * Invariant: the high word of page.index is the scratch page (a pfn without a frame) while one is in use, else 0; a
 * scratch page goes back to the balloon with nothing at its place. Without one the page is remapped after a plain unmap.
 * Lock: none. Source: section 5, "Restore backing" (iii); Linux 3.x arch/x86/xen/p2m.c (m2p_remove_override).
 */
import type { Pfn, Va } from '../../../src/abi/frames.js';
import { GNTTABOP_unmap_and_replace } from '../../../src/abi/grant.js';
import { UVMF_ALL, UVMF_INVLPG, UVMF_NONE } from '../../../src/abi/mmu.js';
import { entryLo, PAGE_NX_HI } from '../../../src/abi/pte.js';
import { ld, st } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import { insistDirect, setDirect } from '../../kernel/alias.js';
import { quarantinePage } from '../../kernel/alloc.js';
import type { KernelCpu } from '../../kernel/context.js';
import { COUNT } from '../../kernel/counters.js';
import { count } from '../../kernel/count.js';
import { directVa, PFN_NONE } from '../../kernel/layout.js';
import { releasePage } from '../../kernel/lru.js';
import { page, pageOf } from '../../kernel/page.js';
import { KERNEL_RW } from '../../kernel/pte.js';
import { borrowUnpopulated } from '../balloon.js';
import type { Backing } from './backing.js';
import { frameIsBack, ownFrame, putBack, remapBacking } from './backing-remap.js';

const scratchOf = (c: KernelCpu, pfn: Pfn): number => page.index(pageOf(c.k, pfn)) + 1;

/** The scratch page of `pfn`, no longer its; PFN_NONE when it had none. */
function* takeScratch(c: KernelCpu, pfn: Pfn): Steps<Pfn> {
  const scratch = (yield* ld(scratchOf(c, pfn))) as Pfn;
  yield* st(scratchOf(c, pfn), PFN_NONE);
  return scratch;
}

export const replaceBacking: Backing = Object.freeze({
  ...remapBacking,
  name: 'replace',
  command: GNTTABOP_unmap_and_replace,
  *take(c: KernelCpu): Steps<Pfn> {
    const pfn = yield* remapBacking.take(c);
    if (pfn !== PFN_NONE) yield* st(scratchOf(c, pfn), PFN_NONE);
    return pfn;
  },
  *replacement(c: KernelCpu, pfn: Pfn): Steps<Va> {
    const own = yield* ownFrame(c, pfn);
    const scratch = own === 0 ? PFN_NONE : yield* borrowUnpopulated(c);
    if (scratch === PFN_NONE) return 0 as Va;
    if (!(yield* setDirect(c, scratch, entryLo(own, KERNEL_RW), PAGE_NX_HI, UVMF_NONE))) {
      yield* releasePage(c, scratch);
      return 0 as Va;
    }
    yield* st(scratchOf(c, pfn), scratch);
    return directVa(scratch);
  },
  *unmapped(c: KernelCpu, pfn: Pfn): Steps<boolean> {
    const scratch = yield* takeScratch(c, pfn);
    if (scratch === PFN_NONE) return yield* putBack(c, pfn);
    yield* frameIsBack(c, pfn, yield* ownFrame(c, pfn));
    yield* releasePage(c, scratch);
    return true;
  },
  *refused(c: KernelCpu, pfn: Pfn): Steps<void> {
    const scratch = yield* takeScratch(c, pfn);
    if (scratch === PFN_NONE) return;
    if (yield* insistDirect(c, scratch, 0, 0, UVMF_INVLPG | UVMF_ALL)) yield* releasePage(c, scratch);
    else {
      yield* quarantinePage(c, scratch);
      yield* count(c, COUNT.pagesLost);
    }
  },
});
