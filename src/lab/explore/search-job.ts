/**
 * A search thread's work on one design: boot, search, shrink what was found.
 *
 * Invariant: with the same job and limits that are no times it answers the same. What is handed back was just run: every
 * violation's schedule replays to its trace.
 */
import { HypervisorBug, LabError } from '../../abi/errors.js';
import { continueFrom } from '../../explore/replay.js';
import { decodeSchedule, encodeSchedule, type Schedule } from '../../explore/schedule.js';
import { search, type Found, type Progress, type Report } from '../../explore/search.js';
import { shrink } from '../../explore/shrink.js';
import type { Strategy } from '../../explore/strategy.js';
import type { Expectation } from '../../scenario/scenario.js';
import { CHOICE } from '../../sync/choices.js';
import type { ExploreGuests } from './guests.js';
import type { ExplorePlan } from './machine.js';
import type { Counts, PrefixSpec, Searched, SearchSpec, Violation } from './messages.js';
import { adaptSchedule } from './reduce.js';
import { record } from './replay.js';
import { strategyOf } from './strategies.js';
import { simplerSubjects, Subject } from './subject.js';

export interface SearchTalk {
  readonly stopped: () => boolean;
  readonly progress: (counts: Counts) => void;
  readonly shrinking: (rule: string) => void;
}

/** Executions between two looks at the clock and at what was found. */
const EVERY = 32;
/** Between two reports of progress. */
const PROGRESS_MS = 200;
/** Executions that one try to shrink may search. */
const SHRINK_EXECUTIONS = 300;
/** Findings that come with others and are not worth a counterexample of their own. */
const SIDE_EFFECTS: readonly string[] = ['warning'];

export function searchJob(
  plan: ExplorePlan,
  spec: SearchSpec,
  makeGuests: () => ExploreGuests,
  talk: SearchTalk,
): Searched {
  const subject = new Subject(plan, new Set(spec.prefix?.leftOut), makeGuests());
  const strategy = prefixed(strategyOf(spec), spec.prefix);
  if (spec.saved !== undefined) {
    if (strategy.load === undefined) {
      throw new LabError('NOT_RESUMABLE', `strategy ${spec.strategy} cannot be resumed`, {
        hint: 'bounded, dpor and naive can',
      });
    }
    strategy.load(spec.saved);
  }
  const began = performance.now();
  let last = began;
  const report = search(subject, strategy, {
    failures: Infinity,
    bound: plan.small.bound,
    every: EVERY,
    classes: spec.classes,
    races: plan.stepChecks,
    clock: () => performance.now(),
    stop: () => talk.stopped() || isEnough(spec.expect, subject.broken),
    progress: (p) => {
      const now = performance.now();
      if (now - last < PROGRESS_MS) return;
      last = now;
      talk.progress(countsOf(p, subject));
    },
    ...(spec.executions === undefined ? {} : { executions: spec.executions }),
    ...(spec.timeMs === undefined ? {} : { time: spec.timeMs }),
  });
  const searchMs = performance.now() - began;
  return {
    kind: 'searched',
    counts: countsOf(report, subject),
    ended: report.ended,
    exhausted: report.exhausted,
    covers: report.covers ?? '',
    searchMs,
    violations: violationsOf(plan, subject, report, makeGuests, talk),
    saved: report.exhausted ? undefined : strategy.save?.(),
  };
}

function prefixed(strategy: Strategy, prefix: PrefixSpec | undefined): Strategy {
  if (prefix === undefined) return strategy;
  const schedule = decodeSchedule(prefix.schedule);
  if (schedule === undefined) throw new HypervisorBug('a schedule that was just encoded does not decode');
  return continueFrom(schedule, strategy, prefix.steps);
}

function countsOf(p: Progress, subject: Subject): Counts {
  const { executions, points, failures, cut, classes, remaining } = p;
  return { executions, points, failures, cut, states: subject.states, classes, remaining };
}

/** Nothing more is to be learned: something unexpected was seen, or all that is expected. */
function isEnough(expect: Expectation, broken: ReadonlySet<string>): boolean {
  if (broken.size === 0) return false;
  if (expect.kind !== 'breaks') return true;
  const allowed = new Set<string>([...expect.breaks, ...expect.may, ...SIDE_EFFECTS]);
  return expect.breaks.every((rule) => broken.has(rule)) || [...broken].some((rule) => !allowed.has(rule));
}

function violationsOf(
  plan: ExplorePlan,
  subject: Subject,
  report: Report,
  makeGuests: () => ExploreGuests,
  talk: SearchTalk,
): Violation[] {
  const rules = new Set(report.found.flatMap((f) => f.findings.map((x) => x.rule)));
  const own = [...rules].filter((rule) => rules.size === 1 || !SIDE_EFFECTS.includes(rule));
  return own.flatMap((rule) => {
    const with_ = report.found.filter((f) => f.findings.some((x) => x.rule === rule));
    const first = with_[0];
    if (first === undefined) return [];
    talk.shrinking(rule);
    const times = with_.reduce((n, f) => n + f.times, 0);
    return [shrunk(plan, subject, rule, first, times, makeGuests, talk)];
  });
}

function shrunk(
  plan: ExplorePlan,
  subject: Subject,
  rule: string,
  found: Found,
  times: number,
  makeGuests: () => ExploreGuests,
  talk: SearchTalk,
): Violation {
  const small = shrink<Subject>(subject, found.schedule, {
    same: (findings) => findings.some((f) => f.rule === rule),
    simpler: (from) => simplerSubjects(plan, from, makeGuests),
    adapt: (schedule: Schedule, from, to) => adaptSchedule(plan.small, schedule, from.leftOut, to.leftOut),
    executions: SHRINK_EXECUTIONS,
    races: plan.stepChecks,
    bound: plan.small.bound,
    faults: { what: CHOICE.fault, name: 'faults' },
    stop: talk.stopped,
  });
  const best = small ?? { ...found, program: subject };
  const recording = record(best.program, best.schedule, plan.small.bound);
  return {
    rule,
    findings: recording.findings.length > 0 ? recording.findings : best.findings,
    leftOut: [...best.program.leftOut],
    schedule: encodeSchedule(best.schedule),
    trace: recording.trace,
    faults: recording.happenings
      .filter((h) => h.kind === 'fault')
      .map((h) => `${recording.sides[h.side] ?? ''}: ${h.text}`),
    steps: best.outcome.steps,
    preemptions: best.outcome.preemptions,
    vcpus: best.program.machine.sides.length,
    times,
  };
}
