/**
 * The layouts of design (d)'s slots that the 2008 thread discussed.
 *
 * Facts [Q1], [Q2], [Q4]: a handle alone takes 2,048 bytes; (domid, ref, handle) takes 12 aligned bytes, 6,144 in all, two
 * pages; a flag 'restore the backing' fits in a handle's top bit only while handles stay below 2^31, or in 64 bytes beside.
 * Lock: the PTE lock. Source: section 5 (d) of the Xen reference.
 */
import type { Pfn } from '../../src/abi/frames.js';
import { ENTRIES } from '../../src/abi/pte.js';
import { ld } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { GE_DOMID, GE_REF, NO_HANDLE } from '../drivers/gntdev/map.js';
import type { KernelCpu } from '../kernel/context.js';
import { loadSlotWord, storeSlotWord, type SlotLayout } from './slots.js';

function* nothing(): Steps<void> {
  return;
}
function* yes(): Steps<boolean> {
  return true;
}

/** 512 handles; ~0 is none. */
export const handleArray: SlotLayout = Object.freeze({
  words: ENTRIES,
  empty: NO_HANDLE,
  handleWord: (i: number) => i,
  decode: (word: number) => word,
  fits: (handle: number) => handle !== NO_HANDLE,
  encode: (handle: number) => handle,
  note: nothing,
  agrees: yes,
});

const TUPLE_WORDS = 3;

/** (domid, ref, handle): nothing more is needed to unmap than the handle; the rest names the grant in a log. */
export const tupleArray: SlotLayout = Object.freeze({
  ...handleArray,
  words: TUPLE_WORDS * ENTRIES,
  handleWord: (i: number) => TUPLE_WORDS * i + 2,
  *note(c: KernelCpu, s: Pfn, i: number, e: number): Steps<void> {
    yield* storeSlotWord(c, s, TUPLE_WORDS * i, yield* ld(e + GE_DOMID));
    yield* storeSlotWord(c, s, TUPLE_WORDS * i + 1, yield* ld(e + GE_REF));
  },
  *agrees(c: KernelCpu, s: Pfn, i: number, e: number): Steps<boolean> {
    const domid = yield* loadSlotWord(c, s, TUPLE_WORDS * i);
    const ref = yield* loadSlotWord(c, s, TUPLE_WORDS * i + 1);
    return domid === (yield* ld(e + GE_DOMID)) && ref === (yield* ld(e + GE_REF));
  },
});

const RESTORES = 1 << 31;

/** The flag in the handle's top bit; a handle that has that bit, or would look empty with it, does not fit. */
export const flaggedHandles: SlotLayout = Object.freeze({
  ...handleArray,
  decode: (word: number) => (word === NO_HANDLE ? NO_HANDLE : word & ~RESTORES),
  fits: (handle: number) => handle >= 0 && handle !== (NO_HANDLE & ~RESTORES),
  encode: (handle: number, restores: boolean) => (restores ? handle | RESTORES : handle),
  *agrees(c: KernelCpu, s: Pfn, i: number, _e: number, restores: boolean): Steps<boolean> {
    return (((yield* loadSlotWord(c, s, i)) & RESTORES) !== 0) === restores;
  },
});

const BITMAP_WORDS = ENTRIES / 32;
const bitmapWord = (i: number): number => ENTRIES + (i >>> 5);

/** The flag in a bitmap of 64 bytes behind the handles, which stay whole. */
export const handlesAndBitmap: SlotLayout = Object.freeze({
  ...handleArray,
  words: ENTRIES + BITMAP_WORDS,
  *note(c: KernelCpu, s: Pfn, i: number, _e: number, restores: boolean): Steps<void> {
    const was = yield* loadSlotWord(c, s, bitmapWord(i));
    const bit = 1 << (i & 31);
    yield* storeSlotWord(c, s, bitmapWord(i), restores ? was | bit : was & ~bit);
  },
  *agrees(c: KernelCpu, s: Pfn, i: number, _e: number, restores: boolean): Steps<boolean> {
    return (((yield* loadSlotWord(c, s, bitmapWord(i))) & (1 << (i & 31))) !== 0) === restores;
  },
});
