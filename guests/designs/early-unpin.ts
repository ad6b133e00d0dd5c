/**
 * Design (b): the plain arch hook of exit_mmap, blind to grants.
 *
 * State: none. The tree is unpinned before anything is unmapped, so exit costs nothing per page and no trap: every
 * clear is a plain store. A granted entry is devalidated with its L1, or zeroed like any other: an implicit unmap ([X61]).
 * The frame's reference goes, the handle, the pin and the grant's reading and writing bits stay; the driver's own
 * attempt, when the VMA closes, gets general_error ([X55]) and gives the handle up. Clean only without grants.
 * Lock: none beyond the kernel's.
 * Source: Linux 2.6.25 arch/x86/xen (xen_exit_mmap) with the gntdev of that day; section 5 (b) of the Xen reference.
 */
import type { Steps } from '../../src/sync/steps.js';
import type { GrantMap } from '../drivers/gntdev/map.js';
import { unmapRangeNow } from '../drivers/gntdev/unmap.js';
import type { KernelCpu } from '../kernel/context.js';
import { vmaEnd, vmaStart, type Vma } from '../kernel/vma.js';
import { baseDesign } from './base.js';
import { coveredPages } from './covered.js';
import type { TeardownDesign } from './design.js';

export const earlyUnpin: TeardownDesign = Object.freeze({
  ...baseDesign,
  name: 'early-unpin',
  forgetsRefused: true,
  *vmaClose(c: KernelCpu, v: Vma, map: GrantMap): Steps<void> {
    const [first, end] = yield* coveredPages(map, vmaStart(v), vmaEnd(v));
    yield* unmapRangeNow(c, map, first, end);
  },
});
