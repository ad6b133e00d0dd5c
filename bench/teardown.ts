/**
 * What does clearing a page-table entry cost? `arg`: entries, and `stores` (tables in nobody's use, plain stores), or how
 * many entries of a table in use one hypercall clears.
 */
import { mfnWord, type Mfn, type Va } from '../src/abi/frames.js';
import { countPresent } from '../src/machine/kernels/index.js';
import { run } from '../src/sync/primitives.js';
import type { Steps } from '../src/sync/steps.js';
import type { Vcpu } from '../src/vcpu/guest-cpu.js';
import { clearEntries, pinning } from './hypercalls.js';
import type { Measure } from './measure.js';
import { makeWorld, refill, typeCounts, type World } from './world.js';

/** Clears the entries of the table that `base` shows. */
function* clearTable(g: Vcpu, base: Va): Steps<void> {
  const end = base + 4096;
  for (let va = end - 4096; va < end; va += 8) yield* g.store(va as Va, 0, 0);
}

/** Present entries of the tables. */
const present = (tables: readonly Mfn[]): number => tables.reduce((n, l1) => n + countPresent(mfnWord(l1)), 0);

function plainStores(w: World, entries: number): Measure {
  return {
    ops: entries,
    reset: () => {
      refill(w.other, w.data);
    },
    run: () =>
      run(function* () {
        for (let n = 0; n < entries / 512; n++) yield* clearTable(w.g, w.alias(n));
        return 0;
      }),
    check: () => present(w.other.l1s),
  };
}

function byHypercall(w: World, entries: number, batch: number): Measure {
  const pin = pinning(w);
  return {
    ops: entries,
    reset: () => {
      pin(false);
      refill(w.other, w.data);
      pin(true);
    },
    run: () =>
      run(function* () {
        for (const l1 of w.other.l1s) for (let i = 0; i < 512; i += batch) yield* clearEntries(w, l1, i, batch);
        return 0;
      }),
    check: () => typeCounts(w.data),
  };
}

export function prepare(arg: string): Measure {
  const [count, how] = arg.split(' ');
  const entries = Number(count);
  if (how === 'stores') return plainStores(makeWorld(entries, { aliased: true }), entries);
  return byHypercall(makeWorld(entries), entries, Number(how));
}
