/**
 * Uniform random walk: each ready actor has a chance in proportion to the steps it has still to take, as estimated from
 * earlier executions, so that interleavings (and not single picks) are about equally likely.
 *
 * With exact counts and actors that never wait, every interleaving has the same probability: the remaining ones number
 * multinomial(r1, r2 …), of which the part that begins with actor i is r_i / (r1 + r2 + …).
 * Source: Zhao, Wolff, Mathur, Roychoudhury, Selectively Uniform Concurrency Testing, ASPLOS 2025 (its URW).
 */
import { xorshift } from './random.js';
import { nthReady, READY, type Strategy, type View } from './strategy.js';

export function uniformWalk(seed: number): Strategy {
  const random = xorshift(seed);
  let executions = 0;
  /** Steps of each actor in all executions so far, and in this one. */
  let sums: number[] = [];
  let taken: number[] = [];

  const left = (i: number): number => Math.max(1, sums[i]! / executions - taken[i]!);

  const draw = (view: View): number => {
    if (executions === 0) return nthReady(view, random() % view.readyCount);
    let total = 0;
    for (let i = 0; i < view.actors; i++) if (view.state[i] === READY) total += left(i);
    let at = (random() / 2 ** 32) * total;
    let last = -1;
    for (let i = 0; i < view.actors; i++) {
      if (view.state[i] !== READY) continue;
      last = i;
      at -= left(i);
      if (at < 0) break;
    }
    return last;
  };

  return {
    begin: (view) => {
      if (sums.length !== view.actors) {
        sums = new Array<number>(view.actors).fill(0);
        executions = 0;
      }
      taken = new Array<number>(view.actors).fill(0);
    },
    pick: (view) => {
      const i = draw(view);
      taken[i]!++;
      return i;
    },
    choose: (_view, _actor, _what, n) => random() % n,
    next: () => {
      executions++;
      for (const [i, n] of taken.entries()) sums[i]! += n;
      return true;
    },
  };
}
