/**
 * Where a guest kernel finds things in its address space.
 *
 * Slot 256 of every L4 is Xen's read-only M2P; slot 273 is the direct map of all pfns, one page each, populated or not.
 * User addresses are slots 0-255. Source: Linux Documentation/arch/x86/x86_64/mm.rst; xen/include/public/arch-x86/xen.h.
 */
import { makeVa, PAGE_SIZE, type Mfn, type Pfn, type Va } from '../../src/abi/frames.js';
import { ROOT_RO_MPT } from '../../src/abi/pte.js';

/** L4 slot of the direct map (0xffff888000000000). */
export const DIRECT_SLOT = 273;
export const DIRECT_BASE = makeVa(DIRECT_SLOT);
const M2P_BASE = makeVa(ROOT_RO_MPT);

/** First address that is not user space. */
export const USER_END = makeVa(256);
export const isUserVa = (va: Va): boolean => va < USER_END;

/** The page `pfn` in the direct map. */
export const directVa = (pfn: Pfn): Va => (DIRECT_BASE + pfn * PAGE_SIZE) as Va;
/** pfn of a direct-map address. */
export const directPfn = (va: Va): Pfn => Math.floor((va - DIRECT_BASE) / PAGE_SIZE) as Pfn;
export const isDirectVa = (va: Va, maxPfn: number): boolean =>
  va >= DIRECT_BASE && va < DIRECT_BASE + maxPfn * PAGE_SIZE;
/** Entry `i` of the table in page `pfn`. */
export const entryVa = (pfn: Pfn, i: number): Va => (directVa(pfn) + 8 * i) as Va;
/** The M2P entry of `mfn`. */
export const m2pVa = (mfn: Mfn): Va => (M2P_BASE + 8 * mfn) as Va;

export const addVa = (va: Va, bytes: number): Va => (va + bytes) as Va;

/** Span of one entry at a level. */
export const L1_SPAN = PAGE_SIZE;
export const L2_SPAN = 512 * PAGE_SIZE;
export const L3_SPAN = 512 * L2_SPAN;
export const L4_SPAN = 512 * L3_SPAN;
export const alignDown = (va: Va, span: number): Va => (va - (va % span)) as Va;

/** Reserved pfns: 0 is never handed out, so 0 can mean none. */
export const PFN_NONE = 0 as Pfn;
