/**
 * Design (d) with 'restore the backing' in the top bit of each handle ([Q4]).
 *
 * It holds while handles stay below 2^31 - 1; a grant under a handle that does not fit is unmapped again at once.
 * Lock: the PTE lock. Source: section 5 (d) of the Xen reference.
 */
import type { TeardownDesign } from './design.js';
import { makePrivatePage, ownField } from './private-page.js';
import { flaggedHandles } from './slot-layouts.js';

export const privateFlags: TeardownDesign = makePrivatePage('private-flags', flaggedHandles, ownField);
