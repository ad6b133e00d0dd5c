/**
 * One slot of a TLB: what it says and how it is filled.
 *
 *   words 0, 1  tag for reads: the page's address and above it the key, 52 bits as one double; 0 is none
 *   words 2, 3  tag for writes: the same, or 0 while a write would have to walk
 *   word 4      word where the frame starts
 *   word 5      WALK_* answer
 *   word 6      base it was walked from + 1
 *   word 7      owner word of the frame at the fill: another one later means that the frame changed hands under the translation
 *
 * Invariant: a slot is live when its key is the CPU's local or its global one; one comparison tells page and key.
 * Lock: none; only the owner writes its slots. The kernel `walkFill` writes the same words.
 * Source: reference performance.md 2.1, 3. A slot is replaced only by another address with the same va[19:12].
 */
import { mfnWord, type Mfn, type Va } from '../abi/frames.js';
import type { Cpu } from '../sync/actor.js';
import { peek, peekDouble, poke, pokeDouble } from '../sync/primitives.js';
import { vcpu } from './cpu-record.js';
import { ownerWord } from './frame.js';
import { TLB_SLOT_WORDS, TLB_SLOTS } from './layout.js';
import { WALK_GLOBAL, WALK_MFN, WALK_WRITE } from './walk.js';

export const W_TAG = 2;
export const BASE = 4;
export const FLAGS = 5;
const ROOT = 6;
export const OWNER = 7;
const INDEX_MASK = (TLB_SLOTS - 1) * TLB_SLOT_WORDS;
/** Keys count in units of this. */
export const KEY = 2 ** 48;
export const MAX_KEY = 0xfffe;
export const PAGE_OFFSET = 4095;

/** Address of the slot for `va` in the TLB at `tlb` (= `tlbOf`). */
export const slotOf = (tlb: number, va: Va): number => (tlb + ((va >>> 9) & INDEX_MASK)) | 0;

/** Says at `slot` what the walk from `root` answered for `va`, by the `keys` at vcpu.tlbKey; answers the word of `va`. */
export function fillSlot(keys: number, slot: number, va: Va, got: number, root: Mfn): number {
  const offset = va & PAGE_OFFSET;
  const tag = va - offset + peekDouble((got & WALK_GLOBAL) !== 0 ? keys + 2 : keys);
  const base = mfnWord((got & WALK_MFN) as Mfn);
  pokeDouble(slot, tag);
  pokeDouble(slot | W_TAG, (got & WALK_WRITE) !== 0 ? tag : 0);
  poke(slot | BASE, base);
  poke(slot | FLAGS, got);
  poke(slot | ROOT, root + 1);
  poke(slot | OWNER, peek(ownerWord((got & WALK_MFN) as Mfn)));
  return base | (offset >> 2);
}

export function dropSlot(slot: number): void {
  pokeDouble(slot, 0);
  pokeDouble(slot | W_TAG, 0);
}

/** Is the slot at that address a live one of this CPU? */
export function slotIsLive(cpu: Cpu, slot: number): boolean {
  const tag = peekDouble(slot);
  const key = tag - (tag % KEY);
  return key !== 0 && (key === peekDouble(vcpu.tlbKey(cpu)) || key === peekDouble(vcpu.tlbGlobalKey(cpu)));
}

/** The page that the slot translates, its frame, whether a write goes through, and who owned the frame at the fill. */
export const slotPage = (slot: number): Va => (peekDouble(slot) % KEY) as Va;
export const slotMfn = (slot: number): Mfn => (peek(slot | FLAGS) & WALK_MFN) as Mfn;
export const slotIsWritable = (slot: number): boolean => peekDouble(slot | W_TAG) !== 0;
export const slotOwner = (slot: number): number => peek(slot | OWNER);
export const slotRoot = (slot: number): Mfn => (peek(slot | ROOT) - 1) as Mfn;
