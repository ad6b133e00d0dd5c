/**
 * A vCPU thread's side of a run: from the barrier to the end of its vCPU.
 *
 * Invariant: when the reply leaves, this thread touches the machine no more; its vCPU is off.
 */
import { HypervisorBug } from '../../abi/errors.js';
import type { Cpu } from '../../sync/actor.js';
import { run } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { VcpuStopped } from '../../vcpu/stopped.js';
import type { Reply, VcpuTask } from './messages.js';
import { barrier, serve } from './serve.js';

/** What a vCPU thread asks of the guests' side: everything the vCPU does, its halt included. */
export type VcpuBody = (cpu: Cpu, task: VcpuTask) => Steps<void>;

/** Serves vCPU tasks. */
export function vcpuThread(body: VcpuBody): void {
  serve((task): Reply => {
    if (task.kind !== 'vcpu') throw new HypervisorBug('a control task for a vCPU thread');
    barrier(task.go);
    try {
      run(() => body(task.place.cpu as Cpu, task));
    } catch (e) {
      if (e instanceof VcpuStopped) return { kind: 'ended', how: 'killed', why: '' };
      throw e;
    }
    return { kind: 'ended', how: 'finished', why: '' };
  });
}
