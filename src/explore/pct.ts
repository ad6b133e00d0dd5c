/**
 * PCT: probabilistic concurrency testing. The ready actor of highest priority runs; at d-1 steps drawn at random the one
 * that would run falls below all others.
 *
 * Finds a bug of depth d in one execution with probability at least 1/(n k^(d-1)), for n actors and k steps; k is taken
 * from the longest execution so far.
 * Source: Burckhardt, Kothari, Musuvathi, Nagarakatte, A Randomized Scheduler with Probabilistic Guarantees of Finding
 * Bugs, ASPLOS 2010.
 */
import { xorshift } from './random.js';
import { READY, type Strategy, type View } from './strategy.js';

/** Steps assumed for the first execution. */
const FIRST_LENGTH = 64;

/** The READY actor of highest priority. */
function highest(view: View, priority: readonly number[]): number {
  let best = -1;
  for (let i = 0; i < view.actors; i++) {
    if (view.state[i] === READY && (best < 0 || priority[i]! > priority[best]!)) best = i;
  }
  return best;
}

/** `length`: steps that the first execution is taken to have. */
export function pct(seed: number, depth: number, length = FIRST_LENGTH): Strategy {
  const random = xorshift(seed);
  let longest = length;
  let executions = 0;
  let last = 0;
  let priority: number[] = [];
  /** invariant: ascending; the steps at which the running actor falls, still to come. */
  let changes: number[] = [];
  let lowest = 0;

  const begin = (view: View): void => {
    // Priorities of the start are 1..n in random order; falls are to 0, -1, -2 …
    priority = Array.from({ length: view.actors }, (_, i) => i + 1);
    for (let i = priority.length - 1; i > 0; i--) {
      const k = random() % (i + 1);
      [priority[i], priority[k]] = [priority[k]!, priority[i]!];
    }
    executions++;
    changes = Array.from({ length: depth - 1 }, () => 1 + (random() % longest)).sort((a, b) => a - b);
    lowest = last = 0;
  };

  const pick = (view: View): number => {
    last = view.steps;
    let best = highest(view, priority);
    while (changes.length > 0 && changes[0]! <= view.steps) {
      changes.shift();
      priority[best] = lowest--;
      best = highest(view, priority);
    }
    return best;
  };

  return {
    begin,
    pick,
    choose: (_view, _actor, _what, n) => random() % n,
    next: () => {
      longest = executions === 1 ? Math.max(last, 1) : Math.max(longest, last);
      return true;
    },
  };
}
