/** Strategies by name. */
import { bpor } from '../../explore/bpor.js';
import { dpor } from '../../explore/dpor.js';
import { exhaustive } from '../../explore/exhaustive.js';
import { always, atMost, drawnAtMost } from '../../explore/limit.js';
import { pct } from '../../explore/pct.js';
import { randomWalk } from '../../explore/random-walk.js';
import { roundRobin } from '../../explore/round-robin.js';
import type { Strategy } from '../../explore/strategy.js';
import { uniformWalk } from '../../explore/uniform-walk.js';
import { CHOICE } from '../../sync/choices.js';
import { DEFAULT_PREEMPTIONS, DRAWS, type StrategySpec } from './strategy-names.js';

/** The strategy, with faults as the plan says or as a schedule chooses them. */
export function strategyOf(spec: StrategySpec): Strategy {
  const s = plainStrategy(spec);
  if (spec.faults === undefined) return always(s, CHOICE.fault);
  const limit = { what: CHOICE.fault, most: spec.faults, name: 'faults' };
  return DRAWS.includes(spec.strategy) ? drawnAtMost(s, limit, spec.seed) : atMost(s, limit);
}

function plainStrategy({ strategy, preemptions, seed, depth }: StrategySpec): Strategy {
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
