/** Thread entry of a vCPU: boots its guest kernel, the first one starts the workloads, runs tasks to their end, halts. */
import { HypervisorBug } from '../src/abi/errors.js';
import { vcpuThread } from '../src/lab/run/vcpu-thread.js';
import type { VcpuTask } from '../src/lab/run/messages.js';
import type { Cpu } from '../src/sync/actor.js';
import type { Steps } from '../src/sync/steps.js';
import { makeGuestCpu } from '../src/vcpu/vcpu.js';
import { designByName } from '../guests/designs/registry.js';
import { makeKernelCpu, makeTraps, startVcpu } from '../guests/guest.js';
import { vcpuLoop } from '../guests/kernel/sched.js';
import { encodeArguments, programIndex } from '../guests/workloads/programs.js';
import { startWorkloads, type WorkloadPlan } from '../guests/workloads/start.js';
import type { Start } from './build.js';

function* vcpu(cpu: Cpu, task: VcpuTask): Steps<void> {
  const { k, params } = task.start as Start;
  const design = designByName(task.plan.design);
  if (design === undefined) throw new HypervisorBug(`no design '${task.plan.design}'`);
  const traps = makeTraps();
  const g = makeGuestCpu(cpu, traps.handlers);
  const c = makeKernelCpu(g, traps, k, task.place.id, design);
  yield* g.start();
  if (!(yield* startVcpu(c, params))) throw new HypervisorBug(`${task.place.domain} did not boot`);
  if (task.place.id === 0) {
    const failed = yield* startWorkloads(c, plans(task));
    if (failed > 0) throw new HypervisorBug(`${task.place.domain} has no room for ${String(failed)} workloads`);
  }
  yield* vcpuLoop(c, true);
  yield* g.halt();
}

function plans(task: VcpuTask): WorkloadPlan[] {
  const domids = Object.fromEntries(task.plan.scenario.domains.map((d) => [d.name, d.domid]));
  return task.domain.workloads.map((w) => ({
    program: programIndex(w.program),
    processes: w.processes,
    threads: w.threads,
    args: encodeArguments(w.program, w.with, domids),
  }));
}

vcpuThread(vcpu);
