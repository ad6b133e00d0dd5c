/** The kernel `walkFill` in plain TypeScript: the oracle of the WebAssembly one. */
import { l1Index, l2Index, l3Index, l4Index, mfnWord, type Mfn, type Va } from '../../abi/frames.js';
import { FRAME_HI, PAGE_ACCESSED, PAGE_DIRTY, PAGE_PRESENT, PAGE_PSE, PAGE_RW, PAGE_USER } from '../../abi/pte.js';
import { peek, poke } from '../../sync/primitives.js';
import { fillSlot } from '../tlb-slot.js';
import { ACCESS_EXEC, ACCESS_WRITE, answer } from '../walk.js';

/** What an entry above the leaf must have. */
const USED = PAGE_PRESENT | PAGE_USER | PAGE_ACCESSED;

export function walkFill(
  va: number,
  root: number,
  slot: number,
  keys: number,
  access: number,
  _table: number,
  frames: number,
): number {
  const isMemory = (at: number): boolean => (peek(at + 1) & FRAME_HI) === 0 && peek(at) >>> 12 < frames;
  if (root < 0) return -1;
  let at = mfnWord(root as Mfn) + 2 * l4Index(va as Va);
  let rights = -1;
  let nx = 0;
  for (const index of [l3Index, l2Index, l1Index]) {
    const lo = peek(at);
    if ((lo & USED) !== USED || (lo & PAGE_PSE) !== 0 || !isMemory(at)) return -1;
    rights &= lo;
    nx |= peek(at + 1);
    at = mfnWord((lo >>> 12) as Mfn) + 2 * index(va as Va);
  }
  rights &= peek(at);
  nx |= peek(at + 1);
  const write = (access & ACCESS_WRITE) !== 0;
  const wanted = PAGE_PRESENT | PAGE_USER | (write ? PAGE_RW : 0);
  if ((rights & wanted) !== wanted || !isMemory(at) || ((access & ACCESS_EXEC) !== 0 && nx < 0)) return -1;
  const lo = peek(at) | PAGE_ACCESSED | (write ? PAGE_DIRTY : 0);
  poke(at, lo);
  return fillSlot(keys, slot, va as Va, answer(lo, rights, nx), root as Mfn);
}
