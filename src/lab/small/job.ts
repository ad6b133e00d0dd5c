/**
 * A job on a small scenario's machine in a thread of its own, in either build: started from the main thread, it tells how
 * far it is, answers once, and is gone.
 *
 * Invariant: the thread is the machine's control plane; one that says nothing for long is terminated, and its machine is
 * lost, which is said and is no result. A user's mistake comes as LabError, everything else that fails as Error.
 * Lock: none.
 */
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { LabError, MachineLost } from '../../abi/errors.js';
import { createMemory } from '../../ops/memory.js';

export const SMALL_BUILDS = ['controlled', 'parallel'] as const;
export type SmallBuild = (typeof SMALL_BUILDS)[number];

interface JobData<J> {
  readonly memory: WebAssembly.Memory;
  readonly job: J;
  /** Word 0 becomes 1 when the job is to end. */
  readonly stop: Int32Array;
}

type FromJob<P, R> =
  | { readonly kind: 'progress'; readonly progress: P }
  | { readonly kind: 'done'; readonly result: R }
  | { readonly kind: 'lost'; readonly why: string }
  | { readonly kind: 'input'; readonly code: string; readonly message: string; readonly hint: string | undefined }
  | { readonly kind: 'failed'; readonly error: string };

/** What a job came to. */
export type JobEnd<R> = { readonly result: R } | { readonly lost: string };

/** Longer than one execution may take before the thread itself calls it hung. */
const SILENCE_MS = 120_000;
/** At least this often a thread says that it lives. */
export const SAY_MS = 500;

/** The thread's side: does its one job, of the kind that its starter asks for. */
export function serveJob(
  work: (job: unknown, stopped: () => boolean, progress: (p: unknown) => void) => unknown,
): void {
  const { job, stop } = workerData as JobData<unknown>;
  const say = (m: FromJob<unknown, unknown>): void => {
    parentPort?.postMessage(m);
  };
  try {
    const stopped = (): boolean => Atomics.load(stop, 0) !== 0;
    const result = work(job, stopped, (progress) => {
      say({ kind: 'progress', progress });
    });
    say({ kind: 'done', result });
  } catch (e) {
    if (e instanceof MachineLost) say({ kind: 'lost', why: e.message });
    else if (e instanceof LabError) say({ kind: 'input', code: e.code, message: e.message, hint: e.hint });
    else say({ kind: 'failed', error: e instanceof Error ? (e.stack ?? e.message) : String(e) });
  }
}

const here = import.meta.url;
const root = here.includes('/dist/')
  ? here.slice(0, here.lastIndexOf('/dist/'))
  : new URL('../../..', here).href.replace(/\/$/, '');

export interface JobOptions<J, P> {
  readonly build: SmallBuild;
  /** Name of the thread's entry in `workers/`. */
  readonly entry: string;
  readonly job: J;
  readonly mib: number;
  readonly stop: Int32Array;
  readonly progress: (p: P) => void;
  readonly silenceMs?: number;
}

/** Runs the job. */
export async function runJob<J, P, R>(o: JobOptions<J, P>): Promise<JobEnd<R>> {
  const data: JobData<J> = { memory: createMemory(o.mib), job: o.job, stop: o.stop };
  const worker = new Worker(new URL(`${root}/dist/${o.build}/workers/${o.entry}.js`), {
    workerData: data,
    execArgv: ['--enable-source-maps'],
  });
  const silenceMs = o.silenceMs ?? SILENCE_MS;
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise((resolve, reject) => {
      const silent = (): void => {
        const seconds = String(Math.round(silenceMs / 1000));
        resolve({ lost: `the control plane said nothing for ${seconds} s and was terminated: the machine is lost` });
      };
      const heard = (): void => {
        clearTimeout(timer);
        timer = setTimeout(silent, silenceMs);
      };
      heard();
      worker.on('error', reject);
      worker.on('exit', (code) => {
        reject(new Error(`the thread ended with code ${String(code)}`));
      });
      worker.on('message', (m: FromJob<P, R>) => {
        heard();
        if (m.kind === 'progress') o.progress(m.progress);
        else if (m.kind === 'done') resolve({ result: m.result });
        else if (m.kind === 'lost') resolve({ lost: m.why });
        else if (m.kind === 'input')
          reject(new LabError(m.code, m.message, m.hint === undefined ? {} : { hint: m.hint }));
        else reject(new Error(m.error));
      });
    });
  } finally {
    clearTimeout(timer);
    await worker.terminate();
  }
}
