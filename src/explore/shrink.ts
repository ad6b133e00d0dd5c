/**
 * Shrinks a failure: fewer operations and actors, fewer faults, fewer preemptions and switches, fewer steps, choices back to
 * what the machine does by itself, until nothing can go.
 *
 * Invariant: what is kept fails the same way (by `same`, else by its rules) and is smaller by (faults, preemptions,
 * switches, choices, steps), so it ends; every kept schedule is one that was just run, so it replays. Deterministic.
 * Operations and actors are the caller's: `simpler` offers programs with fewer of them, most drastic first.
 * Source: Zeller, Hildebrandt, Simplifying and Isolating Failure-Inducing Input, TSE 2002 (ddmin).
 */
import { bpor } from './bpor.js';
import { checkOf } from './check.js';
import { explain } from './diagnose.js';
import { Loop } from './loop.js';
import type { Finding, Program } from './program.js';
import { atMost, countOf, type ChoiceLimit } from './limit.js';
import { pct } from './pct.js';
import { Replay } from './replay.js';
import { picksOf, runsOf, scheduleOf, type Run, type Schedule } from './schedule.js';
import { DEFAULT_SEARCH_BOUND, runOnce, type Failure } from './search.js';
import type { Strategy } from './strategy.js';

export interface ShrinkOptions<P extends Program> {
  /** Whether this is the same failure; by default, whether it breaks a rule that the first one broke. */
  readonly same?: (findings: readonly Finding[]) => boolean;
  /** Programs with fewer operations or actors than `program`, most drastic first; none, when nothing can go. */
  readonly simpler?: (program: P) => Iterable<P>;
  /** Maps a schedule to a simpler program's actors; by default as it is, left-out steps skipped. */
  readonly adapt?: (schedule: Schedule, from: P, to: P) => Schedule;
  /** Searched for the failure with fewer preemptions, or in a simpler program that the schedule does not break. */
  readonly strategy?: (preemptions: number) => Strategy;
  /** Executions of one such search. */
  readonly executions?: number;
  readonly bound?: number;
  /** Choices that count as faults: there are to be as few of them as possible, and a search may take no more. */
  readonly faults?: Pick<ChoiceLimit, 'what' | 'name'>;
  /** The race detector was on when the failure was found. */
  readonly races?: boolean;
  readonly stop?: () => boolean;
}

export interface Shrunk<P extends Program> extends Failure {
  readonly program: P;
  readonly preemptions: number;
  readonly faults: number;
  /** Executions it took. */
  readonly attempts: number;
}

/** A failing execution, as it was recorded. */
interface Candidate extends Failure {
  readonly faults: number;
  readonly cost: readonly number[];
}

function less(a: readonly number[], b: readonly number[]): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! < b[i]!;
  return false;
}

class Shrinker<P extends Program> {
  readonly #o: ShrinkOptions<P>;
  readonly #same: (findings: readonly Finding[]) => boolean;
  #program: P;
  #loop: Loop;
  #checks: ReturnType<typeof checkOf>;
  attempts = 0;

  constructor(program: P, options: ShrinkOptions<P>, same: (findings: readonly Finding[]) => boolean) {
    this.#o = options;
    this.#same = same;
    this.#program = program;
    this.#loop = new Loop(program.start().length);
    this.#checks = checkOf(program, options.races === true);
  }

  get program(): P {
    return this.#program;
  }

