/**
 * Roots: each address space has a kernel pgd, which both halves hang off, and a user pgd with the user half alone.
 *
 * Invariant: the user pgd's pfn is in the kernel pgd page's `private` ([X68]); both show the same user entries.
 * A pgd page is freed only unpinned, with its alias writable.
 * Lock: none here; a pgd that is not in a table of anybody's is its maker's.
 * Source: Linux arch/x86/xen/mmu_pv.c (xen_pgd_alloc, xen_pgd_free, xen_get_user_pgd), arch/x86/mm/pgtable.c.
 */
import type { Pfn } from '../../src/abi/frames.js';
import { hi64, ld, or, peek, st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { allocZeroedPage, freePage, putPageTest } from './alloc.js';
import type { KernelCpu } from './context.js';
import { WARN } from './counters.js';
import { warn } from './count.js';
import { DIRECT_SLOT, entryVa, PFN_NONE } from './layout.js';
import { pgdOf, type Mm } from './mm.js';
import { page, pageOf, PG_level4, PG_pinned, PG_table } from './page.js';
import { kernel } from './records.js';

/** The user pgd behind a kernel pgd; PFN_NONE for the kernel's own. */
export const userPgd = (c: KernelCpu, pgd: Pfn): Pfn => peek(page.private(pageOf(c.k, pgd))) as Pfn;

/** A kernel pgd with the kernel's slots filled in and an empty user pgd behind it; PFN_NONE when memory is short. */
export function* pgdAlloc(c: KernelCpu): Steps<Pfn> {
  const pgd = yield* allocZeroedPage(c);
  if (pgd === PFN_NONE) return PFN_NONE;
  const user = yield* allocZeroedPage(c);
  if (user === PFN_NONE) {
    if (yield* putPageTest(c, pgd)) yield* freePage(c, pgd);
    return PFN_NONE;
  }
  for (const pfn of [pgd, user]) yield* or(page.flags(pageOf(c.k, pfn)), PG_table | PG_level4);
  yield* st(page.private(pageOf(c.k, pgd)), user);
  yield* copyKernelSlots(c, pgd);
  return pgd;
}

/** pgd_ctor: the direct map's slot as the kernel's own root has it; it never changes after boot. */
function* copyKernelSlots(c: KernelCpu, pgd: Pfn): Steps<void> {
  const lo = yield* c.g.load(entryVa(pgdOf(peek(kernel.initMm(c.k)) as Mm), DIRECT_SLOT));
  yield* c.g.store(entryVa(pgd, DIRECT_SLOT), lo, hi64());
}

/** Frees both roots; one that is still pinned is a mistake that is counted and kept out of use. */
export function* pgdFree(c: KernelCpu, pgd: Pfn): Steps<void> {
  for (const root of [userPgd(c, pgd), pgd]) {
    if (root === PFN_NONE) continue;
    if (((yield* ld(page.flags(pageOf(c.k, root)))) & PG_pinned) !== 0) yield* warn(c, WARN.alias, root);
    else if (yield* putPageTest(c, root)) yield* freePage(c, root);
  }
}
