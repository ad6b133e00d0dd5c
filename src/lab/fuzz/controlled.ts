/**
 * One episode in the controlled build: all vCPUs and the control plane are coroutines, the plan's strategy switches.
 *
 * Invariant: a function of the plan alone.
 */
import { formatWaits, interleave } from '../../explore/loop.js';
import { randomWalk } from '../../explore/random-walk.js';
import { roundRobin } from '../../explore/round-robin.js';
import type { FuzzGuests } from './guests.js';
import { buildFuzzMachine, vcpuLife, type FuzzMachine } from './machine.js';
import { oversee } from './oversee.js';
import type { EpisodePlan } from './plan.js';
import { digestOf, episodeResult, type EpisodeResult } from './result.js';
import { judge, textOf } from './verdict.js';

/** Points an episode may take: some hundred times what one needs. */
const BOUND = 2 ** 31 - 1;

/** Runs the episode of `plan` and judges it. */
export function controlledEpisode(plan: EpisodePlan, guests: FuzzGuests): EpisodeResult {
  const m = buildFuzzMachine(plan, guests);
  const problem = runVcpus(plan, guests, m);
  const digest = m.vcpus.length === 1 ? digestOf() : 0;
  const verdict = problem === '' ? judge(plan, m) : { wrong: [problem], forgotten: false };
  return episodeResult(plan, guests, m, digest, verdict);
}

/** '' or what went wrong while they ran. */
function runVcpus(plan: EpisodePlan, guests: FuzzGuests, m: FuzzMachine): string {
  const bodies = m.vcpus.map((v) => () => vcpuLife(plan, guests, v, m.board));
  const overseer = () => oversee(m, () => undefined);
  const strategy = plan.slice === 0 ? randomWalk(plan.seed) : roundRobin(plan.slice);
  const outcome = interleave([...bodies, overseer], strategy, BOUND);
  switch (outcome.kind) {
    case 'done':
      return '';
    case 'threw':
      return `body ${String(outcome.body)} threw ${textOf(outcome.error)}`;
    case 'deadlock':
      return `deadlock: ${formatWaits(outcome.waits)}`;
    default:
      return `it ended otherwise: ${outcome.kind}`;
  }
}
