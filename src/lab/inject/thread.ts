/**
 * One sweep thread: a design of a small scenario in a machine of its own, in the controlled build.
 *
 * Invariant: does its one job, tells how far it is, answers once, and is gone.
 * Lock: none.
 */
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { LabError } from '../../abi/errors.js';
import type { SiteName } from '../../fault/sites.js';
import { createMemory } from '../../ops/memory.js';
import type { FaultSpec } from '../../scenario/scenario.js';
import type { ExploreGuests } from '../explore/guests.js';
import type { ExplorePlan } from '../explore/machine.js';
import { InjectMachine, type Execution } from './machine.js';
import { sweep, type SweepResult } from './sweep.js';

export interface InjectJob {
  readonly plan: ExplorePlan;
  /** Either a sweep, or one execution with these faults. */
  readonly sweep:
    | {
        readonly sites: readonly SiteName[];
        readonly pairs: boolean;
        readonly answers: boolean;
        readonly persistent: boolean;
        readonly most: number;
      }
    | undefined;
  readonly faults: readonly FaultSpec[];
}

interface InjectData {
  readonly memory: WebAssembly.Memory;
  readonly job: InjectJob;
  /** Word 0 becomes 1 when the sweep is to end. */
  readonly stop: Int32Array;
}

export type InjectAnswer =
  | { readonly kind: 'swept'; readonly result: SweepResult }
  | { readonly kind: 'executed'; readonly execution: Execution }
  | { readonly kind: 'refused'; readonly why: string };

type FromInject =
  | InjectAnswer
  | { readonly kind: 'progress'; readonly injected: number }
  | { readonly kind: 'input'; readonly code: string; readonly message: string; readonly hint: string | undefined }
  | { readonly kind: 'failed'; readonly error: string };

const say = (m: FromInject): void => {
  parentPort?.postMessage(m);
};

/** Does the job that this thread was started with. */
export function injectThread(makeGuests: () => ExploreGuests): void {
  const { job, stop } = workerData as InjectData;
  try {
    const guests = makeGuests();
    const why = guests.refuses(job.plan);
    if (why === '') say(done(new InjectMachine(job.plan, guests), job, stop));
    else say({ kind: 'refused', why });
  } catch (e) {
    if (e instanceof LabError) say({ kind: 'input', code: e.code, message: e.message, hint: e.hint });
    else say({ kind: 'failed', error: e instanceof Error ? (e.stack ?? e.message) : String(e) });
  }
}

function done(m: InjectMachine, job: InjectJob, stop: Int32Array): InjectAnswer {
  if (job.sweep === undefined) {
    m.normal();
    return { kind: 'executed', execution: m.execute(job.faults) };
  }
  const result = sweep(m, {
    ...job.sweep,
    stopped: () => Atomics.load(stop, 0) !== 0,
    progress: (injected) => {
      say({ kind: 'progress', injected });
    },
  });
  return { kind: 'swept', result };
}

const built = import.meta.url.endsWith('.js');
const CONTROLLED = new URL(built ? '../../../../controlled/' : '../../../dist/controlled/', import.meta.url);

/** Runs `job` in a thread with `mib` MiB; a user's mistake comes as LabError, everything else that fails as Error. */
export function runInject(
  job: InjectJob,
  mib: number,
  stop: Int32Array,
  progress: (injected: number) => void,
): Promise<InjectAnswer> {
  const data: InjectData = { memory: createMemory(mib), job, stop };
  const worker = new Worker(new URL('workers/inject.js', CONTROLLED), {
    workerData: data,
    execArgv: ['--enable-source-maps'],
  });
  return new Promise((resolve, reject) => {
    worker.on('error', reject);
    worker.on('exit', (code) => {
      reject(new Error(`the sweep's thread ended with code ${String(code)}`));
    });
    worker.on('message', (m: FromInject) => {
      if (m.kind === 'progress') progress(m.injected);
      else if (m.kind === 'input')
        reject(new LabError(m.code, m.message, m.hint === undefined ? {} : { hint: m.hint }));
      else if (m.kind === 'failed') reject(new Error(m.error));
      else resolve(m);
    });
  });
}
