/**
 * One thread of the controlled build that runs one scenario beside hostile guests and answers once; and how to start it.
 *
 * Invariant: the thread is gone when its answer is here.
 * Lock: none.
 */
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { createMemory } from '../../ops/memory.js';
import { CONTROLLED } from '../explore/thread.js';
import type { ControlGuests } from '../run/control.js';
import { controlledRun, type ControlledJob, type ControlledResult, type VcpuLife } from './controlled.js';

interface ControlledData {
  readonly memory: WebAssembly.Memory;
  readonly job: ControlledJob;
}

/** Does the job that this thread was started with. */
export function controlledThread(guests: ControlGuests, life: VcpuLife): void {
  const { job } = workerData as ControlledData;
  parentPort?.postMessage(controlledRun(job, guests, life));
}

/** Runs `job` with `mib` MiB; undefined when `stop` ended it. */
export function runControlled(
  job: ControlledJob,
  mib: number,
  stop: AbortSignal,
): Promise<ControlledResult | undefined> {
  const data: ControlledData = { memory: createMemory(mib), job };
  const worker = new Worker(new URL('workers/hostile-run.js', CONTROLLED), {
    workerData: data,
    execArgv: ['--enable-source-maps'],
  });
  return new Promise((resolve, reject) => {
    const end = (r: ControlledResult | undefined): void => {
      stop.removeEventListener('abort', abort);
      resolve(r);
      void worker.terminate();
    };
    const abort = (): void => {
      end(undefined);
    };
    stop.addEventListener('abort', abort);
    if (stop.aborted) abort();
    worker.on('message', (r: ControlledResult) => {
      end(r);
    });
    worker.on('error', reject);
    worker.on('exit', (code) => {
      reject(new Error(`the thread ended with code ${String(code)}`));
    });
  });
}
