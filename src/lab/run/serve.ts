/**
 * The thread side of a run: takes tasks one by one, waits at the barrier, turns every exception into a reply.
 *
 * Invariant: a task is answered whatever it does; waits are bounded and look whether the machine was given up.
 * Lock: none.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { MachineLost } from '../../abi/errors.js';
import { actor, REQ_ABORT, type Cpu } from '../../sync/actor.js';
import { peek } from '../../sync/primitives.js';
import { BOARD_GIVEN_UP, BOARD_GO, type FromThread, type Reply, type Task, type ThreadData } from './messages.js';

const WAIT_MS = 100;

export const board = (): Int32Array => (workerData as ThreadData).board;

const say = (m: FromThread): void => {
  parentPort?.postMessage(m);
};

/** Answers each task that arrives with what `handle` makes of it. */
export function serve(handle: (task: Task) => Reply): void {
  parentPort?.on('message', (task: Task) => {
    say(answer(handle, task));
  });
}

function answer(handle: (task: Task) => Reply, task: Task): Reply {
  try {
    return handle(task);
  } catch (e) {
    if (e instanceof MachineLost) return { kind: 'lost' };
    if (e instanceof Error) return { kind: 'failed', error: `${e.name}: ${e.message}`, stack: e.stack ?? '' };
    return { kind: 'failed', error: String(e), stack: '' };
  }
}

/** Says that this thread is ready, then waits until the barrier `go` opens. */
export function barrier(go: number): void {
  const words = board();
  say({ kind: 'ready' });
  for (;;) {
    if (Atomics.load(words, BOARD_GIVEN_UP) !== 0) throw new MachineLost('given up at the barrier');
    const seen = Atomics.load(words, BOARD_GO);
    if (seen >= go) return;
    Atomics.wait(words, BOARD_GO, seen, WAIT_MS);
  }
}

/** Leaves when the machine was given up. */
export function abortCheck(cpu: Cpu): void {
  if ((peek(actor.request(cpu)) & REQ_ABORT) !== 0) throw new MachineLost('given up');
}
