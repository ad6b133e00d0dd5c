/** Thread entry of a vCPU: boots its guest kernel, runs its tasks to their end, halts. */
import { LabError } from '../src/abi/errors.js';
import { vcpuThread } from '../src/lab/run/vcpu-thread.js';
import type { VcpuTask } from '../src/lab/run/messages.js';
import type { Cpu } from '../src/sync/actor.js';
import type { Steps } from '../src/sync/steps.js';
import { makeGuestCpu } from '../src/vcpu/vcpu.js';
import { designByName } from '../guests/designs/registry.js';
import { makeKernelCpu, makeTraps, startVcpu } from '../guests/guest.js';
import type { KernelParams } from '../guests/kernel/boot.js';
import type { Kernel } from '../guests/kernel/records.js';
import { vcpuLoop } from '../guests/kernel/sched.js';

function* vcpu(cpu: Cpu, task: VcpuTask): Steps<void> {
  const { k, params } = task.start as { k: Kernel; params: KernelParams };
  const design = designByName(task.plan.design);
  if (design === undefined) throw new LabError('UNKNOWN_DESIGN', `no design '${task.plan.design}'`);
  const traps = makeTraps();
  const g = makeGuestCpu(cpu, traps.handlers);
  const c = makeKernelCpu(g, traps, k, task.place.id, design);
  yield* g.start();
  if (!(yield* startVcpu(c, params))) throw new LabError('GUEST_BOOT', `${task.place.domain} did not boot`);
  yield* vcpuLoop(c, true);
  yield* g.halt();
}

vcpuThread(vcpu);
