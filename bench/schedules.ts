/**
 * How long does an execution of a small scenario take, from reset to audit, in a search without reduction?
 *
 * `arg`: scenario, design, `end` (audit at the end alone) or `checks` (step checks and races too), and what one operation
 * is: `executions` or `points`. A run is a search of its own, of at most three preemptions, over a machine set up once.
 */
import { loadCatalog } from '../src/lab/catalog.js';
import { ExploreMachine } from '../src/lab/explore/machine.js';
import { ExploreProgram } from '../src/lab/explore/program.js';
import { readScenario } from '../src/lab/scenario-file.js';
import { exhaustive } from '../src/explore/exhaustive.js';
import { search } from '../src/explore/search.js';
import { smallGuests } from '../workers/small.js';
import type { Measure } from './measure.js';

const EXECUTIONS = 300;
/** Untimed executions, until the engine has compiled the hypervisor. */
const WARM = 12_000;

export function prepare(arg: string): Measure {
  const [file = '', design = '', checks = '', unit = ''] = arg.split(' ');
  const scenario = readScenario(`guests/scenarios/small/${file}.yaml`, loadCatalog());
  if (scenario.small === undefined) throw new Error(`${file} is no small scenario`);
  const stepChecks = checks === 'checks';
  const plan = { scenario, design, small: scenario.small, stepChecks };
  const guests = smallGuests();
  const program = new ExploreProgram(plan, new ExploreMachine(plan, guests), guests, {
    actor: String,
    address: String,
  });
  const run = (executions: number): number => {
    const r = search(program, exhaustive(3), { executions, races: stepChecks, bound: plan.small.bound });
    if (r.failures !== 0 || r.executions !== executions) throw new Error(`${file}: ${String(r.failures)} failures`);
    return r.points;
  };
  run(WARM);
  const points = run(EXECUTIONS);
  return { ops: unit === 'points' ? points : EXECUTIONS, run: () => run(EXECUTIONS) };
}
