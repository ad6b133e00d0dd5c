/** Strategies by name. */
import { bpor } from '../../explore/bpor.js';
import { dpor } from '../../explore/dpor.js';
import { exhaustive } from '../../explore/exhaustive.js';
import { pct } from '../../explore/pct.js';
import { randomWalk } from '../../explore/random-walk.js';
import { roundRobin } from '../../explore/round-robin.js';
import type { Strategy } from '../../explore/strategy.js';
import { uniformWalk } from '../../explore/uniform-walk.js';
import { DEFAULT_PREEMPTIONS, type StrategySpec } from './strategy-names.js';

export function strategyOf({ strategy, preemptions, seed, depth }: StrategySpec): Strategy {
  switch (strategy) {
    case 'bounded':
      return bpor(preemptions ?? DEFAULT_PREEMPTIONS);
    case 'dpor':
      return dpor();
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
