/** What does a lock cost that nobody else wants? Order check and list of held locks included. */
import { CONTROL, HEADER_BASE } from '../src/sync/actor.js';
import { RANK } from '../src/sync/lock-order.js';
import { lock, run, unlock } from '../src/sync/primitives.js';
import type { Measure } from './measure.js';

const TIMES = 50_000;
/** A word of the header that nobody else uses here. */
const LOCK = HEADER_BASE + 62;

export function prepare(): Measure {
  return {
    ops: TIMES,
    run: () =>
      run(function* () {
        for (let i = 0; i < TIMES; i++) {
          yield* lock(CONTROL, LOCK, RANK.heap);
          yield* unlock(CONTROL, LOCK);
        }
        return 0;
      }),
  };
}
