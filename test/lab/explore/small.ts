/** Small scenarios for tests, built in this process. */
import type { ExploreGuests } from '../../../src/lab/explore/guests.js';
import { ExploreMachine, type ExplorePlan } from '../../../src/lab/explore/machine.js';
import { ExploreProgram } from '../../../src/lab/explore/program.js';
import type { Scenario } from '../../../src/scenario/scenario.js';
import { smallGuests } from '../../../workers/small.js';

export function planOf(scenario: Scenario, design: string): ExplorePlan {
  if (scenario.small === undefined) throw new Error('not small');
  const faultPlan = scenario.faults;
  return { scenario, design, small: scenario.small, stepChecks: true, faultPlan };
}

export function build(
  scenario: Scenario,
  design: string,
): { machine: ExploreMachine; program: ExploreProgram; guests: ExploreGuests } {
  const guests = smallGuests();
  const plan = planOf(scenario, design);
  const machine = new ExploreMachine(plan, guests);
  return { machine, guests, program: new ExploreProgram(plan, machine, guests, { actor: String, address: String }) };
}
