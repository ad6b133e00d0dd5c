/**
 * Design (d) with (domid, ref, handle) in each slot: what a log wants to name, not what an unmap needs ([Q1], [Q2]).
 *
 * 12 bytes a slot, 6,144 for a PTE page: two pages, the second behind the first one's `private`. Memory for either may be
 * short, and then the mmap is refused. Lock: the PTE lock. Source: section 5 (d) of the Xen reference.
 */
import type { TeardownDesign } from './design.js';
import { makePrivatePage, ownField } from './private-page.js';
import { tupleArray } from './slot-layouts.js';

export const privateTuples: TeardownDesign = makePrivatePage('private-tuples', tupleArray, ownField);
