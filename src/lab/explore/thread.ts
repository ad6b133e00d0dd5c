/**
 * One search thread, seen from the main thread: does its job, tells how far it is, answers once.
 *
 * Invariant: the thread runs the controlled build over a memory of its own; it is gone when its answer is here.
 * Lock: none. A pool would keep threads alive over jobs of different memories, so each job gets its own.
 */
import { Worker } from 'node:worker_threads';
import { LabError } from '../../abi/errors.js';
import { createMemory } from '../../ops/memory.js';
import type { ExploreThreadData, FromExplore, Job } from './messages.js';

const built = import.meta.url.endsWith('.js');
/** The controlled build, from the sources and from either build. */
export const CONTROLLED = new URL(built ? '../../../../controlled/' : '../../../dist/controlled/', import.meta.url);

/** Answers, but for progress. */
export type Answer = Exclude<FromExplore, { kind: 'progress' | 'shrinking' | 'input' | 'failed' }>;

/** Runs `job` in a thread with `mib` MiB; user mistakes come as LabError, everything else that fails as Error. */
export function runJob(
  job: Job,
  mib: number,
  stop: Int32Array,
  hear: (m: Extract<FromExplore, { kind: 'progress' | 'shrinking' }>) => void,
): Promise<Answer> {
  const data: ExploreThreadData = { memory: createMemory(mib), job, stop };
  const worker = new Worker(new URL('workers/explore.js', CONTROLLED), {
    workerData: data,
    execArgv: ['--enable-source-maps'],
  });
  return new Promise((resolve, reject) => {
    worker.on('error', reject);
    worker.on('exit', (code) => {
      reject(new Error(`the search thread ended with code ${String(code)}`));
    });
    worker.on('message', (m: FromExplore) => {
      switch (m.kind) {
        case 'progress':
        case 'shrinking':
          hear(m);
          return;
        case 'input':
          reject(new LabError(m.code, m.message, m.hint === undefined ? {} : { hint: m.hint }));
          return;
        case 'failed':
          reject(new Error(m.error));
          return;
        default:
          resolve(m);
      }
    });
  });
}
