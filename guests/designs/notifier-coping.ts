/**
 * Design (e), synchronous, that copes with a refusal: what Xen would not unmap is kept, tried again, and never called gone.
 *
 * As `notifier`, but a refused handle is not dropped. An address space that still has a granted entry after the notifiers'
 * release stays pinned, as in (a); its entry is tried again where it is cleared, again when its table leaves the tree, and
 * then by the kept map (drivers/gntdev/quarantine.ts), while the table stays typed (kept.ts).
 * State: the driver's map, and mm.granted: user handles that are not back yet.
 * Lock: as in notifier and zap-pte. Source: section 5, "user unmap fails", "kernel unmap fails".
 */
import type { Pfn, Va } from '../../src/abi/frames.js';
import { ld } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { GrantMap } from '../drivers/gntdev/map.js';
import type { KernelCpu } from '../kernel/context.js';
import { mm, type Mm } from '../kernel/mm.js';
import type { Vma } from '../kernel/vma.js';
import { baseDesign } from './base.js';
import type { TeardownDesign } from './design.js';
import { notifier } from './notifier.js';
import { zapPte } from './zap-pte.js';

export const notifierCoping: TeardownDesign = Object.freeze({
  ...notifier,
  name: 'notifier-coping',
  forgetsRefused: false,
  *clearPte(c: KernelCpu, v: Vma, va: Va, table: Pfn, index: number, full: boolean): Steps<number> {
    return yield* zapPte.clearPte(c, v, va, table, index, full);
  },
  *exitMmapPre(c: KernelCpu, m: Mm): Steps<void> {
    if ((yield* ld(mm.granted(m))) === 0) yield* baseDesign.exitMmapPre(c, m);
  },
  *releasePtePage(c: KernelCpu, m: Mm, table: Pfn): Steps<boolean> {
    return yield* zapPte.releasePtePage(c, m, table);
  },
  *mapRelease(c: KernelCpu, map: GrantMap): Steps<void> {
    yield* zapPte.mapRelease(c, map);
  },
});
