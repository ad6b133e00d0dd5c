/**
 * Ops through the WebAssembly shim: the default of the parallel build.
 *
 * A 64-bit answer leaves its high word in `halves`, this thread's own. On x86-64, where a plain load is as strong as an
 * atomic one, `ld64` moves the eight bytes as a double, which is one load and spares two calls into the shim
 * (`npm run bench:native -- load`). Bits that would be no number go through the shim, for an engine may alter them.
 */
import { doubles, memory, words } from './memory.js';
import type { Ops } from './ops.js';
import { bytes } from './shim.wat.gen.js';

const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
const shim = instance.exports as unknown as Ops;

export const { ld, st, cas, add, and, or, xchg, cas16, st64, cas64, fill, copy } = shim;

const double = new Float64Array(1);
/** Low and high word of the last 64-bit answer. */
const halves = new Int32Array(double.buffer);

function ld64Shim(a: number): number {
  const lo = shim.ld64(a);
  halves[1] = shim.hi64();
  return lo;
}
function ld64Double(a: number): number {
  const d = doubles[a >>> 1] as number;
  double[0] = d;
  return Number.isNaN(d) ? ld64Shim(a) | 0 : (halves[0] as number);
}
/** On x86-64 plain loads and stores are in order with the others; elsewhere they would be less than that. */
const ORDERED = process.arch === 'x64';
export const ld64 = ORDERED ? ld64Double : ld64Shim;
export const ldPlain = ORDERED ? (a: number): number => words[a] as number : shim.ld;
export const stPlain = ORDERED
  ? (a: number, v: number): void => {
      words[a] = v;
    }
  : shim.st;
/** Clearing needs no call into the shim: a zero is one double's store. Other bits might be no number. */
function stPlain64Double(a: number, lo: number, hi: number): void {
  if ((lo | hi) === 0) doubles[a >>> 1] = 0;
  else shim.stPlain64(a, lo, hi);
}
export const stPlain64 = ORDERED ? stPlain64Double : shim.st64;
export const hi64 = (): number => halves[1] as number;
export const xchg64 = (a: number, lo: number, hi: number): number => {
  const was = shim.xchg64(a, lo, hi);
  halves[1] = shim.hi64();
  return was;
};
