/**
 * Ops through the WebAssembly shim: the default of the parallel build.
 *
 * A 64-bit answer leaves its high word in `high`, this thread's own. On x86-64, where a plain load is as strong as an
 * atomic one, `ld64` reads the halves by plain loads and the low one again: two calls into the shim less
 * (`npm run bench -- load`). It could be fooled only by a word that changes and changes back between three loads in a
 * row; elsewhere the shim's one load is used.
 */
import { memory, words } from './memory.js';
import type { Ops } from './ops.js';
import { bytes } from './shim.wat.gen.js';

const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
const shim = instance.exports as unknown as Ops;
const high = new Int32Array(1);
const memoryWords = words;

export const { ld, st, cas, add, and, or, xchg, cas16, st64, cas64, fill, copy } = shim;

function ld64Plain(a: number): number {
  const lo = memoryWords[a] as number;
  high[0] = memoryWords[a + 1] as number;
  return memoryWords[a] === lo ? lo : ld64Plain(a);
}
function ld64Shim(a: number): number {
  const lo = shim.ld64(a);
  high[0] = shim.hi64();
  return lo;
}
export const ld64 = process.arch === 'x64' ? ld64Plain : ld64Shim;
export const hi64 = (): number => high[0] as number;
export const xchg64 = (a: number, lo: number, hi: number): number => {
  const was = shim.xchg64(a, lo, hi);
  high[0] = shim.hi64();
  return was;
};
