/**
 * zap-pte that says "cleared" when Xen refused the unmap: the core writes zero over the entry and goes on.
 *
 * Breaks: an implicit unmap ([X61]); handle, pin and the grant's bits stay, and every later attempt is refused ([X55]).
 */
import type { Pfn, Va } from '../../src/abi/frames.js';
import type { Steps } from '../../src/sync/steps.js';
import { unmapKernel } from '../drivers/gntdev/unmap.js';
import type { KernelCpu } from '../kernel/context.js';
import { CLEAR_DONE, CLEAR_KEEP, CLEAR_PLAIN } from '../kernel/vm-ops.js';
import type { Vma } from '../kernel/vma.js';
import type { TeardownDesign } from './design.js';
import { clearUserGrant, grantIndex, mapOfVma } from './grant-entry.js';
import { zapPte } from './zap-pte.js';

export const zapPteClearedBuggy: TeardownDesign = Object.freeze({
  ...zapPte,
  name: 'zap-pte-cleared-buggy',
  *clearPte(c: KernelCpu, v: Vma, va: Va, table: Pfn, index: number): Steps<number> {
    const i = yield* grantIndex(mapOfVma(v), va);
    const how = yield* clearUserGrant(c, mapOfVma(v), i, table, index);
    if (how === CLEAR_DONE) yield* unmapKernel(c, mapOfVma(v), i, 1);
    return how === CLEAR_KEEP ? CLEAR_PLAIN : how;
  },
});
