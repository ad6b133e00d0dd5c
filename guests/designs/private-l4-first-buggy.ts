/**
 * Known wrong: design (d) in a kernel without split PTE locks, with the grants walked after the root's UNPIN.
 *
 * Its hook issues what is queued before it looks at the slots, as one must for queued set_pte; but the root's UNPIN is
 * queued there too, and without a pin of its own every L1 is devalidated by it. Breaks [X69]; Xen then answers
 * general_error ([X55]), the frames' references are gone and the handles stay: I10.
 */
import type { Pfn } from '../../src/abi/frames.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from '../kernel/context.js';
import type { Mm } from '../kernel/mm.js';
import { batchFlush } from '../xen/batch.js';
import type { TeardownDesign } from './design.js';
import { privatePage } from './private-page.js';

export const privateL4FirstBuggy: TeardownDesign = Object.freeze({
  ...privatePage,
  name: 'private-l4-first-buggy',
  oneLock: true,
  *beforeUnpin(): Steps<void> {
    return;
  },
  *unpinPtePage(c: KernelCpu, m: Mm, table: Pfn): Steps<boolean> {
    yield* batchFlush(c);
    return yield* privatePage.unpinPtePage(c, m, table);
  },
});
