/**
 * Exploring a small scenario: its designs, shared out to search threads, and what each of them showed.
 *
 * Invariant: a design's result depends on the scenario, the strategy and the limits, not on the number of threads, unless a
 * strategy that draws is spread over several of them, each with a seed of its own.
 * Lock: none; the main thread hears messages.
 */
import type { Catalog } from '../../abi/catalog.js';
import { LabError } from '../../abi/errors.js';
import { decodeSchedule } from '../../explore/schedule.js';
import { isExpected, type Verdict } from '../run/verdict.js';
import type { Expectation, FaultSpec, Scenario } from '../../scenario/scenario.js';
import type { ExplorePlan } from './machine.js';
import { checkFaults } from './lay-faults.js';
import { codeHash } from './code-hash.js';
import type { Counts, PrefixSpec, Searched, SearchSpec, Violation } from './messages.js';
import { DRAWS, type StrategySpec } from './strategy-names.js';
import { runJob } from './thread.js';
import { encodeToken, scenarioHash } from './token.js';

export interface ExploreOptions extends StrategySpec {
  readonly catalog: Catalog;
  readonly executions: number | undefined;
  readonly timeMs: number | undefined;
  readonly workers: number;
  readonly classes: boolean;
  /** Checks after every step, data races among them, beside the audit at the end. */
  readonly stepChecks: boolean;
  readonly stop: AbortSignal;
  /** Where an earlier exploration stood, by design. */
  readonly saved: Readonly<Record<string, unknown>>;
  /** How every execution begins, of a scenario with one design. */
  readonly prefix?: PrefixSpec;
  readonly onDesign?: (design: string) => void;
  readonly onProgress?: (design: string, counts: Counts) => void;
  readonly onShrinking?: (design: string, rule: string) => void;
  readonly onReport?: (report: DesignExplored) => void;
}

export interface FoundViolation extends Violation {
  readonly token: string;
}

export interface DesignExplored {
  readonly design: string;
  readonly buggy: boolean;
  readonly verdict: Verdict;
  readonly expected: boolean;
  readonly counts: Counts;
  readonly exhausted: boolean;
  /** What was covered when exhausted, in words. */
  readonly covers: string;
  readonly ended: string;
  readonly ms: number;
  readonly violations: readonly FoundViolation[];
  readonly note: string;
  /** Where the search stands, when it can be gone on with. */
  readonly saved: unknown;
}

export interface ExploreReport {
  readonly scenario: string;
  readonly designs: readonly DesignExplored[];
}

const NOTHING: Counts = {
  executions: 0,
  points: 0,
  failures: 0,
  cut: 0,
  states: 0,
  classes: undefined,
  remaining: undefined,
};

/** What is searched of `s` under `design`; a scenario that is not small is a LabError. */
export function planOf(
  s: Scenario,
  design: string,
  stepChecks: boolean,
  faultPlan: readonly FaultSpec[] = s.faults,
): ExplorePlan {
  if (s.small === undefined) {
    throw new LabError('NOT_SMALL', `scenario '${s.name}' has no 'small' section to explore`, {
      hint: 'guests/scenarios/small has scenarios that do; xenolith run is for the others',
    });
  }
  checkFaults(faultPlan, s.small);
  const { name, seed, hypervisor, domains, extent, checks } = s;
  return {
    scenario: { name, seed, hypervisor, domains, extent, checks },
    design,
    small: s.small,
    stepChecks,
    faultPlan,
  };
}

export async function explore(s: Scenario, o: ExploreOptions): Promise<ExploreReport> {
  planOf(s, '', false);
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const onAbort = (): void => void Atomics.store(stop, 0, 1);
  if (o.stop.aborted) onAbort();
  o.stop.addEventListener('abort', onAbort);
  const code = codeHash();
  const done = new Map<string, DesignExplored>();
  const open = [...s.designs];
  const spread = spreadOf(o, s.designs.length);
  const take = async (): Promise<void> => {
    for (let design = open.shift(); design !== undefined && !o.stop.aborted; design = open.shift()) {
      o.onDesign?.(design);
      const report = await oneDesign(s, design, o, spread, stop, code);
      done.set(design, report);
      o.onReport?.(report);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.max(1, Math.floor(o.workers / spread)) }, take));
  } finally {
    onAbort();
    o.stop.removeEventListener('abort', onAbort);
  }
  const designs = s.designs.flatMap((d) => done.get(d) ?? []);
  return { scenario: s.name, designs };
}

/** Threads of one design: strategies that draw use those that are left when every design has one. */
function spreadOf(o: ExploreOptions, designs: number): number {
  return DRAWS.includes(o.strategy) ? Math.max(1, Math.floor(o.workers / designs)) : 1;
}

