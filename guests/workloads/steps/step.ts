/**
 * What a step of a small scenario is: one real operation of a guest kernel, named, with a few whole numbers.
 *
 * Invariant: a step that says `process` acts for the task that is current on its vCPU; without one it is not run.
 * ../../catalog.json says the same names and arguments to those who write scenarios; a test compares the two.
 */
import type { Steps } from '../../../src/sync/steps.js';
import { peek } from '../../../src/sync/primitives.js';
import type { KernelCpu } from '../../kernel/context.js';
import type { Mm } from '../../kernel/mm.js';
import { percpu } from '../../kernel/records.js';
import { task, type Task } from '../../kernel/task.js';

export interface Step {
  readonly name: string;
  readonly process: boolean;
  /** Answers 0, or what the kernel or Xen refused it with. */
  run(c: KernelCpu, args: readonly number[]): Steps<number>;
}

/** Argument `i`; absent ones are 0. */
export const arg = (args: readonly number[], i: number): number => args[i] ?? 0;

export const currentTask = (c: KernelCpu): Task => peek(percpu.current(c.pc)) as Task;
export const currentMm = (c: KernelCpu): Mm => peek(task.mm(currentTask(c))) as Mm;
