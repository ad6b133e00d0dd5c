/** What does a step of the controlled build cost? Two coroutines; `arg`: how many steps one makes before the other runs. */
import { interleave } from '../src/explore/loop.js';
import { roundRobin } from '../src/explore/round-robin.js';
import { HEADER_BASE } from '../src/sync/actor.js';
import { ldOnce } from '../src/sync/primitives.js';
import type { Steps } from '../src/sync/steps.js';
import type { Measure } from './measure.js';

const STEPS = 20_000;

function* body(): Steps<void> {
  for (let i = 0; i < STEPS; i++) yield* ldOnce(HEADER_BASE + 63);
}

export function prepare(arg: string): Measure {
  return {
    ops: 2 * STEPS,
    run: () => {
      const o = interleave([body, body], roundRobin(Number(arg)), 10 * STEPS);
      if (o.kind !== 'done') throw new Error(o.kind);
      return o.steps;
    },
  };
}
