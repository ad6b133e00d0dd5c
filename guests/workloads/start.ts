/**
 * Starting what a scenario asks for: one spawner per process slot of each workload.
 *
 * Invariant: runs once, on the first vCPU; until it is done the other vCPUs do not take the domain for idle.
 * Lock: none.
 */
import { poke, st, stOnce } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from '../kernel/context.js';
import type { Mm } from '../kernel/mm.js';
import { kernel } from '../kernel/records.js';
import { task, taskAlloc, TASK_ARGS, taskStart, wakeAll, type Task } from '../kernel/task.js';
import { PROGRAM_ARGS, PROGRAM_SPAWNER, SPAWN_PROGRAM, SPAWN_THREADS } from './spawner.js';

export interface WorkloadPlan {
  /** Index of the program. */
  readonly program: number;
  readonly processes: number;
  readonly threads: number;
  readonly args: readonly number[];
}

/** Starts all of them; answers how many spawners could not be made. */
export function* startWorkloads(c: KernelCpu, plans: readonly WorkloadPlan[]): Steps<number> {
  let failed = 0;
  for (const plan of plans) {
    for (let i = 0; i < plan.processes; i++) if (!(yield* startSlot(c, plan))) failed++;
  }
  yield* stOnce(kernel.started(c.k), 1); // raced on purpose: idle vCPUs look
  yield* wakeAll(c);
  return failed;
}

function* startSlot(c: KernelCpu, plan: WorkloadPlan): Steps<boolean> {
  const t = yield* taskAlloc(c, PROGRAM_SPAWNER, 0 as Mm, 0 as Task);
  if (t === 0) return false;
  poke(task.args(t) + SPAWN_PROGRAM, plan.program);
  poke(task.args(t) + SPAWN_THREADS, plan.threads);
  for (const [i, v] of plan.args.entries()) {
    if (PROGRAM_ARGS + i < TASK_ARGS) yield* st(task.args(t) + PROGRAM_ARGS + i, v);
  }
  yield* taskStart(c, t);
  return true;
}
