/**
 * The MMU's walk: four levels from a base, permissions as the processor combines them, accessed and dirty set atomically.
 *
 * Invariant: a frame number is followed only when it lies below the machine's frame count.
 * Lock: none; entries change under the walk's feet, so a flag is set by compare-exchange and a lost race re-reads.
 * Source: Intel SDM vol. 3 4.5-4.8; reference performance.md 3 (the reader re-checks the low word); [X27].
 * Differs: no superpages (PV guests cannot have them), which read as reserved bits.
 *
 * Guest kernel and guest user both run at CPL 3: every level must have the user bit, whoever asks.
 */
import { PAGE_WORDS, type Mfn, type Va } from '../abi/frames.js';
import {
  FRAME_HI,
  PAGE_ACCESSED,
  PAGE_DIRTY,
  PAGE_GLOBAL,
  PAGE_PRESENT,
  PAGE_PSE,
  PAGE_RW,
  PAGE_USER,
} from '../abi/pte.js';
import { PFEC_insn_fetch, PFEC_page_present, PFEC_reserved_bit, PFEC_write_access } from '../abi/trap.js';
import { cas, peek, touch } from '../sync/primitives.js';
import { POINT_ONCE, POINT_READ } from '../sync/schedule.js';
import type { Steps } from '../sync/steps.js';
import { FRAMES } from './layout.js';

/** What is asked: the bits of the error code that a refusal will carry. */
export const ACCESS_READ = 0;
export const ACCESS_WRITE = PFEC_write_access;
export const ACCESS_EXEC = PFEC_insn_fetch;

/** A walk's answer: the frame in the low 20 bits, then these; or, negative, `~errorCode`. */
export const WALK_MFN = 0xfffff;
/** A write may use the translation at once: all levels allow it and the entry is dirty already. */
export const WALK_WRITE = 1 << 20;
export const WALK_GLOBAL = 1 << 21;
const GLOBAL_SHIFT = 13;
export const WALK_NX = 1 << 22;

const SLOT = POINT_READ | POINT_ONCE; // raced on purpose: a walk takes no lock
const L3_SPAN = 1 << 30;
/** Frame bits of an entry's low word. */
const FRAME_LO = ~0xfff;
/** What every level must have for the short way. */
const USABLE = PAGE_PRESENT | PAGE_USER | PAGE_ACCESSED;

/**
 * Translates `va` from the L4 `root` for `access` (ACCESS_* bits), setting A, and D for a write.
 * Answers a WALK_* word, or `~errorCode`. The user bit of the error code is the caller's to add.
 */
export function* walk(root: Mfn, va: Va, access: number): Steps<number> {
  const top = (va / L3_SPAN) | 0;
  const low = va | 0;
  let at = root * PAGE_WORDS + ((top >> 8) & 0x3fe);
  let rights = PAGE_RW | PAGE_USER;
  let nx = 0;
  for (let level = 4; level > 1;) {
    yield* touch(at, 2, SLOT);
    const lo = peek(at);
    const hi = peek(at + 1);
    if (peek(at) !== lo) continue;
    if ((lo & PAGE_PRESENT) === 0) return ~access;
    if ((hi & FRAME_HI) !== 0 || lo >>> 12 >= FRAMES || (lo & PAGE_PSE) !== 0) {
      return ~(access | PFEC_page_present | PFEC_reserved_bit);
    }
    if ((lo & PAGE_ACCESSED) === 0 && (yield* cas(at, lo, lo | PAGE_ACCESSED)) !== lo) continue;
    rights &= lo;
    nx |= hi;
    level--;
    const index = level === 3 ? top << 1 : level === 2 ? low >>> 20 : low >>> 11;
    at = ((lo & FRAME_LO) >>> 2) | (index & 0x3fe);
  }
  return yield* leaf(at, rights, nx, access);
}

/** The last level: the entry at `at`, below levels that together give `above`. */
function* leaf(at: number, above: number, nxAbove: number, access: number): Steps<number> {
  const used = (access & ACCESS_WRITE) !== 0 ? PAGE_ACCESSED | PAGE_DIRTY : PAGE_ACCESSED;
  for (;;) {
    yield* touch(at, 2, SLOT);
    const lo = peek(at);
    const hi = peek(at + 1);
    if (peek(at) !== lo) continue;
    if ((lo & PAGE_PRESENT) === 0) return ~access;
    if ((hi & FRAME_HI) !== 0 || lo >>> 12 >= FRAMES) return ~(access | PFEC_page_present | PFEC_reserved_bit);
    const rights = above & lo;
    const nx = nxAbove | hi;
    if (refused(rights, nx, access)) return ~(access | PFEC_page_present);
    if ((lo & used) !== used && (yield* cas(at, lo, lo | used)) !== lo) continue;
    return answer(lo | used, rights, nx);
  }
}

const refused = (rights: number, nx: number, access: number): boolean =>
  (rights & PAGE_USER) === 0 ||
  ((access & ACCESS_WRITE) !== 0 && (rights & PAGE_RW) === 0) ||
  ((access & ACCESS_EXEC) !== 0 && nx < 0);

/** Of a leaf entry's low word, what all levels allow, and their high words together (NX is the sign). */
export const answer = (lo: number, rights: number, nx: number): number =>
  (lo >>> 12) |
  ((rights & PAGE_RW) !== 0 && (lo & PAGE_DIRTY) !== 0 ? WALK_WRITE : 0) |
  ((lo & PAGE_GLOBAL) << GLOBAL_SHIFT) |
  (nx < 0 ? WALK_NX : 0);

/**
 * The walk without a point, for threads: reads all four entries, then judges. Answers the WALK_* word, or -1 when there is
 * anything to set, to refuse or to repeat: then `walk`. A wrong entry leads it nowhere worse than to words it ignores.
 */
export function walkAtOnce(root: Mfn, va: Va): number {
  const top = (va / L3_SPAN) | 0;
  const low = va | 0;
  const a4 = root * PAGE_WORDS + ((top >> 8) & 0x3fe);
  const lo4 = peek(a4);
  const a3 = ((lo4 & FRAME_LO) >>> 2) | ((top << 1) & 0x3fe);
  const lo3 = peek(a3);
  const a2 = ((lo3 & FRAME_LO) >>> 2) | ((low >>> 20) & 0x3fe);
  const lo2 = peek(a2);
  const a1 = ((lo2 & FRAME_LO) >>> 2) | ((low >>> 11) & 0x3fe);
  const lo1 = peek(a1);
  const rights = lo4 & lo3 & lo2 & lo1;
  const hi = peek(a4 + 1) | peek(a3 + 1) | peek(a2 + 1) | peek(a1 + 1);
  if ((rights & USABLE) !== USABLE || ((lo4 | lo3 | lo2) & PAGE_PSE) !== 0 || (hi & FRAME_HI) !== 0) return -1;
  if (lo4 >>> 12 >= FRAMES || lo3 >>> 12 >= FRAMES || lo2 >>> 12 >= FRAMES || lo1 >>> 12 >= FRAMES) return -1;
  if (((lo4 ^ peek(a4)) | (lo3 ^ peek(a3)) | (lo2 ^ peek(a2)) | (lo1 ^ peek(a1))) !== 0) return -1;
  return answer(lo1, rights, hi);
}
