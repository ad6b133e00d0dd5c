/**
 * Machine-to-physical table: 8 bytes per machine frame, in frames owned by DOMID_XEN that guests may map read-only.
 *
 * Invariant: an entry is all ones while its frame is nobody's; else it is what the owner last declared.
 * Lock: none; an entry is one 64-bit store.
 * Source: set_gpfn_from_mfn, INVALID_M2P_ENTRY; [X77].
 */
import { PAGE_WORDS, type Mfn } from '../abi/frames.js';
import { FRAMES } from '../machine/layout.js';
import { peek, st64 } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { globals } from './globals.js';

/** Entries a frame of the table holds. */
export const M2P_PER_FRAME = PAGE_WORDS / 2;
/** Frames the whole table takes. */
export const M2P_FRAMES = Math.ceil(FRAMES / M2P_PER_FRAME);

/** Address of the entry of `mfn` (two words). */
export const m2pEntry = (mfn: Mfn): number => peek(globals.m2pFirst) * PAGE_WORDS + mfn * 2;

export function* setM2p(mfn: Mfn, lo: number, hi: number): Steps<void> {
  yield* st64(m2pEntry(mfn), lo, hi);
}
export function* setM2pInvalid(mfn: Mfn): Steps<void> {
  yield* st64(m2pEntry(mfn), -1, -1);
}
