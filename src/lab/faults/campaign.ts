/**
 * A campaign of faults: small scenarios in both builds under random plans and schedules, and whole guests on threads, until
 * so many faults were injected or the time is up.
 *
 * Invariant: every design of every scenario gets its part in each build, whatever the number of threads; what is not as
 * expected is kept with what shows it again; sites that nobody reached are named.
 * Lock: none.
 */
import type { Catalog } from '../../abi/catalog.js';
import { LabError } from '../../abi/errors.js';
import { SITES, type SiteName } from '../../fault/sites.js';
import type { Scenario } from '../../scenario/scenario.js';
import type { OutcomeName } from '../../scenario/schema.js';
import type { JobEnd, SmallBuild } from '../small/job.js';
import { runJob } from '../small/job.js';
import { expectedOutcomes } from '../inject/expected.js';
import { longRuns } from './long.js';
import type { Excuses } from './machine.js';
import { OWN_TABLES } from './plan.js';
import { addTo, NO_FAULTS, type FaultCounts, type FaultJob, type FaultResult } from './thread.js';

export interface FaultsOptions {
  readonly catalog: Catalog;
  readonly faults: number;
  /** Of each part at most; for showing one again. */
  readonly executions: number;
  readonly seed: number;
  readonly builds: readonly SmallBuild[];
  readonly workers: number;
  readonly stop: AbortSignal;
  readonly onProgress: (injected: number, done: number, of: number) => void;
}

export interface FaultsRow extends FaultCounts {
  readonly scenario: string;
  readonly design: string;
  readonly build: SmallBuild;
  /** Whole guests, or a small scenario. */
  readonly long: boolean;
  readonly seed: number;
  readonly asked: number;
  readonly refused: string;
  /** Why its machine was lost, which is no verdict; '' when it was not. */
  readonly lost: string;
}

export interface FaultsReport {
  readonly seed: number;
  readonly asked: number;
  readonly injected: number;
  readonly executions: number;
  readonly takenDown: number;
  readonly unexpected: number;
  /** By build. */
  readonly sites: Readonly<Record<SmallBuild, Readonly<Partial<Record<SiteName, number>>>>>;
  readonly unreached: readonly SiteName[];
  readonly rows: readonly FaultsRow[];
  /** All that was asked for was injected. */
  readonly complete: boolean;
}

/** Between the first seeds of two parts. */
const SEEDS_APART = 1_000_003;
/** Of the faults asked for, the share of whole guests. */
const LONG_SHARE = 0.4;

interface Part {
  readonly s: Scenario;
  readonly design: string;
  readonly build: SmallBuild;
  readonly long: boolean;
  readonly asked: number;
  readonly seed: number;
}

/** `small` scenarios, and `long` ones with workloads. */
export async function faults(
  small: readonly Scenario[],
  long: readonly Scenario[],
  o: FaultsOptions,
): Promise<FaultsReport> {
  const parts = partsOf(small, long, o);
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const abort = (): void => void Atomics.store(stop, 0, 1);
  o.stop.addEventListener('abort', abort);
  const rows: FaultsRow[] = [];
  const under = new Map<Part, number>();
  const tell = (p: Part, n: number): void => {
    under.set(p, n);
    o.onProgress(
      [...under.values()].reduce((sum, v) => sum + v, 0),
      rows.length,
      parts.length,
    );
  };
  const queue = [...parts];
  const lane = async (): Promise<void> => {
    for (let p = queue.shift(); p !== undefined && !o.stop.aborted; p = queue.shift()) {
      const part = p;
      const end = await onePart(part, o, stop, (n) => {
        tell(part, n);
      });
      const { design, build, asked, seed } = part;
      const row = { scenario: part.s.name, design, build, long: part.long, seed, asked };
      if ('lost' in end) rows.push({ ...row, ...NO_FAULTS, refused: '', lost: end.lost });
      else rows.push({ ...row, ...end.result, lost: '' });
      tell(part, rows.at(-1)?.injected ?? 0);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.max(1, o.workers) }, lane));
  } finally {
    abort();
    o.stop.removeEventListener('abort', abort);
  }
  return reportOf(rows, parts.length, o);
}

