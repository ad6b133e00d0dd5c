/**
 * Known wrong: design (d) whose slots are empty when they are 0, as a fresh page is.
 *
 * Breaks [X47]: 0 is a handle like any other, the first one Xen gives out. Its slot looks empty, so nobody unmaps it and
 * the unpin drops the frame's reference: I10, and I16 while the process lives.
 */
import { NO_HANDLE } from '../drivers/gntdev/map.js';
import type { TeardownDesign } from './design.js';
import { makePrivatePage, ownField } from './private-page.js';
import { handleArray } from './slot-layouts.js';
import type { SlotLayout } from './slots.js';

const zeroMeansEmpty: SlotLayout = Object.freeze({
  ...handleArray,
  empty: 0,
  decode: (word: number) => (word === 0 ? NO_HANDLE : word),
});

export const privateZeroBuggy: TeardownDesign = makePrivatePage('private-zero-buggy', zeroMeansEmpty, ownField);
