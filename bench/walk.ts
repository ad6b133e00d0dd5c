/**
 * What does a guest access cost that the TLB does not have? `arg`: pages, and `touch` for stores whose entries still lack
 * accessed and dirty. Two pages a TLB apart take turns, so that each access misses, walks and fills.
 */
import { mfnWord, type Va } from '../src/abi/frames.js';
import { PAGE_ACCESSED, PAGE_DIRTY } from '../src/abi/pte.js';
import { TLB_SLOTS } from '../src/machine/layout.js';
import { words } from '../src/ops/memory.js';
import { run } from '../src/sync/primitives.js';
import type { Steps } from '../src/sync/steps.js';
import type { Vcpu } from '../src/vcpu/guest-cpu.js';
import type { Measure } from './measure.js';
import { makeWorld, pageVa, shuffle } from './world.js';

const ACCESSES = 65536;

/** Pages 0 .. count-1, in a random order of pairs that share a slot. */
function missingOrder(count: number): number[] {
  const pairs = Array.from(
    { length: count / 2 },
    (_, i) => (i & (TLB_SLOTS - 1)) + 2 * TLB_SLOTS * Math.floor(i / TLB_SLOTS),
  );
  shuffle(pairs);
  return pairs.flatMap((n) => [n, n + TLB_SLOTS]);
}

/** All addresses once; functions of their own, so that they are compiled whole and not in the middle of a loop. */
function* loads(g: Vcpu, addresses: Float64Array, from: number): Steps<number> {
  let sum = from | 0;
  for (let i = 0; i < addresses.length; i++) sum = (sum + (yield* g.load(addresses[i] as Va))) | 0;
  return sum;
}
function* stores(g: Vcpu, addresses: Float64Array): Steps<void> {
  for (let i = 0; i < addresses.length; i++) yield* g.store(addresses[i] as Va, i, 0);
}

export function prepare(arg: string): Measure {
  const [count, kind] = arg.split(' ');
  const pages = Number(count);
  const touch = kind === 'touch';
  const { g, base, data } = makeWorld(pages);
  data.forEach((mfn, i) => {
    words[mfnWord(mfn)] = i;
  });
  const addresses = Float64Array.from(missingOrder(pages), (n) => pageVa(n));
  const times = touch ? 1 : Math.max(1, ACCESSES / pages);
  const clear = (): void => {
    for (const l1 of base.l1s) {
      for (let i = 0; i < 1024; i += 2) {
        const a = mfnWord(l1) + i;
        words[a] = (words[a] as number) & ~(PAGE_ACCESSED | PAGE_DIRTY);
      }
    }
  };
  return {
    ops: pages * times,
    reset: touch ? clear : () => undefined,
    run: () =>
      run(function* () {
        let sum = 0;
        for (let k = 0; k < times; k++) {
          if (touch) yield* stores(g, addresses);
          else sum = yield* loads(g, addresses, sum);
        }
        return sum;
      }),
  };
}
