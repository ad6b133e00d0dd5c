/**
 * Design (d): a page of handles behind each PTE page that has a grant, reached through the PTE page's struct page.
 *
 * Every way an entry can go looks there: set_pte, the clears that are no set_pte ([X67]), the unpin of the PTE page,
 * its release. The unpin walks the slots and unmaps all that are in use in one call, before the page's UNPIN is issued;
 * the order of unmap and UNPIN is the whole argument for its correctness. Without split PTE locks PTE pages are not
 * pinned by themselves, so all of them are walked before the root's UNPIN is queued ([X69]).
 * Kernel mappings are the driver's: they go when the VMA closes, when their user entries are gone.
 * Invariant ([I16]): outside the PTE lock, a slot holds a handle exactly while its entry is granted; slots are allocated
 * before the PTE lock is taken, freed when all are empty. A refused unmap keeps its slot, and its table typed (kept.ts).
 * Lock: the PTE lock. Source: section 5 (d) of the Xen reference; the 2008 proposal; Linux arch/x86/xen/mmu_pv.c.
 */
import type { Pfn, Va } from '../../src/abi/frames.js';
import { GNTST_okay } from '../../src/abi/grant.js';
import { RANK } from '../../src/sync/lock-order.js';
import { ld, peek, st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { restoresBacking } from '../drivers/gntdev/backing.js';
import { entryOf, mapCount, NO_HANDLE, type GrantMap } from '../drivers/gntdev/map.js';
import { userAnswer } from '../drivers/gntdev/unmap.js';
import type { KernelCpu } from '../kernel/context.js';
import { WARN } from '../kernel/counters.js';
import { warn } from '../kernel/count.js';
import { addVa, alignDown, L2_SPAN, PFN_NONE } from '../kernel/layout.js';
import { flushLazyMmu } from '../kernel/lazy.js';
import { klock, kunlock } from '../kernel/lock.js';
import type { Mm } from '../kernel/mm.js';
import { page, pageOf, type Page } from '../kernel/page.js';
import { ptlOf, splitLocks } from '../kernel/ptl.js';
import type { Kernel } from '../kernel/records.js';
import { CLEAR_DONE, CLEAR_KEEP, CLEAR_PLAIN } from '../kernel/vm-ops.js';
import { firstVma, nextVma, vma, vmaEnd, VM_OPS_GNTDEV, vmaStart, type Vma } from '../kernel/vma.js';
import { findL1, makeL1 } from '../kernel/walk.js';
import { stVa } from '../kernel/words.js';
import { baseDesign } from './base.js';
import type { TeardownDesign } from './design.js';
import { unmapKernelOf, unmapKernelRange, unmapUserEntry } from './grant-entry.js';
import { keepTable, letTableGo, unkeepTable } from './kept.js';
import { checkSlots } from './slot-check.js';
import { handleArray } from './slot-layouts.js';
import { slotAnswer, unmapSlots } from './slot-unmap.js';
import { allocSlots, anySlot, emptySlot, freeSlots, slotHandle, storeSlotWord, type SlotLayout } from './slots.js';

/** The word of its own that this kernel's struct page has for the purpose. */
export const ownField = (p: Page): number => page.secondary(p);

/** The word of a struct page that names the slots' first page; PFN_NONE in it: none. */
export type SlotField = (p: Page) => number;

/** The design over one layout, its pages found through one field. */
export function makePrivatePage(name: string, l: SlotLayout, field: SlotField): TeardownDesign {
  function* slotsOf(c: KernelCpu, table: Pfn): Steps<Pfn> {
    return (yield* ld(field(pageOf(c.k, table)))) as Pfn;
  }

  /** Slots for `table`, whose first entry maps `base`, unless it has them; false when memory is short. */
  function* attach(c: KernelCpu, table: Pfn, base: Va): Steps<boolean> {
    const at = field(pageOf(c.k, table));
    if (peek(at) !== PFN_NONE) return true;
    const s = yield* allocSlots(c, l);
    if (s === PFN_NONE) return false;
    yield* klock(c, ptlOf(c, table), RANK.guestPteLock);
    const lost = (yield* ld(at)) !== PFN_NONE;
    if (!lost) {
      yield* stVa(page.index(pageOf(c.k, table)), base);
      yield* st(at, s);
    }
    yield* kunlock(c, ptlOf(c, table));
    if (lost) yield* freeSlots(c, s);
    return true;
  }

  /** Unmaps what is left and frees the slots; false, and the table is kept typed, when something would not go. */
  function* emptyTable(c: KernelCpu, m: Mm, table: Pfn): Steps<boolean> {
    const s = yield* slotsOf(c, table);
    if (s === PFN_NONE) return true;
    if (!(yield* unmapSlots(c, l, m, table, s))) {
      yield* keepTable(c, table);
      return false;
    }
    yield* unkeepTable(c, table);
    yield* st(field(pageOf(c.k, table)), PFN_NONE);
    yield* freeSlots(c, s);
    return true;
  }

  /** One slot, for a clear or an overwrite; answers CLEAR_*. */
  function* clearSlot(c: KernelCpu, m: Mm, table: Pfn, i: number): Steps<number> {
    const s = yield* slotsOf(c, table);
    const handle = s === PFN_NONE ? NO_HANDLE : yield* slotHandle(c, l, s, i);
    if (handle === NO_HANDLE) return CLEAR_PLAIN;
    yield* flushLazyMmu(c);
    const status = yield* unmapUserEntry(c, table, i, handle);
    yield* slotAnswer(c, l, m, table, s, i, status);
    return status === GNTST_okay ? CLEAR_DONE : CLEAR_KEEP;
  }

  return Object.freeze({
    ...baseDesign,
    name,
    slots: { layout: l, field },
    mapUnderPteLock: true,
    *prepareMap(c: KernelCpu, _map: GrantMap, v: Vma): Steps<boolean> {
      const m = (yield* ld(vma.mm(v))) as Mm;
      for (let va = vmaStart(v); va < vmaEnd(v); va = addVa(alignDown(va, L2_SPAN), L2_SPAN)) {
        const table = yield* makeL1(c, m, va);
        if (table === PFN_NONE || !(yield* attach(c, table, alignDown(va, L2_SPAN)))) return false;
      }
      return true;
    },
    *mapInstalled(c: KernelCpu, map: GrantMap, i: number, table: Pfn, index: number, handle: number): Steps<void> {
      const s = yield* slotsOf(c, table);
      if (s !== PFN_NONE && l.fits(handle)) {
        yield* l.note(c, s, index, entryOf(map, i), restoresBacking(c));
        yield* storeSlotWord(c, s, l.handleWord(index), l.encode(handle, restoresBacking(c)));
        return;
      }
      yield* warn(c, WARN.designState, table);
      yield* userAnswer(c, map, entryOf(map, i), yield* unmapUserEntry(c, table, index, handle));
    },
    *clearPte(c: KernelCpu, v: Vma, _va: Va, table: Pfn, index: number): Steps<number> {
      return yield* clearSlot(c, (yield* ld(vma.mm(v))) as Mm, table, index);
    },
    *setPte(c: KernelCpu, table: Pfn, index: number, lo: number, hi: number): Steps<boolean> {
      const m = (yield* ld(page.mapping(pageOf(c.k, table)))) as Mm;
      const how = yield* clearSlot(c, m, table, index);
      return how === CLEAR_KEEP || (how === CLEAR_DONE && lo === 0 && hi === 0);
    },
    *beforeUnpin(c: KernelCpu, m: Mm): Steps<void> {
      if (splitLocks(c)) return;
      for (let v = yield* firstVma(m); v !== 0; v = yield* nextVma(v)) {
        if ((yield* ld(vma.ops(v))) !== VM_OPS_GNTDEV) continue;
        for (let va = vmaStart(v); va < vmaEnd(v); va = addVa(alignDown(va, L2_SPAN), L2_SPAN)) {
          const table = yield* findL1(c, m, va);
          if (table !== PFN_NONE) yield* emptyTable(c, m, table);
        }
      }
    },
    *unpinPtePage(c: KernelCpu, m: Mm, table: Pfn): Steps<boolean> {
      return yield* emptyTable(c, m, table);
    },
    *releasePtePage(c: KernelCpu, m: Mm, table: Pfn): Steps<boolean> {
      yield* klock(c, ptlOf(c, table), RANK.guestPteLock);
      const goes = yield* emptyTable(c, m, table);
      yield* kunlock(c, ptlOf(c, table));
      return goes;
    },
    *retryEntry(c: KernelCpu, map: GrantMap, i: number, table: Pfn, index: number, left: boolean): Steps<void> {
      const s = yield* slotsOf(c, table);
      const handle = s === PFN_NONE ? NO_HANDLE : yield* slotHandle(c, l, s, index);
      if (handle === NO_HANDLE) return;
      const status = yield* unmapUserEntry(c, table, index, handle);
      yield* userAnswer(c, map, entryOf(map, i), status);
      if (status !== GNTST_okay) return;
      yield* emptySlot(c, l, s, index);
      if (!left || (yield* anySlot(c, l, s))) return;
      yield* st(field(pageOf(c.k, table)), PFN_NONE);
      yield* freeSlots(c, s);
      yield* letTableGo(c, table, left);
    },
    *vmaClose(c: KernelCpu, v: Vma, map: GrantMap): Steps<void> {
      yield* unmapKernelOf(c, v, map);
    },
    *mapRelease(c: KernelCpu, map: GrantMap): Steps<void> {
      yield* unmapKernelRange(c, map, 0, mapCount(map));
    },
    check: (k: Kernel) => checkSlots(k, l, field),
  });
}

/** The design as proposed: 512 handles, found through a field of their own. */
export const privatePage: TeardownDesign = makePrivatePage('private-page', handleArray, ownField);
