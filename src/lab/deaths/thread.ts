/**
 * One thread of a campaign of deaths: one design of one small scenario in a machine of its own, in either build.
 *
 * Invariant: seeds in a row until enough have died, nothing more is asked for, or something is wrong.
 * Lock: none.
 */
import type { ExploreGuests } from '../explore/guests.js';
import type { ExplorePlan } from '../explore/machine.js';
import { SAY_MS, serveJob } from '../small/job.js';
import { DEATH_SITES, DeathMachine, type Death } from './machine.js';

export interface DeathJob {
  readonly plan: ExplorePlan;
  readonly strict: boolean;
  readonly seed: number;
  readonly deaths: number;
}

/** What a job came to: keys of `--json`. */
export interface DeathCounts {
  readonly deaths: number;
  readonly vcpus: number;
  readonly domains: number;
  /** Dead with locks of their guests held; reclaimed while the others ran. */
  readonly lockHeld: number;
  readonly beside: number;
  /** Looks at a domain that was destroyed and still there, because somebody referred to its memory. */
  readonly zombies: number;
  /** Schedules that were over before the point at which something was to die. */
  readonly tooLate: number;
}

export interface DeathResult extends DeathCounts {
  readonly refused: string;
  readonly failure: Death | undefined;
}

/** Schedules per death that may be over too early. */
const PATIENCE = 20;

/** Does the job that this thread was started with. */
export function deathThread(makeGuests: () => ExploreGuests): void {
  serveJob((given, stopped, progress): DeathResult => {
    const job = given as DeathJob;
    const guests = makeGuests();
    const refused = guests.refuses(job.plan);
    return refused === '' ? campaign(guests, job, stopped, progress) : { ...NOTHING, refused };
  });
}

export const NO_DEATHS: DeathCounts = {
  deaths: 0,
  vcpus: 0,
  domains: 0,
  lockHeld: 0,
  beside: 0,
  zombies: 0,
  tooLate: 0,
};
const NOTHING: DeathResult = { ...NO_DEATHS, refused: '', failure: undefined };

function campaign(
  guests: ExploreGuests,
  job: DeathJob,
  stopped: () => boolean,
  progress: (deaths: number) => void,
): DeathResult {
  const m = new DeathMachine(job.plan, guests, job.strict);
  let sum = NOTHING;
  let said = 0;
  try {
    for (let i = 0; sum.deaths < job.deaths && i < PATIENCE * job.deaths && !stopped(); i++) {
      const d = m.die((job.seed + i) >>> 0);
      sum = add(sum, d);
      if (d.wrong.length > 0) return { ...sum, failure: d };
      if (performance.now() - said < SAY_MS) continue;
      said = performance.now();
      progress(sum.deaths);
    }
  } finally {
    m.close();
  }
  return sum;
}

function add(s: DeathResult, d: Death): DeathResult {
  if (!d.happened) return { ...s, tooLate: s.tooLate + 1 };
  const one = (yes: boolean): number => (yes ? 1 : 0);
  return {
    ...s,
    deaths: s.deaths + 1,
    vcpus: s.vcpus + one(d.site === DEATH_SITES[0]),
    domains: s.domains + one(d.site === DEATH_SITES[1]),
    lockHeld: s.lockHeld + one(d.lockHeld),
    beside: s.beside + one(d.beside),
    zombies: s.zombies + d.zombies,
  };
}
