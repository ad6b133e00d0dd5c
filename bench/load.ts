/** What does a guest's 64-bit load cost when the TLB has it? `arg`: pages touched. */
import type { Va } from '../src/abi/frames.js';
import { mfnWord, type Mfn } from '../src/abi/frames.js';
import { words } from '../src/ops/memory.js';
import { hi64, run } from '../src/sync/primitives.js';
import type { Steps } from '../src/sync/steps.js';
import type { Vcpu } from '../src/vcpu/guest-cpu.js';
import type { Measure } from './measure.js';
import { makeWorld, pageVa, xorshift } from './world.js';

const ADDRESSES = 4096;
const TIMES = 100;
const addresses = new Float64Array(ADDRESSES);

/** All addresses once; a function of its own, so that it is compiled whole and not in the middle of its loop. */
function* pass(g: Vcpu, from: number): Steps<number> {
  let sum = from | 0;
  for (let i = 0; i < ADDRESSES; i++) {
    const lo = yield* g.load(addresses[i] as Va);
    sum = (sum + (lo ^ hi64())) | 0;
  }
  return sum;
}

export function prepare(arg: string): Measure {
  const pages = Number(arg);
  const { g, data } = makeWorld(pages);
  for (let i = 0; i < pages * 1024; i++) words[mfnWord(data[i >> 10] as Mfn) + (i & 1023)] = Math.imul(i, 2654435761);
  const next = xorshift();
  for (let i = 0; i < ADDRESSES; i++) addresses[i] = pageVa(next() % pages, (next() & 511) * 8);
  return {
    ops: ADDRESSES * TIMES,
    run: () =>
      run(function* () {
        let sum = 0;
        for (let k = 0; k < TIMES; k++) sum = yield* pass(g, sum);
        return sum;
      }),
  };
}
