/** vCPUs of small scenarios: made where their domain is built, or in a thread of their own. */
import { HypervisorBug } from '../src/abi/errors.js';
import type { Cpu } from '../src/sync/actor.js';
import { makeGuestCpu } from '../src/vcpu/vcpu.js';
import type { TeardownDesign } from '../guests/designs/design.js';
import { designByName } from '../guests/designs/registry.js';
import { makeKernelCpu, makeTraps } from '../guests/guest.js';
import { StepVcpu } from '../guests/workloads/steps/vcpu.js';
import type { Start } from './kernel.js';

export function stepVcpu({ k, params }: Start, design: TeardownDesign, cpu: Cpu, id: number): StepVcpu {
  const traps = makeTraps();
  const g = makeGuestCpu(cpu, traps.handlers);
  return new StepVcpu(g, makeKernelCpu(g, traps, k, id, design), params);
}

/** A vCPU of a domain that another thread built. */
export function attachSmall(start: unknown, name: string, cpu: number, id: number): StepVcpu {
  const design = designByName(name);
  if (design === undefined) throw new HypervisorBug(`no design '${name}'`);
  return stepVcpu(start as Start, design, cpu as Cpu, id);
}
