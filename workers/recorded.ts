/** The guests' side of recordings: builds a domain whose programs follow a script, and says what its vCPUs do. */
import { HypervisorBug } from '../src/abi/errors.js';
import type { RecordedGuests } from '../src/lab/linux/run.js';
import type { Cpu } from '../src/sync/actor.js';
import type { Steps } from '../src/sync/steps.js';
import { makeGuestCpu } from '../src/vcpu/vcpu.js';
import { designByName } from '../guests/designs/registry.js';
import { makeKernelCpu, makeTraps } from '../guests/guest.js';
import type { KernelParams } from '../guests/kernel/boot.js';
import { EXIT_6_1, type Kernel } from '../guests/kernel/records.js';
import { recorded, recordedLife } from '../guests/workloads/recorded.js';
import { buildKernel } from './kernel.js';
import { arenaChunks, FULL_SIZES } from './sizes.js';

/** What a vCPU needs to know, also in a thread of its own. */
export interface RecordedStart {
  readonly k: Kernel;
  readonly params: KernelParams;
  readonly script: number;
  readonly design: string;
}

/** vCPU `id` from its boot to its halt. */
export function* recordedVcpu(cpu: Cpu, id: number, { k, params, script, design }: RecordedStart): Steps<void> {
  const traps = makeTraps();
  const g = makeGuestCpu(cpu, traps.handlers);
  const chosen = designByName(design);
  if (chosen === undefined) throw new HypervisorBug(`no design '${design}'`);
  yield* g.start();
  const ok = yield* recordedLife(makeKernelCpu(g, traps, k, id, chosen, [recorded]), params, script);
  if (!ok) throw new HypervisorBug(`vCPU ${String(id)} of a recording did not start`);
  yield* g.halt();
}

export const recordedGuests: RecordedGuests = {
  *build({ vcpus, pages: populated, grants, script, design }) {
    const { maxGrantFrames, maxMaptrackFrames, areaPages, grantFrames } = FULL_SIZES;
    const maxPfn = populated + 1 + grantFrames + grants;
    const spec = { populated, maxPfn, vcpus, areaPages, grantFrames };
    const limits = { maxGrantFrames, maxMaptrackFrames, arenaChunks: arenaChunks(spec, FULL_SIZES) };
    const options = { board: 0, exitOrder: EXIT_6_1, vmapStacks: true };
    const shape = { domid: 0, privileged: true, ...limits };
    const { k, params } = yield* buildKernel({ shape, spec, options, whose: 'the kernel of a recording' });
    const start: RecordedStart = { k, params, script, design };
    const cpus = params.actors as readonly Cpu[];
    return { cpus, start, vcpu: (id) => recordedVcpu(cpus[id] as Cpu, id, start) };
  },
};
