/**
 * A scenario with hostile guests for as long as wanted: every design in turn, each run with a seed of its own, on threads
 * and, now and then, in the controlled build.
 *
 * Invariant: ends within its time and the bound of one run; the first run that is not as expected ends it. A run in which
 * nothing was met counts for nothing: a design of which no run met anything is named.
 * Lock: none.
 */
import type { Catalog } from '../../abi/catalog.js';
import type { Violation } from '../../abi/guest.js';
import type { Scenario } from '../../scenario/scenario.js';
import type { Bounds } from '../run/design-run.js';
import { runScenario } from '../run/scenario-run.js';
import { isExpected, verdictOf, type Verdict } from '../run/verdict.js';
import { runControlled } from './controlled-thread.js';
import { addSummaries, hostileSummary, type HostileSummary } from './summary.js';

export const HOSTILE_BUILDS = ['controlled', 'parallel'] as const;
export type HostileBuild = (typeof HOSTILE_BUILDS)[number];

export interface HostileOptions {
  readonly catalog: Catalog;
  readonly builds: readonly HostileBuild[];
  /** Until then; every design gets at least one run of each build unless stopped. */
  readonly minutes: number;
  /** Of one run on threads; rounds of one in the controlled build. */
  readonly seconds: number;
  readonly rounds: number;
  readonly seed: number;
  readonly bounds: Bounds;
  readonly stop: AbortSignal;
  readonly onRun: (r: HostileRun, so: HostileReport) => void;
}

export interface HostileRun {
  readonly build: HostileBuild;
  readonly design: string;
  readonly seed: number;
  readonly verdict: Verdict;
  readonly expected: boolean;
  readonly violations: readonly Violation[];
  readonly notes: readonly string[];
  readonly hostile: HostileSummary | undefined;
  /** In the controlled build: steps, and the trace, which the seed alone decides. */
  readonly steps: number;
  readonly trace: string;
}

/** Keys of `--json`. */
export interface HostileReport {
  readonly scenario: string;
  readonly seed: number;
  readonly nextSeed: number;
  readonly seconds: number;
  readonly runs: number;
  readonly notExercised: number;
  /** What was run, how often, and how often something was met. */
  readonly designs: readonly {
    readonly design: string;
    readonly build: HostileBuild;
    readonly runs: number;
    readonly exercised: number;
  }[];
  readonly hostile: HostileSummary | undefined;
  readonly complete: boolean;
  readonly failure: HostileRun | undefined;
}

/** Of the runs on threads, after how many one of the controlled build follows. */
const CONTROLLED_EVERY = 8;

export async function hostileCampaign(s: Scenario, o: HostileOptions): Promise<HostileReport> {
  const began = performance.now();
  const counts = new Map<string, { design: string; build: HostileBuild; runs: number; exercised: number }>();
  let sum: HostileSummary | undefined;
  let runs = 0;
  let failure: HostileRun | undefined;
  const report = (complete: boolean): HostileReport => ({
    scenario: s.name,
    seed: o.seed,
    nextSeed: (o.seed + runs) >>> 0,
    seconds: Math.round((performance.now() - began) / 1000),
    runs,
    notExercised: [...counts.values()].reduce((n, c) => n + c.runs - c.exercised, 0),
    designs: [...counts.values()],
    hostile: sum,
    complete: complete && failure === undefined && [...counts.values()].every((c) => c.exercised > 0),
    failure,
  });
  const turns = turnsOf(s, o);
  const due = (): boolean => runs < turns.least || performance.now() - began < o.minutes * 60_000;
  while (!o.stop.aborted && failure === undefined && due()) {
    const { design, build } = turns.at(runs);
    const r = await oneRun(s, design, build, (o.seed + runs) >>> 0, o);
    if (r === undefined || r.verdict === 'interrupted') break;
    runs++;
    const key = `${build} ${design}`;
    const c = counts.get(key) ?? { design, build, runs: 0, exercised: 0 };
    const idle = r.verdict === 'not exercised';
    counts.set(key, { ...c, runs: c.runs + 1, exercised: c.exercised + (idle ? 0 : 1) });
    if (r.hostile !== undefined) sum = addSummaries(sum, r.hostile);
    if (!r.expected && !idle) failure = r;
    o.onRun(r, report(false));
  }
  return report(!o.stop.aborted && runs > 0);
}

interface Turns {
  /** So many give every design a run of each build. */
  readonly least: number;
  readonly at: (i: number) => { design: string; build: HostileBuild };
}

/** Designs in rotation; of both builds, mostly threads. A scenario's refused designs run nowhere. */
function turnsOf(s: Scenario, o: HostileOptions): Turns {
  const designs = s.designs.filter((d) => s.expect[d]?.kind !== 'refused');
  const name = (i: number): string => designs[i % designs.length] ?? '';
  const [only, other] = o.builds;
  if (other === undefined)
    return { least: designs.length, at: (i) => ({ design: name(i), build: only ?? 'parallel' }) };
  const every = CONTROLLED_EVERY + 1;
  return {
    least: designs.length,
    at: (i) =>
      i % every === CONTROLLED_EVERY
        ? { design: name(Math.floor(i / every)), build: 'controlled' }
        : { design: name(i - Math.floor(i / every)), build: 'parallel' },
  };
}

function oneRun(
  s: Scenario,
  design: string,
  build: HostileBuild,
  seed: number,
  o: HostileOptions,
): Promise<HostileRun | undefined> {
  return build === 'parallel' ? onThreads(s, design, seed, o) : controlled(s, design, seed, o);
}

async function onThreads(
  s: Scenario,
  design: string,
  seed: number,
  o: HostileOptions,
): Promise<HostileRun | undefined> {
  const one: Scenario = { ...s, designs: [design], seed, extent: { kind: 'seconds', seconds: o.seconds } };
  const report = await runScenario(one, { catalog: o.catalog, stop: o.stop, bounds: o.bounds });
  const d = report.designs[0];
  if (d === undefined) return undefined;
  const { verdict, expected, violations, notes, counters } = d;
  const common = { build: 'parallel', design, seed, steps: 0, trace: '' } as const;
  return { ...common, verdict, expected, violations, notes, hostile: hostileSummary(counters) };
}

/** Of a run in the controlled build only that something was reached is asked for: it is short. */
async function controlled(
  s: Scenario,
  design: string,
  seed: number,
  o: HostileOptions,
): Promise<HostileRun | undefined> {
  const { name, hypervisor, domains } = s;
  const extent = { kind: 'rounds', rounds: o.rounds } as const;
  const job = { plan: { scenario: { name, seed, hypervisor, domains, extent }, design }, checks: s.checks, seed };
  const r = await runControlled(job, s.memoryMib, o.stop);
  if (r === undefined) return undefined;
  const verdict = verdictOf(r, {});
  const expect = s.expect[design] ?? { kind: 'clean' };
  // A short run need not show what a broken design breaks, but may show nothing else.
  const expected =
    isExpected(verdict, r.violations, expect) || (expect.kind === 'breaks' && showsLess(verdict, r.violations, expect));
  const common = { build: 'controlled', design, seed, steps: r.steps, trace: r.trace } as const;
  return {
    ...common,
    verdict,
    expected,
    violations: r.violations,
    notes: r.notes,
    hostile: hostileSummary(r.counters),
  };
}

function showsLess(
  verdict: Verdict,
  found: readonly Violation[],
  e: { breaks: readonly string[]; may: readonly string[] },
): boolean {
  const allowed = new Set([...e.breaks, ...e.may, 'warning']);
  return (verdict === 'clean' || verdict === 'broken') && found.every((v) => allowed.has(v.invariant));
}
