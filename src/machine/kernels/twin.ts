/**
 * The kernels in plain TypeScript: the oracle of the WebAssembly ones, and what the controlled build has in their place.
 *
 * Invariant: correct on one thread only, like every plain operation; word for word what `kernels.wat` does there.
 */
import { PAGE_WORDS } from '../../abi/frames.js';
import {
  ENTRIES,
  FRAME_HI,
  PAGE_GLOBAL,
  PAGE_GUEST_KERNEL_HI,
  PAGE_PRESENT,
  PAGE_RW,
  PAGE_USER,
} from '../../abi/pte.js';
import { peek, poke } from '../../sync/primitives.js';
import {
  OWNER_MASK,
  PGC_count_mask,
  PGC_xen_heap,
  PGT_count_mask,
  PGT_locked,
  PGT_type_mask,
  PGT_validated,
  PGT_writable_page,
} from '../frame.js';
import type { Kernels } from './kernels.js';

const WRITABLE = PGT_writable_page | PGT_validated;
const isWritable = (type: number): boolean => (type & (PGT_type_mask | PGT_validated)) === WRITABLE;
/** Address of the frame record that a present entry names, or -1: not memory, or flags not for here. */
function recordOf(slot: number, table: number, frames: number, badLo: number, badHi: number): number {
  const lo = peek(slot);
  if ((lo & badLo) !== 0 || (peek(slot + 1) & (badHi | FRAME_HI)) !== 0 || lo >>> 12 >= frames) return -1;
  return table + 4 * (lo >>> 12);
}

function validateL1(
  base: number,
  from: number,
  owner: number,
  table: number,
  frames: number,
  badLo: number,
  badHi: number,
): number {
  for (let i = from; i < ENTRIES; i++) {
    const slot = base + 2 * i;
    const lo = peek(slot);
    if ((lo & PAGE_PRESENT) === 0) continue;
    const r = recordOf(slot, table, frames, badLo, badHi);
    if (r < 0 || (peek(r + 2) & OWNER_MASK) !== owner || ((peek(r) + 2) & PGC_count_mask) <= 2) return i;
    if ((lo & PAGE_RW) !== 0) {
      const type = peek(r + 1);
      if (!isWritable(type) || (type & PGT_count_mask) === PGT_count_mask) return i;
      poke(r + 1, type + 1);
    }
    poke(r, peek(r) + 1);
    adjust(slot);
  }
  return ENTRIES;
}

function adjust(slot: number): void {
  const lo = peek(slot);
  const hi = peek(slot + 1);
  if ((lo & PAGE_USER) === 0) {
    poke(slot, lo | PAGE_USER);
    poke(slot + 1, hi | PAGE_GUEST_KERNEL_HI);
  } else if ((hi & PAGE_GUEST_KERNEL_HI) === 0) {
    poke(slot, lo | PAGE_GLOBAL);
  }
}

function unvalidateL1(
  base: number,
  from: number,
  to: number,
  table: number,
  frames: number,
  badHi: number,
  clock: number,
): number {
  for (let i = from; i < to; i++) {
    const slot = base + 2 * i;
    const lo = peek(slot);
    if ((lo & PAGE_PRESENT) === 0) continue;
    const r = recordOf(slot, table, frames, 0, badHi);
    if (r < 0 || (peek(r) & PGC_count_mask) <= 1 || (peek(r) & PGC_xen_heap) !== 0) return i;
    if ((lo & PAGE_RW) !== 0) {
      const type = peek(r + 1);
      const count = type & PGT_count_mask;
      if (!isWritable(type) || count === 0 || (count === 2 && (peek(r) & PGT_locked) !== 0)) return i;
      if (count === 1) poke(r + 3, peek(clock));
      poke(r + 1, type - 1);
    }
    poke(r, peek(r) - 1);
  }
  return to;
}

function countPresent(base: number): number {
  let n = 0;
  for (let i = 0; i < ENTRIES; i++) n += peek(base + 2 * i) & PAGE_PRESENT;
  return n;
}

function listPresent(base: number, out: number): number {
  let n = 0;
  for (let i = 0; i < ENTRIES; i++) if ((peek(base + 2 * i) & PAGE_PRESENT) !== 0) poke(out + n++, i);
  return n;
}

function zeroPage(base: number): void {
  for (let i = 0; i < PAGE_WORDS; i++) poke(base + i, 0);
}

function copyPage(to: number, from: number): void {
  for (let i = 0; i < PAGE_WORDS; i++) poke(to + i, peek(from + i));
}

export const twin: Kernels = Object.freeze({
  validateL1,
  unvalidateL1,
  countPresent,
  listPresent,
  zeroPage,
  copyPage,
});
