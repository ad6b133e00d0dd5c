/**
 * Known wrong: design (c) whose sticky bit is set when the first granted entry is cleared, not before it is made.
 *
 * Breaks the rule that the bit precedes the first grant: the hook before the zap finds it clear and unpins, so the
 * clears that follow get general_error ([X55]): I10. A process that unmapped some grant before it exits is spared.
 */
import type { Pfn, Va } from '../../src/abi/frames.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from '../kernel/context.js';
import type { Vma } from '../kernel/vma.js';
import { baseDesign } from './base.js';
import type { TeardownDesign } from './design.js';
import { prePost, setForeign } from './pre-post.js';

export const prePostLateBuggy: TeardownDesign = Object.freeze({
  ...prePost,
  name: 'pre-post-late-buggy',
  prepareMap: baseDesign.prepareMap,
  *clearPte(c: KernelCpu, v: Vma, va: Va, table: Pfn, index: number, full: boolean): Steps<number> {
    yield* setForeign(v);
    return yield* prePost.clearPte(c, v, va, table, index, full);
  },
});
