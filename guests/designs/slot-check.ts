/**
 * I16 and I17 of design (d), over a still machine: slots agree with entries; no slots without a live PTE page.
 *
 * Invariant: reads only; nothing of it runs while a vCPU does. Lock: none.
 * Source: reference xen-pv-memory.md, section 6.
 */
import type { Pfn } from '../../src/abi/frames.js';
import type { Violation } from '../../src/abi/guest.js';
import { ENTRIES, PAGE_PRESENT } from '../../src/abi/pte.js';
import { peek } from '../../src/sync/primitives.js';
import { found } from '../kernel/check.js';
import { NO_HANDLE } from '../drivers/gntdev/map.js';
import { PFN_NONE } from '../kernel/layout.js';
import { page, pageOf, PG_level1, PG_table, type Page } from '../kernel/page.js';
import { PTE_SPECIAL } from '../kernel/pte.js';
import { kernel, type Kernel } from '../kernel/records.js';
import { stillWord } from '../kernel/still.js';
import { slotOfStill, type SlotLayout } from './slots.js';

/** Findings about the slots behind every page whose `field` names some. */
export function checkSlots(k: Kernel, l: SlotLayout, field: (p: Page) => number): Violation[] {
  const out: Violation[] = [];
  const isL1 = PG_table | PG_level1;
  for (let n = 1; n < peek(kernel.maxPfn(k)); n++) {
    const pfn = n as Pfn;
    const p = pageOf(k, pfn);
    const s = peek(field(p)) as Pfn;
    if (s === PFN_NONE) continue;
    if ((peek(page.flags(p)) & isL1) === isL1) out.push(...checkTable(k, l, pfn, s));
    else out.push(found(k, 'I17', `pfn ${String(pfn)} is no PTE page and still has slots (pfn ${String(s)})`));
  }
  return out;
}

function checkTable(k: Kernel, l: SlotLayout, table: Pfn, s: Pfn): Violation[] {
  return Array.from({ length: ENTRIES }, (_, i) => slotFault(k, l, table, s, i) ?? []).flat();
}

/** I16: a slot holds a handle exactly while its entry is granted. */
export function slotFault(k: Kernel, l: SlotLayout, table: Pfn, s: Pfn, i: number): Violation | undefined {
  const handle = slotOfStill(k, l, s, i);
  const lo = stillWord(k, table, 2 * i);
  const granted = (lo & PAGE_PRESENT) !== 0 && (lo & PTE_SPECIAL) !== 0;
  if (granted === (handle !== NO_HANDLE)) return undefined;
  const slot = handle === NO_HANDLE ? 'is empty' : `holds handle ${String(handle >>> 0)}`;
  const entry = granted ? 'is granted' : 'is not granted';
  return found(k, 'I16', `slot ${String(i)} of PTE page pfn ${String(table)} ${slot}, its entry ${entry}`);
}
