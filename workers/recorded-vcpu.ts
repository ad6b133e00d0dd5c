/** Thread entry: one further processor of a recorded domain. */
import { workerData } from 'node:worker_threads';
import { ENDED_BADLY, ENDED_WELL, type RecordedVcpuData } from '../src/lab/linux/threads.js';
import type { Cpu } from '../src/sync/actor.js';
import { run } from '../src/sync/primitives.js';
import { recordedVcpu, type RecordedStart } from './recorded.js';

const { start, cpu, id, ended } = workerData as RecordedVcpuData;
const end = (how: number): void => {
  Atomics.store(ended, 0, how);
  Atomics.notify(ended, 0);
};

try {
  run(() => recordedVcpu(cpu as Cpu, id, start as RecordedStart));
  end(ENDED_WELL);
} catch (e) {
  end(ENDED_BADLY);
  throw e;
}
