/** Two vCPUs of a mapper that end processes side by side: what each runs, for coroutines and for threads alike. */
import type { Cpu } from '../../../src/sync/actor.js';
import type { Steps } from '../../../src/sync/steps.js';
import { makeGuestCpu } from '../../../src/vcpu/vcpu.js';
import { DESIGNS } from '../../../guests/designs/registry.js';
import { makeKernelCpu, makeTraps } from '../../../guests/guest.js';
import type { Kernel } from '../../../guests/kernel/records.js';
import { vcpuLoop } from '../../../guests/kernel/sched.js';

/** Known-wrong designs that break only where a fault is injected. */
export const UNDER_FAULTS: readonly string[] = [
  'zap-pte-cleared-buggy',
  'notifier-split-forget-buggy',
  'notifier-split-free-buggy',
];

/** vCPU `id`, already booted, runs tasks until none is left. */
export function* runVcpu(cpu: number, k: number, id: number, design: number): Steps<void> {
  const traps = makeTraps();
  const g = makeGuestCpu(cpu as Cpu, traps.handlers);
  const c = makeKernelCpu(g, traps, k as Kernel, id, DESIGNS[design]!);
  yield* g.start();
  yield* vcpuLoop(c, true);
  yield* g.park();
}
