/**
 * A search: runs executions of a program under a strategy until nothing is left, a limit is reached, or somebody says stop.
 *
 * Invariant: what is reported is a function of program, strategy and limits, save where the clock or `stop` ended it.
 * `exhausted` is only said when the strategy covers something and no execution was cut at the step bound.
 */
import { checkOf } from './check.js';
import { TraceClasses } from './classes.js';
import { diagnose, explain } from './diagnose.js';
import { Loop } from './loop.js';
import type { Finding, Outcome, Program, StepCheck } from './program.js';
import { scheduleOf, type Schedule } from './schedule.js';
import type { Strategy } from './strategy.js';

export interface Failure {
  readonly schedule: Schedule;
  readonly findings: readonly Finding[];
  readonly outcome: Outcome;
  /** Which execution it was, from 1. */
  readonly execution: number;
}

/** A failure, and in how many executions the same rules were broken. */
export interface Found extends Failure {
  times: number;
}

export interface Progress {
  readonly executions: number;
  /** Steps taken in all executions. */
  readonly points: number;
  readonly switches: number;
  readonly choices: number;
  /** Executions that failed. */
  readonly failures: number;
  /** Executions that the step bound ended. */
  readonly cut: number;
  /** Executions that the strategy gave up since they repeat others. */
  readonly abandoned: number;
  /** Distinct equivalence classes of complete executions, when they are counted. */
  readonly classes: number | undefined;
  /** Executions still to come, when the strategy has an end: an estimate. */
  readonly remaining: number | undefined;
}

export interface SearchOptions {
  /** At most so many executions. */
  readonly executions?: number;
  /** Ends after so many failing executions; 1 by default. */
  readonly failures?: number;
  /** Steps of one execution at which it is cut and suspected of a livelock. */
  readonly bound?: number;
  /** Milliseconds by `clock`, which only a caller above has. */
  readonly time?: number;
  readonly clock?: () => number;
  readonly stop?: () => boolean;
  readonly progress?: (p: Progress) => void;
  /** Executions between two looks at the clock and calls of `progress`. */
  readonly every?: number;
  /** Looks for data races too. */
  readonly races?: boolean;
  /** Counts equivalence classes, by a hash of each execution's happens-before. */
  readonly classes?: boolean;
}

export interface Report extends Progress {
  readonly ended: 'exhausted' | 'executions' | 'failures' | 'time' | 'stopped' | 'no more';
  /** All that `covers` says was tried, every execution to its end. */
  readonly exhausted: boolean;
  readonly covers: string | undefined;
  /** The first failure of each set of rules, in the order they were found. */
  readonly found: readonly Found[];
}

export { checkOf };

export const DEFAULT_SEARCH_BOUND = 100_000;

const noCounts = () => ({ executions: 0, points: 0, switches: 0, choices: 0, failures: 0, cut: 0, abandoned: 0 });

/** Runs one execution and says what was wrong with it; `loop` still shows it. */
export function runOnce(
  loop: Loop,
  program: Program,
  strategy: Strategy,
  bound: number,
  check: StepCheck | undefined,
): { outcome: Outcome; findings: readonly Finding[] } {
  const outcome = loop.execute(program.start(), strategy, bound, check);
  return { outcome, findings: outcome.kind === 'abandoned' ? [] : judge(program, outcome) };
}

/** What is wrong with an execution that ended so, over the machine as it left it. */
export function judge(program: Program, outcome: Outcome): readonly Finding[] {
  const waits = outcome.kind === 'deadlock' ? (program.stuck?.(outcome.waits) ?? outcome.waits) : [];
  const rest = program.finish(outcome);
  if (outcome.kind === 'done' || (outcome.kind === 'deadlock' && waits.length === 0)) return rest;
  const own = diagnose(program.names, outcome.kind === 'deadlock' ? { ...outcome, waits } : outcome);
  return rest.length === 0 ? own : [...own, ...rest];
}

export function search(program: Program, strategy: Strategy, options: SearchOptions = {}): Report {
  const { executions = Infinity, failures = 1, bound = DEFAULT_SEARCH_BOUND, every = 256 } = options;
  const counts = noCounts();
  const found = new Map<string, Found>();
  const classes = options.classes === true ? new TraceClasses() : undefined;
  const races = checkOf(program, options.races === true);
  const check = classes === undefined ? races.check : classes.with(races.check);
  const began = options.clock?.() ?? 0;
  let loop: Loop | undefined;

  const progress = (): Progress => {
    const part = strategy.explored?.();
    const remaining = part === undefined || part === 0 ? undefined : counts.executions * (1 / part - 1);
    return { ...counts, classes: classes?.size, remaining };
  };
  const report = (ended: Report['ended']): Report => ({
    ...progress(),
    ended,
    exhausted: ended === 'exhausted' && counts.cut === 0,
    covers: strategy.covers,
    found: [...found.values()],
    ...(ended === 'exhausted' ? { remaining: 0 } : {}),
  });
  const keep = (failure: Failure): void => {
    counts.failures++;
    const key = [...new Set(failure.findings.map((f) => f.rule))].sort().join('+');
    const known = found.get(key);
    if (known === undefined) {
      const { schedule, outcome } = failure;
      found.set(key, { ...failure, findings: explain(program, schedule, outcome, failure.findings, bound), times: 1 });
    } else known.times++;
  };

  for (;;) {
    const bodies = program.start();
    loop ??= new Loop(bodies.length);
    races.begin();
    classes?.begin(bodies.length);
    const outcome = loop.execute(bodies, strategy, bound, check);
    counts.executions++;
    counts.points += outcome.steps;
    counts.switches += outcome.switches;
    counts.choices += loop.chosen.length;
    if (outcome.kind === 'bound') counts.cut++;
    if (outcome.kind === 'abandoned') counts.abandoned++;
    else {
      classes?.end(loop.chosen);
      const findings = judge(program, outcome);
      if (findings.length > 0) keep({ schedule: scheduleOf(loop), findings, outcome, execution: counts.executions });
    }
    const more = strategy.next();
    if (counts.failures >= failures) return report('failures');
    if (!more) return report(strategy.covers === undefined ? 'no more' : 'exhausted');
    if (counts.executions >= executions) return report('executions');
    if (counts.executions % every !== 0) continue;
    options.progress?.(progress());
    if (options.stop?.() === true) return report('stopped');
    if (options.time !== undefined && (options.clock?.() ?? 0) - began >= options.time) return report('time');
  }
}
