/** Thread entry: replays files of tapes and reports to the thread that started it. */
import { parentPort, workerData } from 'node:worker_threads';
import { LabError } from '../src/abi/errors.js';
import { conform } from '../src/lab/tape/conform.js';
import type { FromConform, ThreadTask } from '../src/lab/tape/conform-thread.js';

const task = workerData as ThreadTask;
const say = (m: FromConform): void => {
  parentPort?.postMessage(m);
};

try {
  const report = await conform(task.files, {
    tape: task.tape,
    stopFirst: task.stopFirst,
    quantum: task.quantum,
    stop: () => Atomics.load(task.stopped, 0) !== 0,
    progress: (tapes, different) => {
      say({ kind: 'progress', tapes, different });
    },
    different: (difference) => {
      say({ kind: 'different', difference });
    },
  });
  say({ kind: 'report', report });
} catch (e) {
  if (!(e instanceof LabError)) throw e;
  const { code, message, hint, position } = e;
  say({ kind: 'refused', error: { code, message, hint, position } });
}
