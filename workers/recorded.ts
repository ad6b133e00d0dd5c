/** The guests' side of recordings: builds a domain whose programs follow a script, and says what its vCPUs do. */
import { HypervisorBug } from '../src/abi/errors.js';
import type { Domid } from '../src/abi/frames.js';
import type { RecordedGuests } from '../src/lab/linux/run.js';
import { buildGuest, noRoom } from '../src/lab/run/build-guest.js';
import { FRAMES } from '../src/machine/layout.js';
import { CONTROL, type Cpu } from '../src/sync/actor.js';
import type { Steps } from '../src/sync/steps.js';
import { makeGuestCpu } from '../src/vcpu/vcpu.js';
import { designByName } from '../guests/designs/registry.js';
import { makeKernelCpu, makeTraps, prepareKernel } from '../guests/guest.js';
import type { KernelParams } from '../guests/kernel/boot.js';
import { image, layImage } from '../guests/kernel/domain-image.js';
import { EXIT_6_1, type Kernel } from '../guests/kernel/records.js';
import { recorded, recordedLife } from '../guests/workloads/recorded.js';
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
    const lay = (...[frame, put]: Parameters<Parameters<typeof buildGuest>[0]['lay']>): void =>
      layImage(spec, frame, put);
    const shape = { domid: 0, privileged: true, vcpus, populated, maxPfn, l4: image.l4, lay };
    const limits = { maxGrantFrames, maxMaptrackFrames, arenaChunks: arenaChunks(spec, FULL_SIZES) };
    const { arena, p2m, vcpus: actors, sharedInfo } = yield* buildGuest({ ...shape, ...limits });
    const options = { board: 0, exitOrder: EXIT_6_1, vmapStacks: true };
    const params = { domid: 0 as Domid, spec, frames: FRAMES, arena, p2m, actors, sharedInfo, ...options };
    const k = yield* prepareKernel(CONTROL, params);
    if (k === 0) throw noRoom('the kernel of a recording');
    const start: RecordedStart = { k, params, script, design };
    return { cpus: actors, start, vcpu: (id) => recordedVcpu(actors[id] as Cpu, id, start) };
  },
};
