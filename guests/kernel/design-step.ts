/**
 * Says in the actor's record what this vCPU's kernel is at, for fault plans and reports.
 *
 * Invariant: whoever enters a step goes back to the one before; a vCPU that dies says where.
 * Lock: none; the word is the actor's own.
 */
import { actor } from '../../src/sync/actor.js';
import { peek, poke } from '../../src/sync/primitives.js';
import type { DesignStep } from '../../src/abi/design-step.js';
import type { KernelCpu } from './context.js';

/** Enters `step`; answers the one before. */
export function enterStep(c: KernelCpu, step: DesignStep): DesignStep {
  const was = peek(actor.step(c.cpu)) as DesignStep;
  poke(actor.step(c.cpu), step);
  return was;
}
