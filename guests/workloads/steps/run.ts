/**
 * Running lists of steps on a vCPU: the setup, the race, and what a kernel does when nothing is left to do.
 *
 * Invariant: after a step of a process a pending signal ends it, as on the way back to user mode; steps of a process that
 * is gone are passed over. A vCPU whose steps are done serves interrupts until the others of its domain are done too.
 * Lock: none held between steps.
 */
import { ldOnce, peek, stOnce, wake } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import type { KernelCpu } from '../../kernel/context.js';
import { kernel } from '../../kernel/records.js';
import { activateMm, initMm } from '../../kernel/switch.js';
import { task } from '../../kernel/task.js';
import { runWork } from '../../kernel/work.js';
import { endedSlot } from './board.js';
import { grantSteps } from './grants.js';
import { kernelSteps } from './kernel.js';
import { notifySteps } from './notify.js';
import { endCurrent, processSteps } from './process.js';
import { currentTask, type Step } from './step.js';

export const STEPS: readonly Step[] = Object.freeze([...processSteps, ...grantSteps, ...kernelSteps, ...notifySteps]);

/** A step of a list, by its index in STEPS. */
export interface StepCall {
  readonly step: Step;
  readonly args: readonly number[];
}

export function stepCall(name: string, args: readonly number[]): StepCall | undefined {
  const step = STEPS.find((s) => s.name === name);
  return step === undefined ? undefined : { step, args };
}

/** Runs one step; answers what it answered, 0 when its process is gone. */
export function* runStep(c: KernelCpu, call: StepCall): Steps<number> {
  if (call.step.process && currentTask(c) === 0) return 0;
  const answer = yield* call.step.run(c, call.args);
  const t = currentTask(c);
  // raced on purpose: a signal may come at any time
  if (t !== 0 && (yield* ldOnce(task.killed(t))) !== 0) yield* endCurrent(c);
  return answer;
}

/** All of `calls`, whatever they answer, `note` told before each; then serves interrupts until the vCPUs `others` of the domain are done. */
export function* runRace(
  c: KernelCpu,
  calls: readonly StepCall[],
  others: readonly number[],
  note: (index: number) => void,
): Steps<void> {
  for (const [i, call] of calls.entries()) {
    note(i);
    yield* runStep(c, call);
  }
  if (others.length === 0) return;
  yield* stOnce(endedSlot(c, c.id), 1); // raced on purpose: the others wait for it
  wake(endedSlot(c, c.id));
  for (const other of others) {
    const a = endedSlot(c, other);
    while ((yield* ldOnce(a)) === 0) yield* c.g.relax(a, 0); // raced on purpose: set once
  }
}

/** Turns that deferred work may take. */
const TURNS = 100;

/** Nothing runs any more: the lazy root is left, deferred work is done as far as it can be. */
export function* settle(c: KernelCpu): Steps<void> {
  if (currentTask(c) === 0) yield* activateMm(c, initMm(c));
  for (let i = 0; i < TURNS && peek(kernel.nrWork(c.k)) !== 0; i++) yield* runWork(c);
}
