/** What does pinning (or unpinning) a whole tree cost, per L1 entry? `arg`: pages, and `pin` or `unpin`. */
import { MMUEXT_PIN_L4_TABLE, MMUEXT_UNPIN_TABLE } from '../src/abi/mmu.js';
import { run } from '../src/sync/primitives.js';
import { mmuext } from './hypercalls.js';
import type { Measure } from './measure.js';
import { makeWorld, typeCounts } from './world.js';

export function prepare(arg: string): Measure {
  const [count, what] = arg.split(' ');
  const w = makeWorld(Number(count));
  const pins = what === 'pin';
  let pinned = false;
  const set = (to: boolean): void => {
    if (pinned !== to) {
      run(function* () {
        yield* mmuext(w, to ? MMUEXT_PIN_L4_TABLE : MMUEXT_UNPIN_TABLE, w.other.l4);
      });
    }
    pinned = to;
  };
  return {
    ops: Number(count),
    reset: () => {
      set(!pins);
    },
    run: () => {
      set(pins);
      return 0;
    },
    check: () => typeCounts(w.data),
  };
}
