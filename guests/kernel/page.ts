/**
 * struct page: one record per pfn.
 *
 * Invariant: refcount >= mapcount ([L1]); refcount 0 means the page is free, ballooned or reserved.
 * Lock: refcount and mapcount are atomic; `flags` is or-ed and and-ed atomically; `ptl` is the table's PTE lock (split
 * PTE locks: one per L1 table); `lru` is linked under the allocator's, the balloon's or the LRU's lock.
 * Source: Linux include/linux/mm_types.h; [X66]-[X69].
 */
import type { Pfn } from '../../src/abi/frames.js';
import { LIST_WORDS } from '../../src/shm/list.js';
import { record, type Ref } from '../../src/shm/record.js';
import { peek } from '../../src/sync/primitives.js';
import { kernel, KLOCK_WORDS, type Kernel } from './records.js';

export const page = record('page', {
  flags: 1,
  refcount: 1,
  mapcount: 1,
  /** pgd pages: pfn of the user pgd behind it ([X68]). Granted pages: address of the driver's grant record. */
  private: 1,
  /** Anonymous pages: the anon record (rmap.ts). Table pages: the mm. */
  mapping: 1,
  /** Page number within the anon record's space. */
  index: 2,
  ptl: KLOCK_WORDS,
  lru: LIST_WORDS,
  /** Pages that hang off a PTE page for a design: a frame of handles and the like; 0 none. */
  secondary: 1,
  secondaryCount: 1,
});
export type Page = Ref<'page'>;

/** The software flag of [X66]: the table is (being) pinned, its alias read-only. */
export const PG_pinned = 1;
/** A page-table page; its level in the next bits. */
export const PG_table = 2;
export const PG_level1 = 4;
export const PG_level2 = 8;
export const PG_level3 = 16;
export const PG_level4 = 32;
export const PG_levels = 60;
export const PG_reserved = 64;
/** Has no frame of its own. */
export const PG_ballooned = 128;
/** Maps another domain's frame through a grant. */
export const PG_foreign = 256;
export const PG_lru = 512;
export const PG_dirty = 1024;
export const PG_free = 2048;
/** Granted to another domain. */
export const PG_granted = 4096;
/** May be taken away while it stays clean (MADV_FREE). */
export const PG_lazyfree = 16384;
/** Kept out of use for ever: something foreign may still be mapped there. */
export const PG_quarantined = 8192;

const STRIDE = page.words;
/** Words of the struct page array for `n` pfns. */
export const pageArrayWords = (n: number): number => n * STRIDE;

export const pageOf = (k: Kernel, pfn: Pfn): Page => (peek(kernel.pages(k)) + pfn * STRIDE) as Page;
export const pfnOf = (k: Kernel, p: Page): Pfn => (((p - peek(kernel.pages(k))) / STRIDE) | 0) as Pfn;
/** The page whose `lru` node is `node`. */
export const pageOfLru = (node: number): Page => (node - page.lru(0 as Page)) as Page;

/** Level of a page-table page, 0 of any other page. */
export const levelOf = (k: Kernel, pfn: Pfn): number => {
  const bits = (peek(page.flags(pageOf(k, pfn))) & PG_levels) / PG_level1;
  return bits === 0 ? 0 : 32 - Math.clz32(bits);
};
