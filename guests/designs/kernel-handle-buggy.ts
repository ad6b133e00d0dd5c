/**
 * Known wrong: design (a) that forgets the kernel's own mapping of the grant.
 *
 * Breaks [Q3]: a grant mapped for the user and for the kernel has two handles. The page is given back while its place in
 * the direct map still shows the foreign frame: I18; mapped over by its next user, the old handle has no entry: I10.
 */
import type { Pfn, Va } from '../../src/abi/frames.js';
import { add, and, st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { entryOf, GE_KERNEL, grantMap, NO_HANDLE, pfnOfEntry } from '../drivers/gntdev/map.js';
import type { KernelCpu } from '../kernel/context.js';
import { P2M_INVALID, setP2m } from '../kernel/p2m.js';
import { page, pageOf, PG_foreign } from '../kernel/page.js';
import { CLEAR_DONE } from '../kernel/vm-ops.js';
import type { Vma } from '../kernel/vma.js';
import type { TeardownDesign } from './design.js';
import { clearUserGrant, grantIndex, mapOfVma } from './grant-entry.js';
import { zapPte } from './zap-pte.js';

export const kernelHandleBuggy: TeardownDesign = Object.freeze({
  ...zapPte,
  name: 'kernel-handle-buggy',
  *clearPte(c: KernelCpu, v: Vma, va: Va, table: Pfn, index: number): Steps<number> {
    const map = mapOfVma(v);
    const i = yield* grantIndex(map, va);
    const how = yield* clearUserGrant(c, map, i, table, index);
    if (how !== CLEAR_DONE) return how;
    const e = entryOf(map, i);
    yield* setP2m(c, pfnOfEntry(e), P2M_INVALID);
    yield* and(page.flags(pageOf(c.k, pfnOfEntry(e))), ~PG_foreign);
    yield* st(e + GE_KERNEL, NO_HANDLE);
    yield* add(grantMap.live(map), -1);
    return how;
  },
});
