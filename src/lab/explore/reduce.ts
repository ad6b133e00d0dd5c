/**
 * Leaving parts of a small scenario out: operations and whole sides of the race, as a set of what is kept.
 *
 * Invariant: parts are numbered as the file has them: the setup's steps, then for each side of the race the side itself and
 * its steps; a side without its number has no steps either. A token carries the numbers left out.
 * Lock: none. Pure.
 */
import type { Schedule } from '../../explore/schedule.js';
import type { Small, SmallList } from '../../scenario/scenario.js';

/** Numbers of the parts left out. */
export type LeftOut = ReadonlySet<number>;

interface Part {
  readonly number: number;
  /** Index of the side of the race that this part is, or that it belongs to; -1 in the setup. */
  readonly side: number;
  readonly whole: boolean;
}

function partsOf(small: Small): Part[] {
  const parts: Part[] = [];
  const add = (side: number, whole: boolean): number => parts.push({ number: parts.length, side, whole });
  for (const list of small.setup) list.steps.forEach(() => add(-1, false));
  small.race.forEach((list, side) => {
    add(side, true);
    list.steps.forEach(() => add(side, false));
  });
  return parts;
}

/** The scenario without these parts. */
export function without(small: Small, out: LeftOut): Small {
  let at = 0;
  const kept = (list: SmallList): SmallList => ({ ...list, steps: list.steps.filter(() => !out.has(at++)) });
  const setup = small.setup.map(kept);
  const race = small.race.flatMap((list) => {
    const here = !out.has(at++);
    const rest = kept(list);
    return here ? [rest] : [];
  });
  return { ...small, setup: setup.filter((l) => l.steps.length > 0), race };
}

/** What could be left out beside `out`, most drastic first: sides of the race, then its steps, then the setup's. */
export function candidates(small: Small, out: LeftOut): LeftOut[] {
  const parts = partsOf(small);
  const sides = parts.filter((p) => p.whole && !out.has(p.number));
  const ofRace = parts.filter((p) => p.side >= 0 && !p.whole && !out.has(p.number));
  const ofSetup = parts.filter((p) => p.side < 0 && !out.has(p.number)).reverse();
  const whole = sides.length > 1 ? sides.map((s) => parts.filter((p) => p.side === s.side)) : [];
  return [...whole, ...[...ofRace, ...ofSetup].map((p) => [p])].map(
    (more) => new Set([...out, ...more.map((p) => p.number)]),
  );
}

/** The sides of the race that are left, by their index in the whole race. */
function sidesLeft(small: Small, out: LeftOut): number[] {
  return partsOf(small)
    .filter((p) => p.whole && !out.has(p.number))
    .map((p) => p.side);
}

/** A schedule of the scenario without `from`, for the one without `to`: actors that are gone take no steps. */
export function adaptSchedule(small: Small, schedule: Schedule, from: LeftOut, to: LeftOut): Schedule {
  const now = sidesLeft(small, to);
  const moved = sidesLeft(small, from).map((side) => now.indexOf(side));
  const actorNow = (i: number): number => moved[i] ?? -1;
  return {
    picks: Uint8Array.from([...schedule.picks].map(actorNow).filter((i) => i >= 0)),
    choices: schedule.choices.map((c) => ({ ...c, actor: actorNow(c.actor) })).filter((c) => c.actor >= 0),
  };
}
