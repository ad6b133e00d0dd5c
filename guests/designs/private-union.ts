/**
 * Design (d) with its pointer in the field that the 2008 struct page shares with the split PTE lock (hole 4).
 *
 * With split locks the field is the lock: a pointer in it would lock the table for ever, so the design refuses. Without
 * them the word is free, and it is the same word. Lock: the one PTE lock of the mm.
 * Source: section 5 (d), hole 4; Linux 2.6.2x include/linux/mm_types.h (the union of ptl with private and mapping).
 */
import { page, type Page } from '../kernel/page.js';
import type { DesignOptions, TeardownDesign } from './design.js';
import { makePrivatePage } from './private-page.js';
import { handleArray } from './slot-layouts.js';

/** The union: the lock's word. */
const sharedField = (p: Page): number => page.ptl(p);

export const privateUnion: TeardownDesign = Object.freeze({
  ...makePrivatePage('private-union', handleArray, sharedField),
  refuses: (o: DesignOptions) =>
    o.splitPteLocks ? 'with split PTE locks the field it wants in struct page is the PTE lock' : '',
});
