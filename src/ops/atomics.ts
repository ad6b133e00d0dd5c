/**
 * Ops through the JS Atomics: the oracle of the shim's tests, and the fallback where WebAssembly threads are missing.
 *
 * A 64-bit operation on two words needs one instruction that JS has only for BigInt; it is slow here and right.
 */
import { memory, words } from './memory.js';

const halves = new Uint16Array(memory.buffer);
const longs = new BigInt64Array(memory.buffer);
const high = new Int32Array(1);

/** Signed, as BigInt64Array answers it, so that the two can be compared. */
const join = (lo: number, hi: number): bigint => (BigInt(hi | 0) << BigInt(32)) | BigInt(lo >>> 0);
const split = (v: bigint): number => {
  high[0] = Number(BigInt.asIntN(32, v >> BigInt(32)));
  return Number(BigInt.asIntN(32, v));
};

export const ld = (a: number): number => Atomics.load(words, a);
export const st = (a: number, v: number): void => {
  Atomics.store(words, a, v);
};
export const ldPlain = ld;
export const cas = (a: number, old: number, next: number): number => Atomics.compareExchange(words, a, old, next);
export const add = (a: number, v: number): number => Atomics.add(words, a, v);
export const and = (a: number, v: number): number => Atomics.and(words, a, v);
export const or = (a: number, v: number): number => Atomics.or(words, a, v);
export const xchg = (a: number, v: number): number => Atomics.exchange(words, a, v);
export const cas16 = (h: number, old: number, next: number): number => Atomics.compareExchange(halves, h, old, next);
export const ld64 = (a: number): number => split(Atomics.load(longs, a >>> 1));
export const hi64 = (): number => high[0] ?? 0;
export const st64 = (a: number, lo: number, hi: number): void => {
  Atomics.store(longs, a >>> 1, join(lo, hi));
};
export const stPlain = st;
export const stPlain64 = st64;
export const xchg64 = (a: number, lo: number, hi: number): number =>
  split(Atomics.exchange(longs, a >>> 1, join(lo, hi)));
export const cas64 = (a: number, oldLo: number, oldHi: number, lo: number, hi: number): number => {
  const old = join(oldLo, oldHi);
  return Atomics.compareExchange(longs, a >>> 1, old, join(lo, hi)) === old ? 1 : 0;
};
export const fill = (a: number, n: number): void => {
  for (let i = 0; i < n; i++) Atomics.store(words, a + i, 0);
};
export const copy = (to: number, from: number, n: number): void => {
  const back = to > from;
  for (let k = 0; k < n; k++) {
    const i = back ? n - 1 - k : k;
    Atomics.store(words, to + i, Atomics.load(words, from + i));
  }
};
