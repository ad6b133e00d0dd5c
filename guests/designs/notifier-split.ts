/**
 * Design (e), split: the user entries go at once, for references are to the page and not to the entry; only the kernel's
 * mapping, the p2m entry and the page's return wait for the references.
 *
 * At exit no granted entry is left when the tree is unpinned, busy pages or not: what made the merged design leak ([X55])
 * cannot happen, and nobody waits. The I/O under way goes on through the kernel's mapping, which the last of them lets go.
 * A refusal is met as in notifier-coping. State: the driver's map.
 * Lock: none beyond the driver's.
 * Source: section 5 (e) of the Xen reference, its busy pages; [X74], Qubes 7481.
 */
import type { Va } from '../../src/abi/frames.js';
import type { Steps } from '../../src/sync/steps.js';
import type { GrantMap } from '../drivers/gntdev/map.js';
import { unmapRangeSplit } from '../drivers/gntdev/unmap.js';
import type { KernelCpu } from '../kernel/context.js';
import { coveredPages } from './covered.js';
import type { TeardownDesign } from './design.js';
import { notifierCoping } from './notifier-coping.js';

export const notifierSplit: TeardownDesign = Object.freeze({
  ...notifierCoping,
  name: 'notifier-split',
  *invalidate(c: KernelCpu, map: GrantMap, start: Va, end: Va, _event: number, blockable: boolean): Steps<boolean> {
    if (!blockable) return false;
    const [first, last] = yield* coveredPages(map, start, end);
    yield* unmapRangeSplit(c, map, first, last);
    return true;
  },
});
