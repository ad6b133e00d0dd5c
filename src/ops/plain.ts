/**
 * Ops as plain loads and stores: the controlled build runs one thread, so nothing can come between.
 *
 * Invariant: whatever changes a word marks its chunk, so that a snapshot knows what to put back.
 * Source: reference performance.md 1.5 (plain ops run the core at 0.2-0.6 of atomic C).
 */
import { mark, markRange } from './dirty.js';
import { doubles, words } from './memory.js';

const high = new Int32Array(1);
const at = (a: number): number => words[a] as number;

export const ld = at;
export const ldPlain = at;
export const st = (a: number, v: number): void => {
  mark(a);
  words[a] = v;
};
export const cas = (a: number, old: number, next: number): number => {
  const was = at(a);
  if (was === (old | 0)) {
    mark(a);
    words[a] = next;
  }
  return was;
};
export const add = (a: number, v: number): number => {
  const was = at(a);
  mark(a);
  words[a] = was + v;
  return was;
};
export const and = (a: number, v: number): number => {
  const was = at(a);
  mark(a);
  words[a] = was & v;
  return was;
};
export const or = (a: number, v: number): number => {
  const was = at(a);
  mark(a);
  words[a] = was | v;
  return was;
};
export const xchg = (a: number, v: number): number => {
  const was = at(a);
  mark(a);
  words[a] = v;
  return was;
};
export const cas16 = (h: number, old: number, next: number): number => {
  const a = h >>> 1;
  const shift = (h & 1) << 4;
  const was = (at(a) >>> shift) & 0xffff;
  if (was === (old & 0xffff)) {
    mark(a);
    words[a] = (at(a) & ~(0xffff << shift)) | ((next & 0xffff) << shift);
  }
  return was;
};
export const ld64 = (a: number): number => {
  high[0] = at(a + 1);
  return at(a);
};
export const hi64 = (): number => high[0] as number;
export const st64 = (a: number, lo: number, hi: number): void => {
  mark(a);
  mark(a + 1);
  words[a] = lo;
  words[a + 1] = hi;
};
/** Of an even address: both words as one number. */
export const ldDouble = (a: number): number => doubles[a >>> 1] as number;
export const stDouble = (a: number, v: number): void => {
  mark(a);
  doubles[a >>> 1] = v;
};
export const stPlain = st;
export const stPlain64 = st64;
export const xchg64 = (a: number, lo: number, hi: number): number => {
  const was = ld64(a);
  st64(a, lo, hi);
  return was;
};
export const cas64 = (a: number, oldLo: number, oldHi: number, lo: number, hi: number): number => {
  if (at(a) !== (oldLo | 0) || at(a + 1) !== (oldHi | 0)) return 0;
  st64(a, lo, hi);
  return 1;
};
export const fill = (a: number, n: number): void => {
  markRange(a, n);
  words.fill(0, a, a + n);
};
export const copy = (to: number, from: number, n: number): void => {
  markRange(to, n);
  words.copyWithin(to, from, from + n);
};
