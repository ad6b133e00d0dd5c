/**
 * The fault plan of an explored machine: rules that say where a fault may be, and a schedule that says whether it is.
 *
 * Invariant: a rule counts for each side of the race by itself, so that which occurrence it concerns does not depend on who came first, and reduction may take a fault as its own actor's affair. Without a schedule
 * that says so nothing fails: not in the setup, not after the race.
 * Lock: none; the machine is still.
 */
import { LabError } from '../../abi/errors.js';
import { answerCount } from '../../fault/about.js';
import { faultAdd, faultInit, MAX_RULES, type FaultRule } from '../../fault/plan.js';
import type { FaultSpec, Small } from '../../scenario/scenario.js';
import { cpuIndex } from '../../sync/actor.js';
import { formatFault, ruleOf } from '../inject/spec.js';
import type { Side } from './machine.js';

/** Sides of a race that a rule names: it names none by default, and means all. */
const isNamed = (spec: FaultSpec, domain: string, vcpu: number): boolean =>
  (spec.domain === undefined || spec.domain === domain) && (spec.vcpu === undefined || spec.vcpu === vcpu);

/** Refuses a rule that concerns nobody in the race, and more rules than there is room for. */
export function checkFaults(rules: readonly FaultSpec[], small: Small): void {
  let room = MAX_RULES;
  for (const spec of rules) {
    const sides = small.race.filter((l) => isNamed(spec, l.domain, l.vcpu)).length;
    if (sides === 0) {
      throw new LabError('BAD_FAULT', `fault '${formatFault(spec)}' concerns nobody in the race`, {
        hint: 'domain and vcpu are those of one of its sides',
      });
    }
    room -= sides;
  }
  if (room >= 0) return;
  throw new LabError('BAD_FAULT', `the plan needs ${String(MAX_RULES - room)} rules`, {
    hint: `one for each side of the race that it concerns, ${String(MAX_RULES)} in all`,
  });
}

/** Lays the plan at `table`, over a machine that is set up. */
export function layFaults(table: number, rules: readonly FaultSpec[], sides: readonly Side[]): void {
  faultInit(table);
  for (const spec of rules) {
    const actors = sides.filter((s) => isNamed(spec, s.domain, s.vcpu)).map((s) => cpuIndex(s.cpu));
    if (actors.length === 0) continue; // the side was left out
    const answers = spec.status === undefined ? answerCount(spec.site) : 1;
    const rule: FaultRule = { ...ruleOf(spec, () => actors, true), answers };
    for (const own of actors) faultAdd(spec.site, { ...rule, actors: [own] });
  }
}
