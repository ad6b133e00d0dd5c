/** Ops through the WebAssembly shim: the default of the parallel build. */
import { memory } from './memory.js';
import type { Ops } from './ops.js';
import { bytes } from './shim.wat.gen.js';

const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
const shim = instance.exports as unknown as Ops;

export const { ld, st, cas, add, and, or, xchg, cas16, ld64, hi64, st64, xchg64, cas64, fill, copy } =
  shim;
