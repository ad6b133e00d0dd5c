/**
 * The frame record: four words per machine frame, and the bits in them.
 *
 *   word 0  count info: reference count, PGC_allocated, state, PGC_xen_heap, PGT_locked
 *   word 1  type info: type count, type, pinned, validated, partial
 *   word 2  owner: domid in the low half, generation (one up at every allocation) in the high half
 *   word 3  type count 0 or not a table: flush stamp; tables in use: nr_validated | partial_set | linear count
 *
 * Invariant: reference count 0 means free or in one owner's hands; count > 0 implies an owner ([X1]).
 * Lock: none; words 0 and 1 are changed by compare-exchange only, PGT_locked together with word 1 as one 64-bit word.
 * Source: xen/arch/x86/include/asm/mm.h (struct page_info); [X1], [X3], [X14], [X17].
 * Differs: counts are 26 bits wide; no PGT_pae_xen_l2 (64-bit guests only), no PGT_non_coherent.
 */
import type { Domid, Mfn } from '../abi/frames.js';
import { FRAME_TABLE, FRAME_WORDS, FRAMES } from './layout.js';

/** Addresses of the four words. */
export const countInfo = (mfn: Mfn): number => FRAME_TABLE + mfn * FRAME_WORDS;
export const typeInfo = (mfn: Mfn): number => FRAME_TABLE + mfn * FRAME_WORDS + 1;
export const ownerWord = (mfn: Mfn): number => FRAME_TABLE + mfn * FRAME_WORDS + 2;
export const stampWord = (mfn: Mfn): number => FRAME_TABLE + mfn * FRAME_WORDS + 3;

// Word 0.
export const PGC_count_mask = 0x03ffffff;
/** The allocation holds one reference. */
export const PGC_allocated = 1 << 26;
export const PGC_state = 3 << 27;
export const PGC_state_inuse = 0;
export const PGC_state_free = 3 << 27;
/** Belongs to Xen's heap although a domain may own it (grant and status frames, M2P). */
export const PGC_xen_heap = 1 << 29;
/** The page lock ([X12]); it also holds one type reference. */
export const PGT_locked = 1 << 30;
/** Somebody sleeps for the page lock: the next unlock wakes (parallel build). */
export const PGT_lock_waiters = 1 << 31;

// Word 1.
export const PGT_count_mask = 0x03ffffff;
export const PGT_type_mask = 7 << 26;
export const PGT_none = 0;
export const PGT_l1_page_table = 1 << 26;
export const PGT_l2_page_table = 2 << 26;
export const PGT_l3_page_table = 3 << 26;
export const PGT_l4_page_table = 4 << 26;
export const PGT_seg_desc_page = 5 << 26;
export const PGT_shared_page = 6 << 26;
export const PGT_writable_page = 7 << 26;
export const PGT_pinned = 1 << 29;
export const PGT_validated = 1 << 30;
export const PGT_partial = 1 << 31;

/** Level of a table type: 1 to 4; other numbers for the other types. */
export const typeLevel = (info: number): number => (info & PGT_type_mask) >>> 26;
export const levelType = (level: number): number => level << 26;
export const isTableType = (info: number): boolean => {
  const type = info & PGT_type_mask;
  return type >= PGT_l1_page_table && type <= PGT_l4_page_table;
};
export const typeName = (info: number): string =>
  ['none', 'l1', 'l2', 'l3', 'l4', 'seg_desc', 'shared', 'writable'][typeLevel(info)] ?? 'none';

// Word 2.
export const OWNER_MASK = 0xffff;
/** Owner of a frame that nobody owns. */
export const NO_OWNER = 0xffff as Domid;
export const ownerOf = (word: number): Domid => (word & OWNER_MASK) as Domid;
export const generationOf = (word: number): number => word >>> 16;
export const withOwner = (word: number, owner: Domid): number => (word & ~OWNER_MASK) | owner;
export const nextGeneration = (word: number, owner: Domid): number => ((word & ~OWNER_MASK) + 0x10000) | owner;

// Word 3 of a table.
export const NR_VALIDATED_MASK = 0x3ff;
/** The entry at nr_validated holds a general reference of a partial page (PTF_partial_set). */
export const PARTIAL_SET = 1 << 10;
export const nrValidated = (word: number): number => word & NR_VALIDATED_MASK;
/** Signed: entries that link to a table of this level, or, negative, links to this table ([X17]). */
export const linearCount = (word: number): number => word >> 16;
export const LINEAR_ONE = 1 << 16;

/** A machine frame number as a guest writes it: valid when it lies below the machine's frame count. */
export const mfnValid = (lo: number, hi: number): boolean => hi === 0 && lo >>> 0 < FRAMES;
