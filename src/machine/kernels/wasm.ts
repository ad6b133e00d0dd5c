/** The kernels as WebAssembly over this isolate's memory. */
import { memory } from '../../ops/memory.js';
import type { Kernels } from './kernels.js';
import { bytes } from './kernels.wat.gen.js';

export function wasmKernels(): Kernels {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  return instance.exports as unknown as Kernels;
}
