/**
 * One thread of a campaign of faults: one design of one small scenario in a machine of its own, in either build.
 *
 * Invariant: seeds in a row until enough faults were injected, nothing more is asked for, or too much is wrong.
 * Lock: none.
 */
import type { SiteName } from '../../fault/sites.js';
import type { OutcomeName } from '../../scenario/schema.js';
import type { ExploreGuests } from '../explore/guests.js';
import type { ExplorePlan } from '../explore/machine.js';
import { SAY_MS, serveJob } from '../small/job.js';
import { FaultMachine, type Excuses, type FaultRun } from './machine.js';

export interface FaultJob {
  readonly plan: ExplorePlan;
  readonly excuses: Excuses;
  readonly seed: number;
  /** Until so many faults were injected, in at most so many executions. */
  readonly faults: number;
  readonly executions: number;
}

/** What a job came to: keys of `--json`. */
export interface FaultCounts {
  readonly executions: number;
  readonly injected: number;
  readonly sites: Readonly<Partial<Record<SiteName, number>>>;
  readonly outcomes: Readonly<Partial<Record<OutcomeName, number>>>;
  /** Executions after which every domain was destroyed and every frame looked for. */
  readonly takenDown: number;
  readonly unexpected: number;
  readonly failures: readonly FaultRun[];
}

export interface FaultResult extends FaultCounts {
  readonly refused: string;
}

export const NO_FAULTS: FaultCounts = {
  executions: 0,
  injected: 0,
  sites: {},
  outcomes: {},
  takenDown: 0,
  unexpected: 0,
  failures: [],
};

/** Failures that are kept; after so many the job ends. */
const KEPT = 5;
const MOST = 100;

/** Does the job that this thread was started with. */
export function faultThread(makeGuests: () => ExploreGuests): void {
  serveJob((given, stopped, progress): FaultResult => {
    const job = given as FaultJob;
    const guests = makeGuests();
    const refused = guests.refuses(job.plan);
    if (refused !== '') return { ...NO_FAULTS, refused };
    const m = new FaultMachine(job.plan, guests, job.excuses);
    try {
      return { ...campaign(m, job, stopped, progress), refused };
    } finally {
      m.close();
    }
  });
}

function campaign(m: FaultMachine, job: FaultJob, stopped: () => boolean, progress: (n: number) => void): FaultCounts {
  let sum = NO_FAULTS;
  let said = 0;
  while (sum.injected < job.faults && sum.executions < job.executions && sum.unexpected < MOST && !stopped()) {
    sum = addRun(sum, m.run((job.seed + sum.executions) >>> 0));
    if (performance.now() - said < SAY_MS) continue;
    said = performance.now();
    progress(sum.injected);
  }
  return sum;
}

const total = (counts: Readonly<Partial<Record<string, number>>>): number =>
  Object.values(counts).reduce((n: number, v) => n + (v ?? 0), 0);

export function addTo<K extends string>(
  a: Readonly<Partial<Record<K, number>>>,
  b: Readonly<Partial<Record<K, number>>>,
): Partial<Record<K, number>> {
  const out: Partial<Record<K, number>> = { ...a };
  for (const key of Object.keys(b) as K[]) out[key] = (out[key] ?? 0) + (b[key] ?? 0);
  return out;
}

/** The sum with one execution more. */
export function addRun(s: FaultCounts, r: FaultRun): FaultCounts {
  const wrong = r.wrong.length > 0;
  return {
    executions: s.executions + 1,
    injected: s.injected + total(r.injected),
    sites: addTo(s.sites, r.injected),
    outcomes: addTo(s.outcomes, { [r.outcome]: 1 }),
    takenDown: s.takenDown + (r.takenDown ? 1 : 0),
    unexpected: s.unexpected + (wrong ? 1 : 0),
    failures: wrong && s.failures.length < KEPT ? [...s.failures, r] : s.failures,
  };
}