async function oneDesign(
  s: Scenario,
  design: string,
  o: ExploreOptions,
  spread: number,
  stop: Int32Array,
  code: string,
): Promise<DesignExplored> {
  const plan = planOf(s, design, o.stepChecks);
  const expect: Expectation = s.expect[design] ?? { kind: 'clean' };
  const buggy = o.catalog.designs.find((d) => d.name === design)?.buggy ?? false;
  const began = performance.now();
  const parts = await Promise.all(
    Array.from({ length: spread }, (_, i) => {
      const search: SearchSpec = {
        ...pick(o),
        seed: o.seed + i,
        executions: o.executions === undefined ? undefined : Math.ceil(o.executions / spread),
        expect,
        saved: o.saved[design],
        classes: o.classes,
        ...(o.prefix === undefined ? {} : { prefix: o.prefix }),
      };
      return runJob({ kind: 'search', plan, search }, s.memoryMib, stop, (m) => {
        if (m.kind === 'progress') o.onProgress?.(design, m.counts);
        else o.onShrinking?.(design, m.rule);
      });
    }),
  );
  const refused = parts.find((p) => p.kind === 'refused');
  if (refused !== undefined) {
    const base = {
      design,
      buggy,
      counts: NOTHING,
      exhausted: false,
      covers: '',
      ended: 'refused',
      ms: 0,
      violations: [],
    };
    return { ...base, verdict: 'refused', expected: expect.kind === 'refused', note: refused.why, saved: undefined };
  }
  const searched = parts.filter((p): p is Searched => p.kind === 'searched');
  return judged(s, design, buggy, expect, searched, o, code, performance.now() - began);
}

const pick = ({ strategy, preemptions, seed, depth, faults, timeMs }: ExploreOptions) => ({
  strategy, preemptions, seed, depth, faults, timeMs,
}); // prettier-ignore

function judged(
  s: Scenario,
  design: string,
  buggy: boolean,
  expect: Expectation,
  parts: readonly Searched[],
  o: ExploreOptions,
  code: string,
  ms: number,
): DesignExplored {
  const [first] = parts;
  const byRule = new Map<string, Violation>();
  for (const v of parts.flatMap((p) => p.violations)) {
    const known = byRule.get(v.rule);
    if (known === undefined || smaller(v, known)) byRule.set(v.rule, v);
  }
  const violations = [...byRule.values()].map((v) => ({ ...v, token: tokenOf(s, design, v, code, o.stepChecks) }));
  const counts = parts.map((p) => p.counts).reduce(sum, NOTHING);
  const exhausted = parts.length === 1 && first?.exhausted === true;
  const interrupted = o.stop.aborted && !exhausted && violations.length === 0;
  const verdict: Verdict =
    violations.length > 0 ? 'broken' : interrupted ? 'interrupted' : counts.executions < 2 ? 'not exercised' : 'clean';
  const asViolations = violations.map((v) => ({
    invariant: v.rule,
    detail: '',
    holders: [],
    severity: 'broken' as const,
  }));
  return {
    design,
    buggy,
    verdict,
    expected: isExpected(verdict, asViolations, expect),
    counts,
    exhausted,
    covers: first?.covers ?? '',
    ended: first?.ended ?? '',
    ms: Math.max(...parts.map((p) => p.searchMs), Math.min(ms, 1)),
    violations,
    note: '',
    saved: parts.length === 1 ? first?.saved : undefined,
  };
}

const smaller = (a: Violation, b: Violation): boolean =>
  a.vcpus !== b.vcpus
    ? a.vcpus < b.vcpus
    : a.faults.length !== b.faults.length
      ? a.faults.length < b.faults.length
      : a.preemptions !== b.preemptions
        ? a.preemptions < b.preemptions
        : a.steps < b.steps;

const sum = (a: Counts, b: Counts): Counts => ({
  executions: a.executions + b.executions,
  points: a.points + b.points,
  failures: a.failures + b.failures,
  cut: a.cut + b.cut,
  states: Math.max(a.states, b.states),
  classes: b.classes === undefined ? a.classes : Math.max(a.classes ?? 0, b.classes),
  remaining: b.remaining ?? a.remaining,
});

function tokenOf(s: Scenario, design: string, v: Violation, code: string, stepChecks: boolean): string {
  const schedule = decodeSchedule(v.schedule);
  if (schedule === undefined) throw new Error('a schedule that was just encoded does not decode');
  return encodeToken({
    scenarioHash: scenarioHash(s),
    codeHash: code,
    design,
    twin: s.hypervisor.twin,
    stepChecks,
    leftOut: new Set(v.leftOut),
    faults: s.faults,
    trace: v.trace,
    schedule,
  });
}

/** Whether every design was searched and did as the scenario expects. */
export const allExplored = (s: Scenario, r: ExploreReport): boolean =>
  r.designs.length === s.designs.length && r.designs.every((d) => d.expected);
