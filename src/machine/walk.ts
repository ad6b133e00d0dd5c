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
import { INVALID_MFN, PAGE_WORDS, mfnWord, type Mfn, type Va } from '../abi/frames.js';
import {
  entryMfn,
  PAGE_ACCESSED,
  PAGE_DIRTY,
  PAGE_GLOBAL,
  PAGE_NX_HI,
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
export const WALK_NX = 1 << 22;

const SLOT = POINT_READ | POINT_ONCE; // raced on purpose: a walk takes no lock
const L3_SPAN = 1 << 30;

/**
 * Translates `va` from the L4 `root` for `access` (ACCESS_* bits), setting A, and D for a write.
 * Answers a WALK_* word, or `~errorCode`. The user bit of the error code is the caller's to add.
 */
export function* walk(root: Mfn, va: Va, access: number): Steps<number> {
  const top = (va / L3_SPAN) | 0;
  const low = (va - top * L3_SPAN) | 0;
  let at = mfnWord(root) + 2 * (top >> 9);
  let allow = PAGE_RW | PAGE_USER;
  let nx = 0;
  let level = 4;
  for (;;) {
    yield* touch(at, 2, SLOT);
    const lo = peek(at);
    const hi = peek(at + 1);
    if (peek(at) !== lo) continue;
    if ((lo & PAGE_PRESENT) === 0) return ~access;
    const mfn = entryMfn(lo, hi, FRAMES);
    if (mfn === INVALID_MFN || (level > 1 && (lo & PAGE_PSE) !== 0)) {
      return ~(access | PFEC_page_present | PFEC_reserved_bit);
    }
    const rights = allow & lo;
    const noExec = nx | (hi & PAGE_NX_HI);
    if (level === 1 && refused(rights, noExec, access)) return ~(access | PFEC_page_present);
    const want = lo | PAGE_ACCESSED | (level === 1 && (access & ACCESS_WRITE) !== 0 ? PAGE_DIRTY : 0);
    if (want !== lo && (yield* cas(at, lo, want)) !== lo) continue;
    if (level === 1) return answer(mfn, want, rights, noExec);
    allow = rights;
    nx = noExec;
    level--;
    at = mfn * PAGE_WORDS + 2 * (level === 3 ? top & 511 : level === 2 ? low >> 21 : (low >> 12) & 511);
  }
}

const refused = (rights: number, nx: number, access: number): boolean =>
  (rights & PAGE_USER) === 0 ||
  ((access & ACCESS_WRITE) !== 0 && (rights & PAGE_RW) === 0) ||
  ((access & ACCESS_EXEC) !== 0 && nx !== 0);

const answer = (mfn: Mfn, lo: number, rights: number, nx: number): number =>
  mfn |
  ((rights & PAGE_RW) !== 0 && (lo & PAGE_DIRTY) !== 0 ? WALK_WRITE : 0) |
  ((lo & PAGE_GLOBAL) !== 0 ? WALK_GLOBAL : 0) |
  (nx !== 0 ? WALK_NX : 0);
