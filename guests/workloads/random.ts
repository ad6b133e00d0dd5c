/** A task's own random numbers: xorshift over a word of the task, seeded by the scenario and the pid. Lock: none. */
import { peek, poke } from '../../src/sync/primitives.js';
import type { KernelCpu } from '../kernel/context.js';
import { kernel } from '../kernel/records.js';
import { task, TASK_WORDS, taskWord, type Task } from '../kernel/task.js';

const STATE = TASK_WORDS - 1;

/** A number in [0, n). */
export function random(c: KernelCpu, t: Task, n: number): number {
  const at = taskWord(t, STATE);
  let x = peek(at);
  if (x === 0) x = (Math.imul(peek(kernel.seed(c.k)) ^ Math.imul(peek(task.pid(t)), 0x9e3779b9), 0x85ebca6b) | 1) >>> 0;
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  poke(at, x);
  return (x >>> 0) % n;
}
