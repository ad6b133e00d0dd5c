/** Ways through the schedules of two or three vCPUs' lives; controlled build only. */
import { expect } from 'vitest';
import { interleave, type Outcome } from '../../../src/explore/loop.js';
import { randomWalk, xorshift } from '../../../src/explore/random-walk.js';
import { READY, readyFrom, type Picker } from '../../../src/explore/strategy.js';
import type { Steps } from '../../../src/sync/steps.js';
import { VcpuStopped } from '../../../src/vcpu/stopped.js';
import type { Guest } from './lab.js';

export type Body = () => Steps<void>;

/** A vCPU's life: it starts, does `body`, and is parked; dying on the way is an end like another. */
export const life = (c: Guest, body: () => Steps<void>): Body =>
  function* () {
    try {
      yield* c.g.start();
      yield* body();
      yield* c.g.park();
    } catch (e) {
      if (!(e instanceof VcpuStopped)) throw e;
    }
  };

/** A random walk in which each actor sets out only after a random number of steps, so that short lives meet long ones. */
function staggered(seed: number, watch: () => void): Picker {
  const inner = randomWalk(seed);
  const random = xorshift(seed * 7919);
  let from: number[] = [];
  return {
    begin: (v) => {
      inner.begin(v);
      from = Array.from({ length: v.actors }, () => random() % 400);
    },
    pick: (v, running) => {
      watch();
      for (let tries = 0; tries < 30; tries++) {
        const i = inner.pick(v, running);
        if (v.steps >= (from[i] ?? 0)) return i;
      }
      return inner.pick(v, running);
    },
  };
}

/** Walks `runs` schedules of what `make` builds afresh each time; `look` after each. */
export function walk(
  runs: number,
  make: () => readonly Body[],
  look: () => void,
  watch: () => void = () => undefined,
): void {
  for (let seed = 1; seed <= runs; seed++) {
    const outcome: Outcome = interleave(make(), staggered(seed, watch));
    if (outcome.kind === 'threw') throw outcome.error;
    expect(outcome.kind).toBe('done');
    look();
  }
}

/**
 * Every schedule with one switch away from each actor: actor `first` takes k steps, the other runs to its end, `first`
 * goes on; for every k, and for either first.
 */
export function everySwitch(make: () => readonly Body[], look: () => void): void {
  for (const first of [0, 1]) {
    for (let k = 0, more = true; more; k++) {
      more = false;
      const outcome = interleave(make(), {
        begin: () => undefined,
        pick: (v) => {
          if (v.steps > k && v.state[first] === READY) more = true;
          return readyFrom(v, v.steps > k ? 1 - first : first);
        },
      });
      if (outcome.kind === 'threw') throw outcome.error;
      expect(outcome.kind).toBe('done');
      look();
    }
  }
}
