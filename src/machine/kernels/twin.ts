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
import { walkFill } from './twin-walk.js';

const WRITABLE = PGT_writable_page | PGT_validated;
const isWritable = (type: number): boolean => (type & (PGT_type_mask | PGT_validated)) === WRITABLE;
/** Address of the frame record that a present entry names, or -1: not memory. */
function recordOf(slot: number, table: number, frames: number): number {
  const lo = peek(slot);
  return (peek(slot + 1) & FRAME_HI) !== 0 || lo >>> 12 >= frames ? -1 : table + 4 * (lo >>> 12);
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
    if ((peek(slot) & PAGE_PRESENT) === 0) continue;
    if ((peek(slot) & badLo) !== 0 || (peek(slot + 1) & badHi) !== 0 || !get(slot, owner, table, frames)) return i;
    adjust(slot);
  }
  return ENTRIES;
}

/** Takes the references of the entry at `slot`; false: not a common case, nothing taken. */
function get(slot: number, owner: number, table: number, frames: number): boolean {
  const r = recordOf(slot, table, frames);
  if (r < 0 || (peek(r + 2) & OWNER_MASK) !== owner || ((peek(r) + 2) & PGC_count_mask) <= 2) return false;
  if ((peek(slot) & PAGE_RW) !== 0) {
    const type = peek(r + 1);
    if (!isWritable(type) || (type & PGT_count_mask) === PGT_count_mask) return false;
    poke(r + 1, type + 1);
  }
  poke(r, peek(r) + 1);
  return true;
}

/** Whether `put` may drop the references of the entry at `slot`. */
function droppable(slot: number, table: number, frames: number, badHi: number): boolean {
  const r = recordOf(slot, table, frames);
  if (r < 0 || (peek(slot + 1) & badHi) !== 0) return false;
  if ((peek(r) & PGC_count_mask) <= 1 || (peek(r) & PGC_xen_heap) !== 0) return false;
  if ((peek(slot) & PAGE_RW) === 0) return true;
  const type = peek(r + 1);
  const count = type & PGT_count_mask;
  return isWritable(type) && count !== 0 && (count !== 2 || (peek(r) & PGT_locked) === 0);
}

function put(slot: number, table: number, frames: number, clock: number): void {
  const r = recordOf(slot, table, frames);
  if ((peek(slot) & PAGE_RW) !== 0) {
    if ((peek(r + 1) & PGT_count_mask) === 1) poke(r + 3, peek(clock));
    poke(r + 1, peek(r + 1) - 1);
  }
  poke(r, peek(r) - 1);
}

function store(a: number, lo: number, hi: number): void {
  poke(a, lo);
  poke(a + 1, hi);
}

function adjust(slot: number): void {
  const lo = peek(slot);
  const hi = peek(slot + 1);
  store(slot, adjustedLo(lo, hi), adjustedHi(lo, hi));
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
    if ((peek(slot) & PAGE_PRESENT) === 0) continue;
    if (!droppable(slot, table, frames, badHi)) return i;
    put(slot, table, frames, clock);
  }
  return to;
}

function updateL1(
  reqs: number,
  count: number,
  mfn: number,
  owner: number,
  table: number,
  frames: number,
  badLo: number,
  badHi: number,
  clock: number,
): number {
  for (let i = 0; i < count; i++) {
    const q = reqs + 4 * i;
    const ptr = peek(q);
    if (peek(q + 1) !== 0 || ptr >>> 12 !== mfn || (ptr & 7) !== 0) return i;
    const slot = ptr >>> 2;
    const present = (peek(q + 2) & PAGE_PRESENT) !== 0;
    if (present && ((peek(q + 2) & badLo) !== 0 || (peek(q + 3) & badHi) !== 0)) return i;
    const lo = present ? adjustedLo(peek(q + 2), peek(q + 3)) : peek(q + 2);
    const hi = present ? adjustedHi(peek(q + 2), peek(q + 3)) : peek(q + 3);
    if (present && !differs(slot, lo, hi)) {
      store(slot, lo, hi);
      continue;
    }
    const drops = (peek(slot) & PAGE_PRESENT) !== 0;
    if (drops && !droppable(slot, table, frames, badHi)) return i;
    if (present && !get(q + 2, owner, table, frames)) return i;
    if (drops) put(slot, table, frames, clock);
    store(slot, lo, hi);
  }
  return count;
}

/** Whether the entry at `slot` differs from (lo, hi) in more than flags that no reference hangs on ([X18]). */
const differs = (slot: number, lo: number, hi: number): boolean =>
  ((peek(slot) ^ lo) & 0xfffff09b) !== 0 || ((peek(slot + 1) ^ hi) & FRAME_HI) !== 0;

const adjustedLo = (lo: number, hi: number): number =>
  (lo & PAGE_USER) === 0 || (hi & PAGE_GUEST_KERNEL_HI) !== 0 ? lo | PAGE_USER : lo | PAGE_GLOBAL;
const adjustedHi = (lo: number, hi: number): number => ((lo & PAGE_USER) === 0 ? hi | PAGE_GUEST_KERNEL_HI : hi);

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
  walkFill,
  validateL1,
  unvalidateL1,
  updateL1,
  countPresent,
  listPresent,
  zeroPage,
  copyPage,
});
