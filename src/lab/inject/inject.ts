/**
 * Faults injected into small scenarios, design by design: one execution, or a sweep over all occurrences.
 *
 * Invariant: every scenario and design that was asked for gets its part of the report; an interruption ends the list, and
 * says so.
 * Lock: none; each scenario and design has a thread and a machine of its own.
 */
import { LabError } from '../../abi/errors.js';
import type { Catalog } from '../../abi/catalog.js';
import { SITES, type SiteName } from '../../fault/sites.js';
import type { FaultSpec, Scenario, Small } from '../../scenario/scenario.js';
import { expectedOutcomes, isExpected, missedBy, type Asked } from './expected.js';
import type { Execution } from './machine.js';
import { isGood } from './outcome.js';
import type { Cell } from './sweep.js';
import { runInject, type InjectAnswer, type InjectJob } from './thread.js';

export interface InjectOptions {
  readonly catalog: Catalog;
  /** Of one execution, besides those of the scenario. */
  readonly faults: readonly FaultSpec[];
  readonly sweep: InjectJob['sweep'];
  readonly workers: number;
  readonly stop: AbortSignal;
  readonly onProgress: (injected: number, done: number, of: number) => void;
}

/** Below this many occurrences of a site a sweep may pass over what is expected: it does not say that it was missed. */
export const USUAL_MOST = 30;

/** One cell of the matrix: keys of `--json`. */
export interface MatrixCell extends Cell {
  readonly scenario: string;
  readonly design: string;
  readonly buggy: boolean;
  readonly expected: boolean;
}

export interface DesignExecution extends Execution {
  readonly scenario: string;
  readonly design: string;
  readonly buggy: boolean;
  readonly expected: boolean;
}

export interface InjectReport {
  readonly scenarios: readonly string[];
  readonly sites: readonly SiteName[];
  readonly persistent: boolean;
  readonly injected: number;
  readonly executions: number;
  readonly matrix: readonly MatrixCell[];
  /** Sites that no run reached. */
  readonly unreached: readonly SiteName[];
  /** Outcomes that a scenario expects and that no occurrence had. */
  readonly missed: readonly string[];
  readonly refused: readonly { readonly scenario: string; readonly design: string; readonly why: string }[];
  /** Without a sweep. */
  readonly runs: readonly DesignExecution[];
  readonly whole: boolean;
}

interface Task {
  readonly scenario: Scenario;
  readonly design: string;
  readonly job: InjectJob;
  injected: number;
  answer?: InjectAnswer;
}

export async function inject(scenarios: readonly Scenario[], o: InjectOptions): Promise<InjectReport> {
  const tasks = scenarios.flatMap((s) => tasksOf(s, o));
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const abort = (): void => void Atomics.store(stop, 0, 1);
  if (o.stop.aborted) abort();
  o.stop.addEventListener('abort', abort);
  const told = (): void => {
    const injected = tasks.reduce((n, t) => n + t.injected, 0);
    o.onProgress(injected, tasks.filter((t) => t.answer !== undefined).length, tasks.length);
  };
  const queue = [...tasks];
  const lane = async (): Promise<void> => {
    for (let t = queue.shift(); t !== undefined && !o.stop.aborted; t = queue.shift()) {
      const own = t;
      own.answer = await runInject(own.job, own.scenario.memoryMib, stop, (n) => {
        own.injected = n;
        told();
      });
      if (own.answer.kind === 'swept') own.injected = own.answer.result.injected;
      told();
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, o.workers) }, lane));
  o.stop.removeEventListener('abort', abort);
  return reportOf(scenarios, tasks, o);
}

function tasksOf(s: Scenario, o: InjectOptions): Task[] {
  const { small } = s;
  if (small === undefined) {
    throw new LabError('NO_SMALL', `scenario '${s.name}' has no 'small' section`, {
      hint: 'such as guests/scenarios/faults/exit.yaml; `run` takes --fault with any scenario',
    });
  }
  return s.designs.map((design) => ({ scenario: s, design, job: jobOf(s, small, design, o), injected: 0 }));
}

function jobOf(s: Scenario, small: Small, design: string, o: InjectOptions): InjectJob {
  const { name, seed, hypervisor, domains, extent, checks } = s;
  return {
    plan: { scenario: { name, seed, hypervisor, domains, extent, checks }, design, small, stepChecks: false },
    sweep: o.sweep,
    faults: [...s.faults, ...o.faults],
  };
}

function reportOf(scenarios: readonly Scenario[], tasks: readonly Task[], o: InjectOptions): InjectReport {
  const matrix: MatrixCell[] = [];
  const runs: DesignExecution[] = [];
  const refused: { scenario: string; design: string; why: string }[] = [];
  const missed: string[] = [];
  const persistent = o.sweep?.persistent ?? false;
  const sites = o.sweep?.sites ?? [...new Set(tasks.flatMap((t) => t.job.faults.map((f) => f.site)))];
  let injected = 0;
  let executions = 0;
  let whole = true;
  for (const { scenario: s, design, job, answer: a } of tasks) {
    const asked: Asked = { scenario: s, design, persistent };
    const who = { scenario: s.name, design, buggy: o.catalog.designs.find((d) => d.name === design)?.buggy ?? false };
    if (a === undefined) whole = false;
    else if (a.kind === 'refused') refused.push({ scenario: s.name, design, why: a.why });
    else if (a.kind === 'executed') {
      runs.push({ ...a.execution, ...who, expected: mayEnd(asked, job.faults, a.execution) });
      injected += a.execution.faults.reduce((n, f) => n + f.hits, 0);
      executions++;
    } else {
      const { cells } = a.result;
      for (const c of cells) matrix.push({ ...c, ...who, expected: isExpected(asked, c) });
      injected += a.result.injected;
      executions += a.result.executions;
      whole &&= a.result.whole;
      if (a.result.whole && (o.sweep?.most ?? 0) >= USUAL_MOST) missed.push(...missedBy(asked, sites, cells));
    }
  }
  const reached = new Set(matrix.filter((c) => c.outcome !== 'not exercised' && c.occurrence > 0).map((c) => c.site));
  const unreached = o.sweep === undefined ? [] : SITES.filter((site) => sites.includes(site) && !reached.has(site));
  const names = scenarios.map((s) => s.name);
  return { scenarios: names, sites, persistent, injected, executions, matrix, unreached, missed, refused, runs, whole };
}

/** Whether one execution with chosen faults may end as it did: well, or as a sweep of one of their sites would. */
function mayEnd(a: Asked, faults: readonly FaultSpec[], e: Execution): boolean {
  if (e.bug !== '') return false;
  const lasting = { ...a, persistent: true };
  const of = (x: Asked): boolean => faults.some((f) => expectedOutcomes(x, f.site).includes(e.outcome));
  return isGood(e.outcome) || expectedOutcomes(a, 'none').includes(e.outcome) || of(a) || of(lasting);
}
