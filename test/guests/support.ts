/** Small things tests of guests share. */
import type { Va } from '../../src/abi/frames.js';

export const addVaBytes = (va: Va, bytes: number): Va => (va + bytes) as Va;
