/**
 * A campaign of deaths: its share for every design of every small scenario in each build, each on a machine of its own.
 *
 * Invariant: a design gets the deaths that are its part whatever the number of threads; its seeds begin at the campaign's,
 * or far from it. What refuses to run, or could not be killed often enough, or lost its machine, is named.
 * Lock: none.
 */
import { LabError } from '../../abi/errors.js';
import type { Scenario } from '../../scenario/scenario.js';
import { runJob, type SmallBuild } from '../small/job.js';
import { NO_DEATHS, type DeathCounts, type DeathJob, type DeathResult } from './thread.js';

export interface DeathsOptions {
  readonly deaths: number;
  readonly seed: number;
  readonly builds: readonly SmallBuild[];
  readonly workers: number;
  readonly stop: AbortSignal;
  readonly onProgress: (deaths: number) => void;
}

export interface DeathsRow extends DeathResult {
  readonly scenario: string;
  readonly design: string;
  readonly build: SmallBuild;
  readonly asked: number;
  /** First seed of the part. */
  readonly seed: number;
  /** Why its machine was lost, which is no verdict; '' when it was not. */
  readonly lost: string;
}

export interface DeathsReport extends DeathCounts {
  readonly seed: number;
  readonly rows: readonly DeathsRow[];
  /** Every design that runs at all got its deaths, and none left anything behind. */
  readonly complete: boolean;
}

/** Between the first seeds of two parts, so that designs meet different deaths. */
const SEEDS_APART = 1_000_003;

interface Part {
  readonly s: Scenario;
  readonly design: string;
  readonly build: SmallBuild;
  readonly asked: number;
  /** Of its first death. */
  readonly seed: number;
}

export async function deaths(scenarios: readonly Scenario[], o: DeathsOptions): Promise<DeathsReport> {
  const parts = partsOf(scenarios, o);
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const abort = (): void => void Atomics.store(stop, 0, 1);
  if (o.stop.aborted) abort();
  o.stop.addEventListener('abort', abort);
  const rows: DeathsRow[] = [];
  const under = new Map<Part, number>();
  const tell = (): void => {
    o.onProgress([...under.values()].reduce((n, v) => n + v, 0));
  };
  const queue = [...parts];
  const lane = async (): Promise<void> => {
    for (let p = queue.shift(); p !== undefined && Atomics.load(stop, 0) === 0; p = queue.shift()) {
      const part = p;
      const end = await runJob<DeathJob, number, DeathResult>({
        build: part.build,
        entry: 'deaths',
        job: jobOf(part),
        mib: part.s.memoryMib,
        stop,
        progress: (n) => {
          under.set(part, n);
          tell();
        },
      });
      const { design, build, asked, seed } = part;
      const row = { scenario: part.s.name, design, build, asked, seed };
      if ('lost' in end) rows.push({ ...row, ...NO_DEATHS, refused: '', failure: undefined, lost: end.lost });
      else rows.push({ ...row, ...end.result, lost: '' });
      under.set(part, rows.at(-1)?.deaths ?? 0);
      tell();
      // What comes after a failure is not looked at.
      if ('lost' in end || end.result.failure !== undefined) abort();
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.max(1, o.workers) }, lane));
  } finally {
    abort();
    o.stop.removeEventListener('abort', abort);
  }
  return { seed: o.seed, ...sumOf(rows), rows, complete: rows.length === parts.length && rows.every(whole) };
}

const whole = (r: DeathsRow): boolean =>
  r.failure === undefined && r.lost === '' && (r.refused !== '' || r.deaths >= r.asked);

/** Equal parts for all that is not expected to refuse, in each build. */
function partsOf(scenarios: readonly Scenario[], o: DeathsOptions): Part[] {
  const all = scenarios.flatMap((s) => {
    if (s.small === undefined) {
      throw new LabError('NO_SMALL', `scenario '${s.name}' has no 'small' section`, {
        hint: 'such as guests/scenarios/faults/exit.yaml',
      });
    }
    return s.designs
      .filter((d) => s.expect[d]?.kind !== 'refused')
      .flatMap((design) => o.builds.map((build) => ({ s, design, build })));
  });
  const part = (i: number): number => Math.floor(o.deaths / all.length) + (i < o.deaths % all.length ? 1 : 0);
  return all.map((p, i) => ({ ...p, asked: part(i), seed: (o.seed + i * SEEDS_APART) >>> 0 }));
}

function jobOf(p: Part): DeathJob {
  const { name, seed: own, hypervisor, domains, extent, checks, small } = p.s;
  if (small === undefined) throw new LabError('NO_SMALL', `scenario '${name}' has no 'small' section`);
  return {
    plan: {
      scenario: { name, seed: own, hypervisor, domains, extent, checks },
      design: p.design,
      small,
      stepChecks: false,
    },
    strict: p.s.expect[p.design]?.kind !== 'breaks',
    seed: p.seed,
    deaths: p.asked,
  };
}

function sumOf(rows: readonly DeathCounts[]): DeathCounts {
  const sum = (key: keyof DeathCounts): number => rows.reduce((n, r) => n + r[key], 0);
  return {
    deaths: sum('deaths'),
    vcpus: sum('vcpus'),
    domains: sum('domains'),
    lockHeld: sum('lockHeld'),
    beside: sum('beside'),
    zombies: sum('zombies'),
    tooLate: sum('tooLate'),
  };
}
