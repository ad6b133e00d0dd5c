/**
 * Page-table entries: flags in lo[11:0], frame in lo[31:12] and hi[19:0] (40 bits), hi[30:20] available, hi[31] NX.
 *
 * Entries are two words, stored and read back whole; only a frame below the machine's count is an Mfn.
 * Source: xen/arch/x86/include/asm/x86_64/page.h, page.h; [X24].
 */
import { INVALID_MFN, type Mfn } from './frames.js';

export const PAGE_PRESENT = 0x001;
export const PAGE_RW = 0x002;
export const PAGE_USER = 0x004;
export const PAGE_PWT = 0x008;
export const PAGE_PCD = 0x010;
export const PAGE_ACCESSED = 0x020;
export const PAGE_DIRTY = 0x040;
/** PSE in L2/L3, PAT in L1. */
export const PAGE_PSE = 0x080;
export const PAGE_PAT = 0x080;
export const PAGE_GLOBAL = 0x100;
export const PAGE_AVAIL = 0xe00;

/** High-word bits. */
export const PAGE_NX_HI = 1 << 31;
/** Bit 52: Xen's mark of a guest-kernel-only L1e. */
export const PAGE_GUEST_KERNEL_HI = 1 << 20;
/** Bit 62: debug builds' mark of a grant mapping ([X24]). */
export const PAGE_GNTTAB_HI = 1 << 30;
export const PAGE_AVAIL_HIGH_HI = 0x7ff00000;
export const FRAME_HI = 0x000fffff;

/** Frame of an entry, or INVALID_MFN when it lies beyond the machine's `frames`. */
export const entryMfn = (lo: number, hi: number, frames: number): Mfn =>
  (hi & FRAME_HI) !== 0 || lo >>> 12 >= frames ? INVALID_MFN : ((lo >>> 12) as Mfn);
/** The low word of an entry for `mfn` with flags[11:0]. */
export const entryLo = (mfn: Mfn, flags: number): number => (mfn << 12) | (flags & 0xfff);
export const sameFrame = (lo1: number, hi1: number, lo2: number, hi2: number): boolean =>
  ((lo1 ^ lo2) & ~0xfff) === 0 && ((hi1 ^ hi2) & FRAME_HI) === 0;

export const ENTRIES = 512;
/** Xen's own slots of an L4. */
export const ROOT_XEN_FIRST = 256;
export const ROOT_XEN_LAST = 271;
/** Slot of the linear self map among them. */
export const ROOT_LINEAR = 258;
/** Slot of the read-only M2P and of per-domain mappings. */
export const ROOT_RO_MPT = 256;
export const ROOT_PERDOMAIN = 260;
