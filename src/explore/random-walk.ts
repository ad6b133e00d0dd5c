/**
 * Random walk: at every point each ready actor has the same chance; the seed decides, and nothing else.
 *
 * Every execution goes on with the generator where the last one stopped, so one strategy walks many schedules.
 */
import { xorshift } from './random.js';
import { nthReady, type Strategy } from './strategy.js';

export { xorshift };

export function randomWalk(seed: number): Strategy {
  const random = xorshift(seed);
  return {
    begin: () => undefined,
    pick: (view) => nthReady(view, random() % view.readyCount),
    choose: (_view, _actor, _what, n) => random() % n,
    next: () => true,
  };
}