async function onePart(
  p: Part,
  o: FaultsOptions,
  stop: Int32Array,
  progress: (n: number) => void,
): Promise<JobEnd<FaultResult>> {
  if (p.long) {
    const { design, seed } = p;
    const counts = await longRuns(p.s, { catalog: o.catalog, design, seed, faults: p.asked, stop: o.stop, progress });
    return { result: { ...counts, refused: '' } };
  }
  const job = jobOf(p, o);
  return runJob<FaultJob, number, FaultResult>({
    build: p.build,
    entry: 'faults',
    job,
    mib: p.s.memoryMib,
    stop,
    progress,
  });
}

/** What is asked for, in equal parts for all that is not expected to refuse, and a share of its own for whole guests. */
function partsOf(small: readonly Scenario[], long: readonly Scenario[], o: FaultsOptions): Part[] {
  const runs = (s: Scenario): string[] => s.designs.filter((d) => s.expect[d]?.kind !== 'refused');
  const short = small.flatMap((s) => {
    if (s.small === undefined) {
      throw new LabError('NO_SMALL', `scenario '${s.name}' has no 'small' section`, {
        hint: 'such as guests/scenarios/faults/exit.yaml',
      });
    }
    return runs(s).flatMap((design) => o.builds.map((build) => ({ s, design, build, long: false })));
  });
  const wide = o.builds.includes('parallel')
    ? long.flatMap((s) => runs(s).map((design) => ({ s, design, build: 'parallel', long: true }) as const))
    : [];
  const share = wide.length === 0 ? 0 : short.length === 0 ? 1 : LONG_SHARE;
  const each = (of: number, n: number): number => Math.ceil((o.faults * of) / Math.max(1, n));
  return [...short, ...wide].map((p, i) => ({
    ...p,
    asked: p.long ? each(share, wide.length) : each(1 - share, short.length),
    seed: (o.seed + i * SEEDS_APART) >>> 0,
  }));
}

function jobOf(p: Part, o: FaultsOptions): FaultJob {
  const { name, seed: own, hypervisor, domains, extent, checks, small, expect } = p.s;
  if (small === undefined) throw new LabError('NO_SMALL', `scenario '${name}' has no 'small' section`);
  const buggy = o.catalog.designs.find((d) => d.name === p.design)?.buggy ?? false;
  const excuses: Excuses = { breaks: buggy || expect[p.design]?.kind === 'breaks', sites: excusesOf(p.s, p.design) };
  return {
    plan: {
      scenario: { name, seed: own, hypervisor, domains, extent, checks },
      design: p.design,
      small,
      stepChecks: false,
    },
    excuses,
    seed: p.seed,
    faults: p.asked,
    executions: o.executions,
  };
}

/**
 * What a sweep of the site may end as, with one fault or one that lasts. Under a random plan a refusal of the guest kernel's
 * own tables may do whatever a BUG() may.
 */
function excusesOf(scenario: Scenario, design: string): Excuses['sites'] {
  const of = (site: SiteName): OutcomeName[] =>
    [false, true].flatMap((persistent) => [...expectedOutcomes({ scenario, design, persistent }, site)]);
  const own: OutcomeName[] = ['leaked', 'corrupted'];
  return Object.fromEntries(SITES.map((site) => [site, OWN_TABLES.includes(site) ? own : of(site)]));
}

function reportOf(rows: readonly FaultsRow[], parts: number, o: FaultsOptions): FaultsReport {
  const sum = (key: 'injected' | 'executions' | 'takenDown' | 'unexpected'): number =>
    rows.reduce((n, r) => n + r[key], 0);
  const sitesOf = (build: SmallBuild): Partial<Record<SiteName, number>> =>
    rows.filter((r) => r.build === build).reduce<Partial<Record<SiteName, number>>>((a, r) => addTo(a, r.sites), {});
  const sites = { controlled: sitesOf('controlled'), parallel: sitesOf('parallel') };
  const injected = sum('injected');
  return {
    seed: o.seed,
    asked: o.faults,
    injected,
    executions: sum('executions'),
    takenDown: sum('takenDown'),
    unexpected: sum('unexpected'),
    sites,
    unreached: SITES.filter((s) => o.builds.every((b) => (sites[b][s] ?? 0) === 0)),
    rows,
    complete: rows.length === parts && rows.every((r) => r.lost === '') && injected >= o.faults,
  };
}
