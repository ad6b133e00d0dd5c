/** Strategies by name. */
import { exhaustive } from '../../explore/exhaustive.js';
import { pct } from '../../explore/pct.js';
import { randomWalk } from '../../explore/random-walk.js';
import { roundRobin } from '../../explore/round-robin.js';
import type { Strategy } from '../../explore/strategy.js';
import { uniformWalk } from '../../explore/uniform-walk.js';
import type { StrategySpec } from './strategy-names.js';

export function strategyOf({ strategy, preemptions, seed, depth }: StrategySpec): Strategy {
  switch (strategy) {
    case 'bounded':
      return exhaustive(preemptions);
    case 'dpor':
      return exhaustive();
    case 'naive':
      return exhaustive(preemptions);
    case 'random':
      return randomWalk(seed);
    case 'uniform':
      return uniformWalk(seed);
    case 'pct':
      return pct(seed, depth);
    case 'round-robin':
      return roundRobin();
  }
}
