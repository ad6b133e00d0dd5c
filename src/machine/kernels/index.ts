/**
 * The kernels of this build: WebAssembly where threads run, the plain twin where one thread runs them all.
 *
 * In the controlled build they hide the points between their references: use them there on still machines only.
 */
import { BUILD } from '../../sync/primitives.js';
import { twin } from './twin.js';
import { wasmKernels } from './wasm.js';

export { CHANGED_HANDS, STORED_NEXT, TAKEN_NEXT } from './kernels.js';

const build: string = BUILD;

export const { walkFill, validateL1, unvalidateL1, updateL1, countPresent, listPresent, zeroPage, copyPage } =
  build === 'controlled' ? twin : wasmKernels();
