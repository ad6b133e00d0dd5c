/**
 * Design (e), as merged: an interval notifier per VMA; busy pages are unmapped later, and the core does not wait.
 *
 * At exit the notifiers' release comes first, while the tree is pinned, so the unpin that follows finds no grant. A page
 * that is in use then is unmapped later by a worker: by that time its table is unpinned, and Xen refuses ([X55], [I10]).
 * Rule: [X74], [Q5]; a refused handle is dropped with a warning. Lock: none beyond the driver's.
 * Source: Linux 6.1 drivers/xen/gntdev.c (gntdev_invalidate); ../linux-teardown items 1, 8-13.
 */
import type { Va } from '../../src/abi/frames.js';
import type { Steps } from '../../src/sync/steps.js';
import type { GrantMap } from '../drivers/gntdev/map.js';
import { unmapRangeAsync } from '../drivers/gntdev/unmap.js';
import type { KernelCpu } from '../kernel/context.js';
import { baseDesign } from './base.js';
import { coveredPages } from './covered.js';
import type { TeardownDesign } from './design.js';
import { needsNotifiers } from './notifier.js';

export const notifierAsync: TeardownDesign = Object.freeze({
  ...baseDesign,
  name: 'notifier-async',
  usesNotifier: true,
  forgetsRefused: true,
  *invalidate(c: KernelCpu, map: GrantMap, start: Va, end: Va, _event: number, blockable: boolean): Steps<boolean> {
    if (!blockable) return false;
    const [first, last] = yield* coveredPages(map, start, end);
    yield* unmapRangeAsync(c, map, first, last);
    return true;
  },
  refuses: needsNotifiers,
});
