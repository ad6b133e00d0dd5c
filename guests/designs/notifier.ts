/**
 * Design (e), synchronous: an interval notifier per VMA, and whatever is mapped goes at once, in use or not.
 *
 * At exit the notifiers' release comes first, while the tree is pinned: two hypercalls per contiguous range, and the
 * unpin that follows finds no grant. Nobody waits for a page that is in use: its user loses it ([X74], Qubes 7481).
 * State: the driver's map; none per table.
 * Rule: an order of exit_mmap without notifiers would unpin first, so it is refused. A refused handle is dropped with a
 * warning, as the driver does. Lock: none beyond the driver's.
 * Source: Linux 3.x drivers/xen/gntdev.c (mn_invl_range_start, unmap_grant_pages); section 5 (e) of the Xen reference.
 */
import type { Va } from '../../src/abi/frames.js';
import type { Steps } from '../../src/sync/steps.js';
import type { GrantMap } from '../drivers/gntdev/map.js';
import { unmapRangeNow } from '../drivers/gntdev/unmap.js';
import type { KernelCpu } from '../kernel/context.js';
import { EXIT_2_6_25 } from '../kernel/records.js';
import { baseDesign } from './base.js';
import { coveredPages } from './covered.js';
import type { DesignOptions, TeardownDesign } from './design.js';

/** Why a kernel that calls no notifiers at exit cannot have a design that lives by them. */
export const needsNotifiers = (o: DesignOptions): string =>
  o.exitOrder === EXIT_2_6_25 ? 'exit order 2.6.25 has no mmu notifiers, which this design lives by' : '';

export const notifier: TeardownDesign = Object.freeze({
  ...baseDesign,
  name: 'notifier',
  usesNotifier: true,
  forgetsRefused: true,
  *invalidate(c: KernelCpu, map: GrantMap, start: Va, end: Va, _event: number, blockable: boolean): Steps<boolean> {
    if (!blockable) return false;
    const [first, last] = yield* coveredPages(map, start, end);
    yield* unmapRangeNow(c, map, first, last);
    return true;
  },
  refuses: needsNotifiers,
});
