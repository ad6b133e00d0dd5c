/**
 * fork as a system call: a child task with a copy of the address space and the same files.
 *
 * Lock: none across; dupMm takes the parent's mmapLock. Source: Linux kernel/fork.c (copy_process).
 */
import { ENOMEM } from '../../src/abi/errno.js';
import { peek, st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from './context.js';
import { mmPut } from './exit.js';
import { copyFiles } from './file.js';
import { dupMm } from './fork.js';
import type { Mm } from './mm.js';
import { task, TASK_ARGS, TASK_WORDS, taskAlloc, taskStart, taskWord, type Task } from './task.js';
import { stackGet, stackPut } from './kernel-stack.js';

/** Starts a child that begins with its stage word at `stage`; the child's pid, or -ENOMEM. */
export function* forkTask(c: KernelCpu, t: Task, stage: number): Steps<number> {
  const stack = yield* stackGet(c);
  if (stack < 0) return -ENOMEM;
  const m = yield* dupMm(c, peek(task.mm(t)) as Mm);
  if (m === 0) {
    yield* stackPut(c, stack);
    return -ENOMEM;
  }
  const child = yield* taskAlloc(c, peek(task.program(t)), m, t);
  if (child === 0) {
    yield* mmPut(c, m);
    yield* stackPut(c, stack);
    return -ENOMEM;
  }
  for (let i = 0; i < TASK_ARGS; i++) yield* st(task.args(child) + i, peek(task.args(t) + i));
  for (let i = 0; i < TASK_WORDS; i++) yield* st(taskWord(child, i), peek(taskWord(t, i)));
  yield* st(taskWord(child, 0), stage);
  yield* st(task.stack(child), stack);
  yield* copyFiles(t, child);
  const pid = peek(task.pid(child));
  yield* taskStart(c, child);
  return pid;
}
