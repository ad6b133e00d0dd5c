/**
 * Design (d) with 'restore the backing' in a bitmap of 64 bytes beside the handles, which keep all their bits ([Q4]).
 *
 * Lock: the PTE lock. Source: section 5 (d) of the Xen reference.
 */
import type { TeardownDesign } from './design.js';
import { makePrivatePage, ownField } from './private-page.js';
import { handlesAndBitmap } from './slot-layouts.js';

export const privateBitmap: TeardownDesign = makePrivatePage('private-bitmap', handlesAndBitmap, ownField);
