/**
 * One vCPU of a small scenario on a thread of its own: runs its list of steps each time the board says so.
 *
 * Invariant: it keeps nothing between two executions; whatever it throws but its own death is told to the control plane.
 * Lock: none of the laboratory's.
 */
import { workerData, type MessagePort } from 'node:worker_threads';
import { MachineLost } from '../../abi/errors.js';
import type { SmallStep } from '../../scenario/scenario.js';
import { run } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { VcpuStopped } from '../../vcpu/stopped.js';
import type { SmallVcpu } from '../explore/guests.js';
import { awaitSteps, DONE, GO, news, STARTS, stepBegins, STILL, STOP, STOPPED, THREW, WAIT_MS } from './board.js';

/** What the thread is told: plain data, and where it says what it threw. */
export interface SideData {
  readonly memory: WebAssembly.Memory;
  readonly board: Int32Array;
  readonly port: MessagePort;
  readonly index: number;
  readonly design: string;
  /** What the guests' side knows of the vCPU's domain, and which vCPU it is. */
  readonly start: unknown;
  readonly cpu: number;
  readonly id: number;
  readonly steps: readonly SmallStep[];
  readonly others: readonly number[];
}

/** The vCPU of a domain that another thread built. */
export type Attach = (start: unknown, design: string, cpu: number, id: number) => SmallVcpu;

/** Serves executions until there are no more. */
export function sideThread(attach: Attach): void {
  const data = workerData as SideData;
  const { board, port, index, steps, others } = data;
  const v = attach(data.start, data.design, data.cpu, data.id);
  const body = v.race(steps, others, () => {
    standStill(board);
    stepBegins(board);
  });
  for (let seen = 0; ;) {
    Atomics.wait(board, GO, seen, WAIT_MS);
    if (Atomics.load(board, STOP) !== 0) return;
    if (Atomics.load(board, GO) === seen) continue;
    seen = Atomics.load(board, GO);
    try {
      awaitSteps(board, Atomics.load(board, STARTS + index));
      run(() => ended(body));
    } catch (e) {
      if (!(e instanceof MachineLost)) {
        port.postMessage(e instanceof Error ? (e.stack ?? e.message) : String(e));
        Atomics.store(board, THREW, index + 1);
      }
    }
    Atomics.add(board, DONE, 1);
    news(board);
  }
}

/** A vCPU that dies leaves by an exception; that is an end like any other. */
function* ended(body: () => Steps<void>): Steps<void> {
  try {
    yield* body();
  } catch (e) {
    if (!(e instanceof VcpuStopped)) throw e;
  }
}

/** Before a step: waits while the control plane looks at the machine. */
function standStill(board: Int32Array): void {
  const turn = Atomics.load(board, STILL);
  if (turn === 0) return;
  Atomics.add(board, STOPPED, 1);
  news(board);
  while (Atomics.load(board, STILL) === turn && Atomics.load(board, STOP) === 0) {
    Atomics.wait(board, STILL, turn, WAIT_MS);
  }
}
