/** All that a vCPU does: boots its guest kernel, the first one starts the workloads, runs tasks to their end, halts; or is hostile. */
import { HypervisorBug } from '../src/abi/errors.js';
import { hostileVcpu, type AwaitTurn, type Lives } from '../src/lab/hostile/lives.js';
import type { VcpuTask } from '../src/lab/run/messages.js';
import type { Cpu } from '../src/sync/actor.js';
import type { Steps } from '../src/sync/steps.js';
import { makeGuestCpu } from '../src/vcpu/vcpu.js';
import { designByName } from '../guests/designs/registry.js';
import { makeKernelCpu, makeTraps, startVcpu } from '../guests/guest.js';
import { vcpuLoop } from '../guests/kernel/sched.js';
import { encodeArguments, programIndex } from '../guests/workloads/programs.js';
import { startWorkloads, type WorkloadPlan } from '../guests/workloads/start.js';
import { besideGuests } from './beside.js';
import type { Start } from './kernel.js';

/** `awaitTurn`: how a hostile vCPU waits for its next life. */
export function* vcpuLife(cpu: Cpu, task: VcpuTask, awaitTurn: AwaitTurn): Steps<void> {
  if (task.domain.hostile !== undefined) {
    yield* hostileVcpu(task.start as Lives, task.place.id, besideGuests, awaitTurn);
    return;
  }
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