  #turnTo(program: P): void {
    this.#program = program;
    this.#loop = new Loop(program.start().length);
    this.#checks = checkOf(program, this.#o.races === true);
  }

  /** Runs once; the failure, if it is the same. */
  #run(strategy: Strategy): Candidate | undefined {
    this.attempts++;
    this.#checks.begin();
    const bound = this.#o.bound ?? DEFAULT_SEARCH_BOUND;
    const { outcome, findings } = runOnce(this.#loop, this.#program, strategy, bound, this.#checks.check);
    if (findings.length === 0 || !this.#same(findings)) return undefined;
    const schedule = scheduleOf(this.#loop);
    const faults = this.#o.faults === undefined ? 0 : countOf(schedule.choices, this.#o.faults.what);
    const cost = [faults, outcome.preemptions, outcome.switches, schedule.choices.length, outcome.steps];
    return { schedule, findings, outcome, execution: this.attempts, cost, faults };
  }

  try(schedule: Schedule): Candidate | undefined {
    return this.#run(new Replay(schedule));
  }

  /** The best of `best` and what `runs` and `choices` give. */
  better(best: Candidate, runs: readonly Run[], choices = best.schedule.choices): Candidate {
    const tried = this.try({ picks: picksOf(runs), choices });
    return tried !== undefined && less(tried.cost, best.cost) ? tried : best;
  }

  get stopped(): boolean {
    return this.#o.stop?.() === true;
  }

  /** Searches a failure of at most `preemptions` and `faults`: the last steps first, then anywhere. */
  #search(preemptions: number, faults: number): Candidate | undefined {
    if (this.#o.strategy !== undefined) return this.#walk(this.#within(this.#o.strategy(preemptions), faults));
    return (
      this.#walk(this.#within(bpor(preemptions), faults)) ?? this.#walk(this.#within(pct(1, preemptions + 1), faults))
    );
  }

  #within(s: Strategy, most: number): Strategy {
    return this.#o.faults === undefined ? s : atMost(s, { ...this.#o.faults, most });
  }

  #walk(strategy: Strategy): Candidate | undefined {
    for (let left = this.#o.executions ?? 2000; left > 0 && !this.stopped; left--) {
      const hit = this.#run(strategy);
      if (hit !== undefined) return hit;
      if (!strategy.next()) return undefined;
    }
    return undefined;
  }

  /** The failure with the fewest faults, then the fewest preemptions, that a search of each lower number finds. */
  fewer(best: Candidate): Candidate {
    for (let f = 0; f < best.faults; f++) {
      const hit = this.#search(best.outcome.preemptions, f);
      if (hit !== undefined && less(hit.cost, best.cost)) return hit;
    }
    for (let p = 0; p < best.outcome.preemptions; p++) {
      const hit = this.#search(p, best.faults);
      if (hit !== undefined && less(hit.cost, best.cost)) return hit;
    }
    return best;
  }

  /** The failure in the first simpler program that has it. */
  simplerProgram(best: Candidate): Candidate | undefined {
    const from = this.#program;
    for (const to of this.#o.simpler?.(from) ?? []) {
      this.#turnTo(to);
      const hit =
        this.try(this.#o.adapt?.(best.schedule, from, to) ?? best.schedule) ??
        this.#search(best.outcome.preemptions, best.faults);
      if (hit !== undefined) return hit;
      if (this.stopped) break;
    }
    this.#turnTo(from);
    return undefined;
  }
}

/** Takes away runs of steps, in chunks that become smaller; who loses steps takes them after the last run. */
function fewerRuns<P extends Program>(s: Shrinker<P>, start: Candidate): Candidate {
  let best = start;
  for (let size = runsOf(best.schedule.picks).length; size >= 1; size >>= 1) {
    for (let at = 0; !s.stopped;) {
      const runs = runsOf(best.schedule.picks);
      if (at >= runs.length) break;
      const next = s.better(best, [...runs.slice(0, at), ...runs.slice(at + size)]);
      if (next === best) at += size;
      else best = next;
    }
  }
  return best;
}

/** Exchanges neighbouring runs, so that runs of one actor meet. */
function joinedRuns<P extends Program>(s: Shrinker<P>, start: Candidate): Candidate {
  let best = start;
  for (let at = 0; !s.stopped;) {
    const runs = runsOf(best.schedule.picks);
    if (at + 1 >= runs.length) return best;
    const [a, b] = [runs[at]!, runs[at + 1]!];
    const next = s.better(best, [...runs.slice(0, at), b, a, ...runs.slice(at + 2)]);
    if (next === best) at++;
    else best = next;
  }
  return best;
}

/** Takes choices back to what the machine does by itself: all of them, then one by one. */
function fewerChoices<P extends Program>(s: Shrinker<P>, start: Candidate): Candidate {
  let best = s.better(start, runsOf(start.schedule.picks), []);
  for (let at = 0; at < best.schedule.choices.length && !s.stopped;) {
    const next = s.better(best, runsOf(best.schedule.picks), best.schedule.choices.toSpliced(at, 1));
    if (next === best) at++;
    else best = next;
  }
  return best;
}

function smallest<P extends Program>(s: Shrinker<P>, start: Candidate): Candidate {
  let best = start;
  for (;;) {
    let next = fewerChoices(s, joinedRuns(s, fewerRuns(s, best)));
    if (next === best && !s.stopped) next = s.fewer(best);
    if (next === best) return best;
    best = next;
  }
}

/** The smallest failure that `failing` shrinks to; undefined when it does not fail (any more) over `program`. */
export function shrink<P extends Program>(
  program: P,
  failing: Schedule,
  options: ShrinkOptions<P> = {},
): Shrunk<P> | undefined {
  let rules: ReadonlySet<string> | undefined;
  const same =
    options.same ??
    ((findings: readonly Finding[]): boolean => {
      rules ??= new Set(findings.map((f) => f.rule));
      return findings.some((f) => rules!.has(f.rule));
    });
  const s = new Shrinker(program, options, same);
  const first = s.try(failing);
  if (first === undefined) return undefined;
  let best = smallest(s, first);
  while (!s.stopped) {
    const next = s.simplerProgram(best);
    if (next === undefined) break;
    best = smallest(s, next);
  }
  const { schedule, outcome, execution, faults } = best;
  const { preemptions } = outcome;
  const findings = explain(s.program, schedule, outcome, best.findings, options.bound ?? DEFAULT_SEARCH_BOUND);
  return { schedule, findings, outcome, execution, program: s.program, preemptions, faults, attempts: s.attempts };
}
