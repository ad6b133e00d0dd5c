/**
 * Design (c): has_foreign_mappings, a sticky bit per mm, with a hook before and one after the zap.
 *
 * Before: bit clear, the tree is unpinned at once, as in (b); bit set, it stays. In between granted entries are cleared as
 * in (a). After: bit set, the roots are left and the tree is unpinned, before the tables are freed. One foreign page
 * makes the whole exit of its process trap once per ordinary entry.
 * Invariant: the bit is set before the first granted entry can exist, and a forked child starts without it (its VMAs of
 * grants are not copied). At the unpin no granted entry is left; if one is, because its unmap was refused, the mm stays
 * pinned and only its tables go, as kept.ts says.
 * Lock: the bit is written with the mmap lock held exclusively and read when the last user is gone.
 * Source: section 5 (c) of the Xen reference; linux-2.6.18-xen mm context (has_foreign_mappings), [X76].
 */
import type { Pfn, Va } from '../../src/abi/frames.js';
import { add, ld, st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { GrantMap } from '../drivers/gntdev/map.js';
import type { KernelCpu } from '../kernel/context.js';
import { xenExitMmap } from '../kernel/exit.js';
import { mm, type Mm } from '../kernel/mm.js';
import { CLEAR_KEEP } from '../kernel/vm-ops.js';
import { vma, type Vma } from '../kernel/vma.js';
import type { TeardownDesign } from './design.js';
import { zapPte } from './zap-pte.js';

/** Words of mm.designWords. */
const FOREIGN = 0;
const KEPT = 1;

/** Sets the sticky bit of the mm of `v`. */
export function* setForeign(v: Vma): Steps<void> {
  yield* st(mm.designWords((yield* ld(vma.mm(v))) as Mm) + FOREIGN, 1);
}

export const prePost: TeardownDesign = Object.freeze({
  ...zapPte,
  name: 'pre-post',
  *prepareMap(_c: KernelCpu, _map: GrantMap, v: Vma): Steps<boolean> {
    yield* setForeign(v);
    return true;
  },
  *clearPte(c: KernelCpu, v: Vma, va: Va, table: Pfn, index: number, full: boolean): Steps<number> {
    const how = yield* zapPte.clearPte(c, v, va, table, index, full);
    if (how === CLEAR_KEEP) yield* add(mm.designWords((yield* ld(vma.mm(v))) as Mm) + KEPT, 1);
    return how;
  },
  *exitMmapPre(c: KernelCpu, m: Mm): Steps<void> {
    if ((yield* ld(mm.designWords(m) + FOREIGN)) === 0) yield* xenExitMmap(c, m);
  },
  *exitMmapPost(c: KernelCpu, m: Mm): Steps<void> {
    if ((yield* ld(mm.designWords(m) + KEPT)) === 0) yield* xenExitMmap(c, m);
  },
});
