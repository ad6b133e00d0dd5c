/**
 * Schedules of a race: some with a single switch, evenly spread over where it can be; random walks whose actors set out at
 * different times; priorities with two changes (PCT, depth 3).
 */
import { expect } from 'vitest';
import { interleave, type Outcome } from '../../src/explore/loop.js';
import { pct } from '../../src/explore/pct.js';
import { readyFrom, type Picker } from '../../src/explore/strategy.js';
import { walk, type Body } from '../hypervisor/grant/walks.js';

export { life, type Body } from '../hypervisor/grant/walks.js';

export interface Numbers {
  /** Of schedules of each kind; 0: none of the kind. */
  readonly switches?: number;
  readonly walks?: number;
  readonly priorities?: number;
}

/** `make` builds machine and bodies anew for each schedule; `look` sees each end, `watch` each step. */
export function schedules(
  make: () => readonly Body[],
  look: () => void,
  { switches = 60, walks = 60, priorities = 60 }: Numbers = {},
  watch: () => void = () => undefined,
): void {
  if (switches > 0) singleSwitches(make, look, switches, watch);
  if (walks > 0) walk(walks, make, look, watch);
  const strategy = pct(20261121, 3);
  for (let n = 0; n < priorities; n++) {
    ended(interleave(make(), watched(strategy, watch)));
    strategy.next();
    look();
  }
}

function ended(outcome: Outcome): void {
  if (outcome.kind === 'threw') throw outcome.error;
  expect(outcome.kind).toBe('done');
}

const watched = (inner: Picker, watch: () => void): Picker => ({
  begin: (view) => {
    inner.begin(view);
  },
  pick: (view, running) => {
    watch();
    return inner.pick(view, running);
  },
  ...(inner.choose === undefined ? {} : { choose: inner.choose.bind(inner) }),
});

/** One actor takes k steps, then the next one runs as far as it can, and so on; for each first actor, and k spread evenly. */
function singleSwitches(make: () => readonly Body[], look: () => void, n: number, watch: () => void): void {
  const actors = make().length;
  for (let first = 0; first < actors; first++) {
    let alone = 0;
    const run = (k: number): void => {
      const pick: Picker['pick'] = (v) => {
        const i = readyFrom(v, v.steps > k ? (first + 1) % actors : first);
        if (i === first && alone === v.steps - 1) alone++;
        return i;
      };
      ended(interleave(make(), watched({ begin: () => undefined, pick }, watch)));
      look();
    };
    run(Infinity);
    const each = Math.floor(n / actors);
    const length = alone;
    for (let m = 0; m < each; m++) run(Math.floor((m * length) / each));
  }
}
