/**
 * Schedules for tests of the controlled build: a strategy that records what it picked, one that replays it, and the
 * exhaustive walk over all schedules of a small program.
 */
import { interleave, type Outcome } from '../../src/explore/loop.js';
import { READY, readyFrom, type Picker, type View } from '../../src/explore/strategy.js';
import type { Steps } from '../../src/sync/steps.js';

export interface Recorded extends Picker {
  /** One line per step of the last execution: actor, kind, address, words. */
  readonly trace: string[];
}

export function recorded(inner: Picker): Recorded {
  const trace: string[] = [];
  return {
    trace,
    begin: (view) => {
      trace.length = 0;
      inner.begin(view);
    },
    pick: (view, running) => {
      const i = inner.pick(view, running);
      trace.push([i, view.kind[i], view.address[i], view.words[i]].map(String).join(' '));
      return i;
    },
  };
}

function readyActors(view: View): number[] {
  return Array.from({ length: view.actors }, (_, i) => i).filter((i) => view.state[i] === READY);
}

/** Takes the actors given, in order, then stays with whoever is ready. */
export function scripted(actors: readonly number[]): Picker {
  return {
    begin: () => undefined,
    pick: (view, running) => {
      const wanted = actors[view.steps - 1];
      return wanted !== undefined && view.state[wanted] === READY ? wanted : readyFrom(view, running);
    },
  };
}

/**
 * Runs every schedule of a small program, depth first: the last choice that has an untried alternative takes it.
 * `reset` lays the memory before each; `look` sees each outcome. Answers how many schedules there were.
 */
export function everySchedule(
  reset: () => void,
  bodies: readonly (() => Steps<void>)[],
  look: (outcome: Outcome) => void,
): number {
  /** Per step of the execution under way: the choices, and which of them is being tried. */
  const path: { ready: number[]; tried: number }[] = [];
  const strategy: Picker = {
    begin: () => undefined,
    pick: (view) => {
      const depth = view.steps - 1;
      const node = (path[depth] ??= { ready: readyActors(view), tried: 0 });
      return node.ready[node.tried] as number;
    },
  };
  for (let executions = 1; ; executions++) {
    reset();
    look(interleave(bodies, strategy));
    while (path.length > 0 && (path.at(-1)?.tried ?? 0) + 1 >= (path.at(-1)?.ready.length ?? 0)) path.pop();
    const last = path.at(-1);
    if (last === undefined) return executions;
    last.tried++;
  }
}
