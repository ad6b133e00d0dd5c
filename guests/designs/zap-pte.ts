/**
 * Design (a): the driver takes part in every clear of an entry (2.6.18: zap_pte, later ptep_get_and_clear_full).
 *
 * Each granted entry is unmapped where it is cleared: user entry by the machine address it has now, kernel mapping, p2m;
 * two hypercalls, each with its flush, under the PTE lock. State: the driver's slot table only; nothing per table.
 * Rule [X76]: an mm of this design stays pinned until all is unmapped; the roots are unpinned with the last holder.
 * Unpinned first, it would be wrong ([X55]). A refused user unmap is not called cleared: see kept.ts.
 * Lock: the PTE lock guards slot and entry together; a second clear finds the slot without a handle.
 * Source: linux-2.6.18-xen drivers/xen/gntdev/gntdev.c, mm/memory.c; section 5 (a) of the Xen reference.
 */
import type { Pfn, Va } from '../../src/abi/frames.js';
import type { Steps } from '../../src/sync/steps.js';
import { mapCount, type GrantMap } from '../drivers/gntdev/map.js';
import { unmapKernel } from '../drivers/gntdev/unmap.js';
import type { KernelCpu } from '../kernel/context.js';
import type { Mm } from '../kernel/mm.js';
import { CLEAR_DONE, CLEAR_KEEP } from '../kernel/vm-ops.js';
import type { Vma } from '../kernel/vma.js';
import { baseDesign } from './base.js';
import type { TeardownDesign } from './design.js';
import { clearUserGrant, grantIndex, mapOfVma, unmapKernelRange } from './grant-entry.js';
import { keepEntry, retryKept } from './kept.js';

function* nothing(): Steps<void> {
  return;
}

export const zapPte: TeardownDesign = Object.freeze({
  ...baseDesign,
  name: 'zap-pte',
  *clearPte(c: KernelCpu, v: Vma, va: Va, table: Pfn, index: number): Steps<number> {
    const map = mapOfVma(v);
    const i = yield* grantIndex(map, va);
    const how = yield* clearUserGrant(c, map, i, table, index);
    if (how === CLEAR_KEEP) yield* keepEntry(c, table, va);
    else if (how === CLEAR_DONE) yield* unmapKernel(c, map, i, 1);
    return how;
  },
  exitMmapPre: nothing,
  *releasePtePage(c: KernelCpu, m: Mm, table: Pfn): Steps<boolean> {
    return yield* retryKept(c, c.design, m, table);
  },
  *mapRelease(c: KernelCpu, map: GrantMap): Steps<void> {
    yield* unmapKernelRange(c, map, 0, mapCount(map));
  },
});
