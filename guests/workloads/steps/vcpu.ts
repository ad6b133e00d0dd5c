/**
 * A vCPU of a small scenario: its processor, its kernel context and the steps it is told to run.
 *
 * Invariant: made once per machine; keeps nothing between two calls.
 */
import type { Cpu } from '../../../src/sync/actor.js';
import { peek } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import type { Vcpu } from '../../../src/vcpu/guest-cpu.js';
import { startVcpu } from '../../guest.js';
import type { KernelParams } from '../../kernel/boot.js';
import type { KernelCpu } from '../../kernel/context.js';
import { kernel } from '../../kernel/records.js';
import { initMm, loadedMm } from '../../kernel/switch.js';
import { runRace, runStep, settle, stepCall, type StepCall } from './run.js';
import { currentTask } from './step.js';

/** A step as the scenario resolved it. */
export interface NamedStep {
  readonly name: string;
  readonly args: readonly number[];
  readonly text: string;
}

function callOf(step: NamedStep): StepCall {
  const call = stepCall(step.name, step.args);
  if (call === undefined) throw new RangeError(`no step is named '${step.name}'`);
  return call;
}

export class StepVcpu {
  readonly cpu: Cpu;
  readonly #g: Vcpu;
  readonly #c: KernelCpu;
  readonly #params: KernelParams;

  constructor(g: Vcpu, c: KernelCpu, params: KernelParams) {
    this.cpu = g.cpu;
    this.#g = g;
    this.#c = c;
    this.#params = params;
  }

  *start(): Steps<void> {
    yield* this.#g.start();
  }

  *park(): Steps<void> {
    yield* this.#g.park();
  }

  *boot(): Steps<boolean> {
    return yield* startVcpu(this.#c, this.#params);
  }

  *step(step: NamedStep): Steps<number> {
    return yield* runStep(this.#c, callOf(step));
  }

  hasProcess(): boolean {
    return currentTask(this.#c) !== 0;
  }

  needsProcess(step: NamedStep): boolean {
    return callOf(step).step.process;
  }

  race(steps: readonly NamedStep[], others: readonly number[], note: (text: string) => void): () => Steps<void> {
    const calls = steps.map(callOf);
    const texts = steps.map((s) => s.text);
    const g = this.#g;
    const c = this.#c;
    return function* (): Steps<void> {
      yield* runRace(c, calls, others, (i) => note(texts[i] ?? ''));
      yield* g.park();
    };
  }

  unsettled(): boolean {
    const c = this.#c;
    return peek(kernel.nrWork(c.k)) !== 0 || (currentTask(c) === 0 && loadedMm(c) !== initMm(c));
  }

  *settle(): Steps<void> {
    yield* settle(this.#c);
  }
}
