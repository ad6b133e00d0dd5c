/**
 * What is searched: a scenario, whole or with parts left out, as a program of the explorer.
 *
 * Invariant: one memory holds one machine; the program that is asked to start is the one whose machine is there.
 */
import { HypervisorBug, LabError } from '../../abi/errors.js';
import type { Names } from '../../explore/program.js';
import type { ExploreGuests } from './guests.js';
import { ExploreMachine, type ExplorePlan } from './machine.js';
import { nameWord } from './names.js';
import { ExploreProgram } from './program.js';
import { candidates, without, type LeftOut } from './reduce.js';

export class Subject extends ExploreProgram {
  readonly leftOut: LeftOut;
  readonly machine: ExploreMachine;
  /** Whether the race detector belongs to the checks. */
  readonly races: boolean;

  constructor(plan: ExplorePlan, leftOut: LeftOut, guests: ExploreGuests) {
    const reduced = { ...plan, small: without(plan.small, leftOut) };
    const machine = new ExploreMachine(reduced, guests);
    super(reduced, machine, guests, namesOf(machine, guests));
    this.leftOut = leftOut;
    this.machine = machine;
    this.races = plan.stepChecks;
  }
}

function namesOf(machine: ExploreMachine, guests: ExploreGuests): Names {
  const actorName = (index: number): string => machine.actorName(index);
  return {
    actor: (i) => machine.sides[i]?.name ?? `actor ${String(i)}`,
    address: (a) => nameWord(a, actorName, (w) => guests.nameOf(w)),
  };
}

/** Programs with less in them than `from`, made one by one as they are asked for; those whose setup fails are left out. */
export function simplerSubjects(plan: ExplorePlan, from: Subject, makeGuests: () => ExploreGuests): Iterable<Subject> {
  const all = candidates(plan.small, from.leftOut);
  const next = (): IteratorResult<Subject, undefined> => {
    for (let out = all.shift(); out !== undefined; out = all.shift()) {
      const value = attempt(plan, out, makeGuests());
      if (value !== undefined) return { done: false, value };
    }
    return { done: true, value: undefined };
  };
  return { [Symbol.iterator]: () => ({ next }) };
}

/** The program, or undefined when its setup does not work without what is left out. */
function attempt(plan: ExplorePlan, out: LeftOut, guests: ExploreGuests): Subject | undefined {
  try {
    return new Subject(plan, out, guests);
  } catch (e) {
    if (e instanceof LabError || e instanceof HypervisorBug) return undefined;
    throw e;
  }
}
