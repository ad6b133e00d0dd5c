/**
 * notifier-split that gives a page back although Xen would not unmap the kernel's mapping of it.
 *
 * Breaks: the page is used again while its place in the direct map still shows the granter's frame (section 5, "kernel
 * unmap fails").
 */
import { add, peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { entryOf, GE_KERNEL, grantMap, mapCount, NO_HANDLE, type GrantMap } from '../drivers/gntdev/map.js';
import type { KernelCpu } from '../kernel/context.js';
import type { TeardownDesign } from './design.js';
import { notifierSplit } from './notifier-split.js';

export const notifierSplitFreeBuggy: TeardownDesign = Object.freeze({
  ...notifierSplit,
  name: 'notifier-split-free-buggy',
  *mapRelease(_c: KernelCpu, map: GrantMap): Steps<void> {
    for (let i = 0; i < mapCount(map); i++) {
      if (peek(entryOf(map, i) + GE_KERNEL) === NO_HANDLE) continue;
      poke(entryOf(map, i) + GE_KERNEL, NO_HANDLE);
      yield* add(grantMap.live(map), -1);
    }
  },
});
