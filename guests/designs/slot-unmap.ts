/**
 * Unmapping through slots: one entry, or all that a PTE page has, with the driver told of each answer by address.
 *
 * Invariant: a slot is emptied when Xen says okay and kept otherwise; its entry is found from the slot's position alone.
 * Lock: the table's PTE lock. Source: section 5 (d) of the Xen reference, [X48].
 */
import type { Pfn } from '../../src/abi/frames.js';
import { GNTST_okay } from '../../src/abi/grant.js';
import { ENTRIES } from '../../src/abi/pte.js';
import { peek } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { restoresBacking } from '../drivers/gntdev/backing.js';
import { entryOf, NO_HANDLE, type GrantMap } from '../drivers/gntdev/map.js';
import { keptEntry } from '../drivers/gntdev/quarantine.js';
import { userAnswer } from '../drivers/gntdev/unmap.js';
import type { KernelCpu } from '../kernel/context.js';
import { WARN } from '../kernel/counters.js';
import { warn } from '../kernel/count.js';
import { addVa, L1_SPAN } from '../kernel/layout.js';
import type { Mm } from '../kernel/mm.js';
import { pfnToMfn } from '../kernel/p2m.js';
import { page, pageOf } from '../kernel/page.js';
import { machineHi, machineLo } from '../kernel/pte.js';
import { ldVa } from '../kernel/words.js';
import { callUnmap, mapCapacity, putUnmap, unmapStatus } from '../xen/grant-ops.js';
import { grantIndex, grantVma, mapOfVma } from './grant-entry.js';
import { emptySlot, loadHandles, type SlotLayout } from './slots.js';

const NONE_KEPT: readonly [GrantMap, number] = [0 as GrantMap, 0];

/** Xen's answer for slot `i` of `table`: the driver is told, and the slot is emptied or kept. */
export function* slotAnswer(
  c: KernelCpu,
  l: SlotLayout,
  m: Mm,
  table: Pfn,
  s: Pfn,
  i: number,
  status: number,
): Steps<void> {
  const va = addVa(yield* ldVa(page.index(pageOf(c.k, table))), i * L1_SPAN);
  const v = yield* grantVma(c, m, va);
  const kept = v === 0 ? yield* keptEntry(c, table, i) : NONE_KEPT;
  const map = v === 0 ? kept[0] : mapOfVma(v);
  if (map === 0) yield* warn(c, WARN.designState, table);
  else {
    const e = entryOf(map, v === 0 ? kept[1] : yield* grantIndex(map, va));
    if (!(yield* l.agrees(c, s, i, e, restoresBacking(c)))) yield* warn(c, WARN.designState, table);
    yield* userAnswer(c, map, e, status);
  }
  if (status === GNTST_okay) yield* emptySlot(c, l, s, i);
}

/** Unmaps every entry of `table` that has a slot in use, a capacity at a time; false when any was refused. */
export function* unmapSlots(c: KernelCpu, l: SlotLayout, m: Mm, table: Pfn, s: Pfn): Steps<boolean> {
  const mfn = yield* pfnToMfn(c, table);
  const handles = yield* loadHandles(c, l, s);
  let refused = false;
  for (let first = 0, end = 0; first < ENTRIES; first = end) {
    let n = 0;
    for (; end < ENTRIES && n < mapCapacity(c); end++) {
      const handle = peek(handles + end);
      if (handle !== NO_HANDLE) yield* putUnmap(c, n++, machineLo(mfn, end), machineHi(mfn), handle);
    }
    const r = n === 0 ? 0 : yield* callUnmap(c, n);
    n = 0;
    for (let i = first; i < end; i++) {
      if (peek(handles + i) === NO_HANDLE) continue;
      const status = r < 0 ? r : yield* unmapStatus(c, n++);
      if (status !== GNTST_okay) refused = true;
      yield* slotAnswer(c, l, m, table, s, i, status);
    }
  }
  return !refused;
}
