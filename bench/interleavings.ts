/**
 * How long does it take to exhaust a program of two actors, five times {add to A, add to B} against {add to B, add to A}?
 *
 * It has 184,756 interleavings and 8,953 equivalence classes. For comparison: loom 0.7 (Rust) took 352,716 executions and
 * 8.8 s for it on this kind of machine, 40,000 executions and 0.8 million points a second. `arg` is the strategy, and what
 * one operation is: an execution, a point, or the whole search (`all`).
 */
import { dpor } from '../src/explore/dpor.js';
import { exhaustive } from '../src/explore/exhaustive.js';
import type { Program } from '../src/explore/program.js';
import { randomWalk } from '../src/explore/random-walk.js';
import { search } from '../src/explore/search.js';
import type { Strategy } from '../src/explore/strategy.js';
import { HEADER_BASE } from '../src/sync/actor.js';
import { add, poke } from '../src/sync/primitives.js';
import type { Steps } from '../src/sync/steps.js';
import type { Measure } from './measure.js';

/** Two words of the header that nobody else uses here. */
const A = HEADER_BASE + 60;
const B = HEADER_BASE + 61;
const TIMES = 5;

function* adds(first: number, second: number): Steps<void> {
  for (let i = 0; i < TIMES; i++) {
    yield* add(first, 1);
    yield* add(second, 1);
  }
}

const program: Program = {
  names: { actor: (i) => `actor ${i}`, address: (a) => (a === A ? 'A' : 'B') },
  start: () => {
    poke(A, 0);
    poke(B, 0);
    return [() => adds(A, B), () => adds(B, A)];
  },
  finish: () => [],
};

const strategies: Record<string, { make: () => Strategy; executions?: number }> = {
  naive: { make: () => exhaustive() },
  dpor: { make: () => dpor() },
  walk: { make: () => randomWalk(1), executions: 20_000 },
};

export function prepare(arg: string): Measure {
  const [name = '', unit = ''] = arg.split(' ');
  const { make, executions = Infinity } = strategies[name]!;
  const r = search(program, make(), { classes: true, executions });
  if (name !== 'walk' && (!r.exhausted || r.classes !== 8953)) throw new Error(`${r.classes ?? 0} classes of 8953`);
  return {
    ops: unit === 'all' ? 1 : unit === 'points' ? r.points : r.executions,
    run: () => search(program, make(), { executions }).executions,
  };
}
