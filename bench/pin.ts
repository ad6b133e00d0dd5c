/** What does pinning (or unpinning) a whole tree cost, per L1 entry? `arg`: pages, and `pin` or `unpin`. */
import { pinning } from './hypercalls.js';
import type { Measure } from './measure.js';
import { makeWorld, typeCounts } from './world.js';

export function prepare(arg: string): Measure {
  const [count, what] = arg.split(' ');
  const w = makeWorld(Number(count));
  const pins = what === 'pin';
  const pin = pinning(w);
  return {
    ops: Number(count),
    reset: () => {
      pin(!pins);
    },
    run: () => {
      pin(pins);
      return 0;
    },
    check: () => typeCounts(w.data),
  };
}
