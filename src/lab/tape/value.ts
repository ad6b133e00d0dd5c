/**
 * 64-bit values of tapes: parsed from hex into two words, never into a number.
 *
 * Invariant: `lo` and `hi` are signed 32-bit words; a value that names a frame keeps its flags apart from the frame,
 * because the frame's number is known only when the tape runs.
 * Source: tapes FORMAT.md (symbols in inputs), DESIGN decision 2.
 */

/** A 64-bit value as two words. */
export interface Word64 {
  readonly lo: number;
  readonly hi: number;
}

/** What a tape writes where a 64-bit value or a page-table entry stands. */
export type TapeValue = string | { readonly f: string; readonly fl: string };

export const HEX = /^0x[0-9a-fA-F]{1,16}$/;
export const ZERO64: Word64 = { lo: 0, hi: 0 };

/** `0x…` of up to 16 digits; the caller has checked the shape. */
export function parseHex(text: string): Word64 {
  const digits = text.slice(2).padStart(16, '0');
  return { lo: Number.parseInt(digits.slice(8), 16) | 0, hi: Number.parseInt(digits.slice(0, 8), 16) | 0 };
}

export function hex64(lo: number, hi: number): string {
  const low = (lo >>> 0).toString(16);
  return hi === 0 ? `0x${low}` : `0x${(hi >>> 0).toString(16)}${low.padStart(8, '0')}`;
}

/** Sum of two 64-bit values, modulo 2^64. */
export function add64(a: Word64, b: Word64): Word64 {
  const lo = (a.lo >>> 0) + (b.lo >>> 0);
  return { lo: lo | 0, hi: (a.hi + b.hi + (lo >= 4294967296 ? 1 : 0)) | 0 };
}

/** A small non-negative integer (below 2^53) as two words. */
export const fromInteger = (n: number): Word64 => ({ lo: n | 0, hi: Math.floor(n / 4294967296) | 0 });
