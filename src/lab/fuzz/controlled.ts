/**
 * One episode in the controlled build: all vCPUs and the control plane are coroutines, the plan's strategy switches.
 *
 * Invariant: a function of the plan alone.
 */
import { formatWaits, interleave } from '../../explore/loop.js';
import { randomWalk } from '../../explore/random-walk.js';
import { roundRobin } from '../../explore/round-robin.js';
import type { Picker } from '../../explore/strategy.js';
import { peek, poke } from '../../sync/primitives.js';
import type { FuzzGuests } from './guests.js';
import { buildFuzzMachine, fuzzBoard, vcpuLife, type FuzzMachine } from './machine.js';
import { oversee } from './oversee.js';
import type { EpisodePlan } from './plan.js';
import { digestOf, episodeResult, type EpisodeResult } from './result.js';
import { judge, textOf } from './verdict.js';

/** Points an episode may take, and after how many the control plane looks whether a call has no end. */
const BOUND = 100_000_000;
const ALARM = 2_000_000;

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
  let alarms = 0;
  let heard = 0;
  const overseer = () => oversee(m, () => heard !== (heard = alarms));
  const inner = plan.slice === 0 ? randomWalk(plan.seed) : roundRobin(plan.slice);
  const strategy: Picker = {
    ...inner,
    pick: (view, running) => {
      if (view.steps % ALARM === 0) {
        alarms++;
        poke(fuzzBoard.turn(m.board), peek(fuzzBoard.turn(m.board)) + 1);
      }
      return inner.pick(view, running);
    },
  };
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
