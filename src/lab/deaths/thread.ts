/**
 * One thread of a campaign of deaths: one design of one small scenario in a machine of its own, in the controlled build.
 *
 * Invariant: seeds in a row until enough have died, nothing more is asked for, or something is wrong; answers once.
 * Lock: none.
 */
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { createMemory } from '../../ops/memory.js';
import type { ExploreGuests } from '../explore/guests.js';
import type { ExplorePlan } from '../explore/machine.js';
import { CONTROLLED } from '../explore/thread.js';
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
  /** Schedules that were over before the point at which something was to die. */
  readonly tooLate: number;
}

export interface DeathResult extends DeathCounts {
  readonly refused: string;
  readonly failure: Death | undefined;
}

interface DeathData {
  readonly memory: WebAssembly.Memory;
  readonly job: DeathJob;
  /** Word 0 becomes 1 when the campaign is to end. */
  readonly stop: Int32Array;
}

type FromDeaths =
  | { readonly kind: 'progress'; readonly deaths: number }
  | { readonly kind: 'done'; readonly result: DeathResult }
  | { readonly kind: 'failed'; readonly error: string };

const say = (m: FromDeaths): void => {
  parentPort?.postMessage(m);
};
/** Schedules per death that may be over too early. */
const PATIENCE = 20;
const EVERY = 64;

/** Does the job that this thread was started with. */
export function deathThread(makeGuests: () => ExploreGuests): void {
  const { job, stop } = workerData as DeathData;
  try {
    const guests = makeGuests();
    const refused = guests.refuses(job.plan);
    say({ kind: 'done', result: refused === '' ? campaign(guests, job, stop) : { ...NONE, refused } });
  } catch (e) {
    say({ kind: 'failed', error: e instanceof Error ? (e.stack ?? e.message) : String(e) });
  }
}

const NONE: DeathResult = {
  deaths: 0,
  vcpus: 0,
  domains: 0,
  lockHeld: 0,
  beside: 0,
  tooLate: 0,
  refused: '',
  failure: undefined,
};

function campaign(guests: ExploreGuests, job: DeathJob, stop: Int32Array): DeathResult {
  const m = new DeathMachine(job.plan, guests, job.strict);
  let sum = NONE;
  for (let i = 0; sum.deaths < job.deaths && i < PATIENCE * job.deaths; i++) {
    if (Atomics.load(stop, 0) !== 0) break;
    const d = m.die((job.seed + i) >>> 0);
    sum = add(sum, d);
    if (d.wrong.length > 0) return { ...sum, failure: d };
    if (i % EVERY === 0) say({ kind: 'progress', deaths: sum.deaths });
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
  };
}

/** Runs `job` in a thread with `mib` MiB. */
export function runDeaths(
  job: DeathJob,
  mib: number,
  stop: Int32Array,
  progress: (deaths: number) => void,
): Promise<DeathResult> {
  const data: DeathData = { memory: createMemory(mib), job, stop };
  const worker = new Worker(new URL('workers/deaths.js', CONTROLLED), {
    workerData: data,
    execArgv: ['--enable-source-maps'],
  });
  return new Promise((resolve, reject) => {
    worker.on('error', reject);
    worker.on('exit', (code) => {
      reject(new Error(`the thread ended with code ${String(code)}`));
    });
    worker.on('message', (m: FromDeaths) => {
      if (m.kind === 'progress') progress(m.deaths);
      else if (m.kind === 'failed') reject(new Error(m.error));
      else resolve(m.result);
    });
  });
}
