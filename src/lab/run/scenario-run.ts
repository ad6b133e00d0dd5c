/**
 * A whole scenario: each of its designs in turn on one machine, each with its verdict.
 *
 * Invariant: every design that was asked for gets a report, also after one that stalled; an interruption ends the list.
 * Lock: none.
 */
import type { Violation } from '../../abi/guest.js';
import type { Catalog } from '../../abi/catalog.js';
import type { Scenario } from '../../scenario/scenario.js';
import { DEFAULT_BOUNDS, runDesign, type Bounds, type Sample } from './design-run.js';
import { Machine } from './machine.js';
import { ENTRIES, type Entries } from './thread.js';
import { isExpected, lacking, verdictOf, type Counters, type Overlap, type Verdict } from './verdict.js';

/** What one design showed: the keys of `--json`, and `notes` for people. */
export interface DesignReport {
  readonly design: string;
  readonly buggy: boolean;
  readonly verdict: Verdict;
  readonly expected: boolean;
  readonly violations: readonly Violation[];
  readonly counters: Counters;
  readonly overlap: Overlap;
  readonly notes: readonly string[];
  /** Domains that faults took away, a sentence each. */
  readonly deaths: readonly string[];
}

export interface ScenarioReport {
  readonly scenario: string;
  readonly seed: number;
  readonly designs: readonly DesignReport[];
}

export interface ScenarioRunOptions {
  readonly catalog: Catalog;
  /** Aborted: come to an orderly end, report what ran. */
  readonly stop: AbortSignal;
  readonly bounds?: Bounds;
  readonly entries?: Entries;
  readonly onDesign?: (design: string, index: number, of: number) => void;
  readonly onSample?: (design: string, s: Sample) => void;
  readonly onReport?: (r: DesignReport) => void;
}

/** Runs every design of `scenario`; resolves with the reports, never rejects for what a guest or a design did. */
export async function runScenario(scenario: Scenario, options: ScenarioRunOptions): Promise<ScenarioReport> {
  const machine = new Machine(scenario.memoryMib, options.entries ?? ENTRIES);
  const designs: DesignReport[] = [];
  try {
    for (const [i, design] of scenario.designs.entries()) {
      if (options.stop.aborted) break;
      options.onDesign?.(design, i, scenario.designs.length);
      const report = await oneDesign(machine, scenario, design, options);
      designs.push(report);
      options.onReport?.(report);
    }
  } finally {
    await machine.close();
  }
  return { scenario: scenario.name, seed: scenario.seed, designs };
}

async function oneDesign(
  machine: Machine,
  s: Scenario,
  design: string,
  options: ScenarioRunOptions,
): Promise<DesignReport> {
  const { name, seed, hypervisor, domains, extent } = s;
  const plan = { scenario: { name, seed, hypervisor, domains, extent }, design, faults: s.faults };
  const outcome = await runDesign(machine, plan, {
    extent,
    events: s.events,
    checks: s.checks,
    bounds: options.bounds ?? DEFAULT_BOUNDS,
    stop: options.stop,
    onSample: (sample) => options.onSample?.(design, sample),
  });
  const verdict = verdictOf(outcome, s.require);
  const { violations, counters, overlap } = outcome;
  const notes = verdict === 'not exercised' ? [...outcome.notes, ...lacking(outcome, s.require)] : outcome.notes;
  const expected = isExpected(verdict, violations, s.expect[design] ?? { kind: 'clean' });
  const buggy = options.catalog.designs.find((d) => d.name === design)?.buggy ?? false;
  return { design, buggy, verdict, expected, violations, counters, overlap, notes, deaths: outcome.deaths ?? [] };
}

/** Whether everything that was asked for ran and was as expected. */
export const allExpected = (scenario: Scenario, report: ScenarioReport): boolean =>
  report.designs.length === scenario.designs.length && report.designs.every((d) => d.expected);
