/**
 * The processors of a recorded domain as threads: the first in this one, each other in a worker of its own.
 *
 * Invariant: this thread blocks while it waits, so it must not be the main one; when it goes on, the other threads touch
 * the machine no more.
 */
import { Worker } from 'node:worker_threads';
import { HypervisorBug } from '../../abi/errors.js';
import { memory } from '../../ops/memory.js';
import { run } from '../../sync/primitives.js';
import type { RecordedDomain } from './run.js';

/** What a thread of a processor is told, as its workerData. */
export interface RecordedVcpuData {
  readonly memory: WebAssembly.Memory;
  readonly start: unknown;
  readonly cpu: number;
  readonly id: number;
  /** One word: 0 while it runs, then how it ended. */
  readonly ended: Int32Array;
}
export const ENDED_WELL = 1;
export const ENDED_BADLY = 2;

const WAIT_MS = 60_000;
const here = import.meta.url;
const root = here.includes('/dist/')
  ? here.slice(0, here.lastIndexOf('/dist/'))
  : new URL('../../..', here).href.replace(/\/$/, '');
const ENTRY = new URL(`${root}/dist/parallel/workers/recorded-vcpu.js`);

export function inThreads(d: RecordedDomain): void {
  const others = d.cpus.slice(1).map((cpu, i) => {
    const ended = new Int32Array(new SharedArrayBuffer(4));
    const workerData: RecordedVcpuData = { memory, start: d.start, cpu, id: i + 1, ended };
    const worker = new Worker(ENTRY, { workerData, execArgv: ['--enable-source-maps'] });
    worker.unref();
    return ended;
  });
  run(() => d.vcpu(0));
  for (const [i, ended] of others.entries()) {
    Atomics.wait(ended, 0, 0, WAIT_MS);
    const how = Atomics.load(ended, 0);
    if (how === ENDED_WELL) continue;
    throw new HypervisorBug(
      `processor ${String(i + 1)} of a recording ${how === ENDED_BADLY ? 'failed' : 'stands still'}`,
    );
  }
}
