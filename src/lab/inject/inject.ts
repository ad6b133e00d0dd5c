/**
 * Faults injected into a small scenario, design by design: one execution, or a sweep over all occurrences.
 *
 * Invariant: every design that was asked for gets its part of the report; an interruption ends the list, and says so.
 * Lock: none; each design has a thread and a machine of its own.
 */
import { LabError } from '../../abi/errors.js';
import type { Catalog } from '../../abi/catalog.js';
import { SITES, type SiteName } from '../../fault/sites.js';
import type { FaultSpec, Scenario, Small } from '../../scenario/scenario.js';
import type { Execution } from './machine.js';
import { isGood, type OutcomeName } from './outcome.js';
import type { Cell } from './sweep.js';
import { runInject, type InjectAnswer, type InjectJob } from './thread.js';

export interface InjectOptions {
  readonly catalog: Catalog;
  readonly faults: readonly FaultSpec[];
  readonly sweep: InjectJob['sweep'];
  readonly workers: number;
  readonly stop: AbortSignal;
  readonly onProgress: (injected: number, done: number, of: number) => void;
}

/** One cell of the matrix: keys of `--json`. */
export interface MatrixCell extends Cell {
  readonly design: string;
  readonly buggy: boolean;
  readonly expected: boolean;
}

export interface DesignExecution extends Execution {
  readonly design: string;
  readonly buggy: boolean;
  readonly expected: boolean;
}

export interface InjectReport {
  readonly scenario: string;
  readonly sites: readonly SiteName[];
  readonly injected: number;
  readonly executions: number;
  readonly matrix: readonly MatrixCell[];
  /** Sites that no run reached. */
  readonly unreached: readonly SiteName[];
  /** Outcomes that the scenario expects of a design and that no cell showed. */
  readonly missed: readonly string[];
  readonly refused: readonly { readonly design: string; readonly why: string }[];
  /** Without a sweep. */
  readonly runs: readonly DesignExecution[];
  readonly whole: boolean;
}

export async function inject(s: Scenario, o: InjectOptions): Promise<InjectReport> {
  const { small } = s;
  if (small === undefined) {
    throw new LabError('NO_SMALL', `scenario '${s.name}' has no 'small' section`, {
      hint: 'such as guests/scenarios/faults/exit.yaml; `run` takes --fault with any scenario',
    });
  }
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const abort = (): void => void Atomics.store(stop, 0, 1);
  o.stop.addEventListener('abort', abort);
  const answers = new Map<string, InjectAnswer>();
  const progress = new Map<string, number>();
  const total = (): number => [...progress.values()].reduce((n, v) => n + v, 0);
  const queue = [...s.designs];
  const lane = async (): Promise<void> => {
    for (let design = queue.shift(); design !== undefined && !o.stop.aborted; design = queue.shift()) {
      const own = design;
      const answer = await runInject(jobOf(s, small, own, o), s.memoryMib, stop, (n) => {
        progress.set(own, n);
        o.onProgress(total(), answers.size, s.designs.length);
      });
      answers.set(own, answer);
      o.onProgress(total(), answers.size, s.designs.length);
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, o.workers) }, lane));
  o.stop.removeEventListener('abort', abort);
  return reportOf(s, o, answers);
}

function jobOf(s: Scenario, small: Small, design: string, o: InjectOptions): InjectJob {
  const { name, seed, hypervisor, domains, extent, checks } = s;
  return {
    plan: { scenario: { name, seed, hypervisor, domains, extent, checks }, design, small, stepChecks: false },
    sweep: o.sweep,
    faults: o.faults,
  };
}

function reportOf(s: Scenario, o: InjectOptions, answers: ReadonlyMap<string, InjectAnswer>): InjectReport {
  const matrix: MatrixCell[] = [];
  const runs: DesignExecution[] = [];
  const refused: { design: string; why: string }[] = [];
  const reached = new Set<string>();
  let injected = 0;
  let executions = 0;
  let whole = s.designs.every((d) => answers.has(d));
  for (const design of s.designs) {
    const a = answers.get(design);
    const buggy = o.catalog.designs.find((d) => d.name === design)?.buggy ?? false;
    if (a?.kind === 'refused') refused.push({ design, why: a.why });
    if (a?.kind === 'executed') {
      const expected = o.faults.some((f) => isExpected(s, design, f.site, a.execution.outcome));
      runs.push({ ...a.execution, design, buggy, expected });
      injected += a.execution.faults.reduce((n, f) => n + f.hits, 0);
      executions++;
    }
    if (a?.kind !== 'swept') continue;
    for (const c of a.result.cells)
      matrix.push({ ...c, design, buggy, expected: isExpected(s, design, c.site, c.outcome) });
    injected += a.result.injected;
    executions += a.result.executions;
    whole &&= a.result.whole;
    for (const c of a.result.cells) if (c.outcome !== 'not exercised' && c.occurrence > 0) reached.add(c.site);
  }
  const sites = o.sweep?.sites ?? [...new Set(o.faults.map((f) => f.site))];
  const unreached = o.sweep === undefined ? [] : SITES.filter((site) => sites.includes(site) && !reached.has(site));
  const missed = o.sweep === undefined || !whole ? [] : missedBy(s, sites, matrix);
  return { scenario: s.name, sites, injected, executions, matrix, unreached, missed, refused, runs, whole };
}

/** What a cell may be: good, or what the scenario says of the design at this site. */
function isExpected(s: Scenario, design: string, site: SiteName, outcome: OutcomeName): boolean {
  if (isGood(outcome) || allowed(s, design, site).includes(outcome)) return true;
  // A design that is expected to break without any fault is not expected to do better with one.
  return s.expect[design]?.kind === 'breaks';
}

function allowed(s: Scenario, design: string, site: SiteName): readonly OutcomeName[] {
  const own = s.sweep[design];
  const common = s.sweep['default'];
  return [...(own?.[site] ?? own?.default ?? []), ...(common?.[site] ?? common?.default ?? [])];
}

/** What is expected of a design at a site that was swept, and was not found at any. */
function missedBy(s: Scenario, sites: readonly SiteName[], matrix: readonly MatrixCell[]): string[] {
  return Object.entries(s.sweep).flatMap(([design, e]) => {
    if (design === 'default' || !s.designs.includes(design)) return [];
    return Object.entries(e).flatMap(([site, outcomes]) => {
      if (site !== 'default' && !(sites as readonly string[]).includes(site)) return [];
      const cells = matrix.filter((c) => c.design === design && (site === 'default' || c.site === site));
      return outcomes
        .filter((o) => !cells.some((c) => c.outcome === o))
        .map((o) => `${design} ${site}: no run ended ${o}`);
    });
  });
}
