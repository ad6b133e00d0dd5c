/**
 * What a domain builder lays down before a guest kernel's first instruction, and where the kernel finds it.
 *
 * pfn 0 is nobody's; then the initial tables (L4, one L3, one L2, L1s for all of the direct map), the kernel's text page,
 * and per vCPU a stack page, a batch page and an area for grant operations; from `firstFree` on pages are free. pfns from
 * `populated` on have no frame: the shared-info page, the grant table's frames, then what the balloon hands out.
 * Invariant: the direct map shows every populated pfn, tables read-only, text executable, the rest writable; entries are
 * as Xen will leave them ([X25]), so that they can be walked before they are validated.
 * Lock: none; the machine is still. Source: xen/arch/x86/pv/dom0_build.c; Linux arch/x86/xen/mmu_pv.c (start of day).
 */
import { l1Index, l2Index, l3Index, l4Index, type Mfn, type Pfn } from '../../src/abi/frames.js';
import { ENTRIES, entryLo, PAGE_GUEST_KERNEL_HI, PAGE_NX_HI, PAGE_USER } from '../../src/abi/pte.js';
import { DIRECT_BASE, directVa } from './layout.js';
import { KERNEL_RO, KERNEL_RW, TABLE_FLAGS } from './pte.js';

export interface ImageSpec {
  /** pfns with a frame, and pfns in all; at most 262,144. */
  readonly populated: number;
  readonly maxPfn: number;
  readonly vcpus: number;
  /** Pages of each vCPU's area: 4 hold 512 grant operations. */
  readonly areaPages: number;
  /** Frames of the domain's own grant table that its kernel maps. */
  readonly grantFrames: number;
}

const L4 = 1 as Pfn;
const L3 = 2 as Pfn;
const L2 = 3 as Pfn;
const L1 = 4;

const l1Tables = (s: ImageSpec): number => Math.ceil(s.maxPfn / ENTRIES);
const perVcpu = (s: ImageSpec): number => 2 + s.areaPages;
const text = (s: ImageSpec): number => L1 + l1Tables(s);

export const image = Object.freeze({
  l4: L4,
  /** The first of the L1s that show the direct map, pfn 0 first. */
  firstL1: L1 as Pfn,
  text: (s: ImageSpec): Pfn => text(s) as Pfn,
  stack: (s: ImageSpec, vcpu: number): Pfn => (text(s) + 1 + vcpu * perVcpu(s)) as Pfn,
  batch: (s: ImageSpec, vcpu: number): Pfn => (text(s) + 2 + vcpu * perVcpu(s)) as Pfn,
  area: (s: ImageSpec, vcpu: number): Pfn => (text(s) + 3 + vcpu * perVcpu(s)) as Pfn,
  firstFree: (s: ImageSpec): Pfn => (text(s) + 1 + s.vcpus * perVcpu(s)) as Pfn,
  sharedInfo: (s: ImageSpec): Pfn => s.populated as Pfn,
  grantTable: (s: ImageSpec): Pfn => (s.populated + 1) as Pfn,
  firstBallooned: (s: ImageSpec): Pfn => (s.populated + 1 + s.grantFrames) as Pfn,
});

/** Whether a pfn is one of the initial tables. */
export const isImageTable = (s: ImageSpec, pfn: number): boolean => pfn >= L4 && pfn < text(s);

/**
 * Writes the initial tables, which nobody has typed yet: `frame` says what frame a pfn has, `put` stores an entry of
 * the table in frame `table`.
 */
export function layImage(
  s: ImageSpec,
  frame: (pfn: Pfn) => Mfn,
  put: (table: Mfn, index: number, lo: number, hi: number) => void,
): void {
  put(frame(L4), l4Index(DIRECT_BASE), entryLo(frame(L3), TABLE_FLAGS), 0);
  put(frame(L3), l3Index(DIRECT_BASE), entryLo(frame(L2), TABLE_FLAGS), 0);
  for (let i = 0; i < l1Tables(s); i++) {
    const va = directVa((i * ENTRIES) as Pfn);
    put(frame(L2), l2Index(va), entryLo(frame((L1 + i) as Pfn), TABLE_FLAGS), 0);
  }
  for (let pfn = 0; pfn < s.populated; pfn++) {
    const table = frame((L1 + Math.floor(pfn / ENTRIES)) as Pfn);
    const readOnly = isImageTable(s, pfn) || pfn === text(s);
    const flags = (readOnly ? KERNEL_RO : KERNEL_RW) | PAGE_USER;
    const hi = PAGE_GUEST_KERNEL_HI | (pfn === text(s) ? 0 : PAGE_NX_HI);
    put(table, l1Index(directVa(pfn as Pfn)), entryLo(frame(pfn as Pfn), flags), hi);
  }
}
