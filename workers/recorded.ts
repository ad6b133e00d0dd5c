/** The guests' side of recordings: builds a domain whose programs follow a script, and says what its vCPUs do. */
import { HypervisorBug } from '../src/abi/errors.js';
import type { Domid } from '../src/abi/frames.js';
import type { RecordedGuests } from '../src/lab/linux/run.js';
import { buildGuest } from '../src/lab/run/build-guest.js';
import { FRAMES } from '../src/machine/layout.js';
import { CONTROL, type Cpu } from '../src/sync/actor.js';
import { stOnce } from '../src/sync/primitives.js';
import type { Steps } from '../src/sync/steps.js';
import { makeGuestCpu } from '../src/vcpu/vcpu.js';
import { designByName } from '../guests/designs/registry.js';
import { makeKernelCpu, makeTraps, prepareKernel, startVcpu } from '../guests/guest.js';
import type { KernelParams } from '../guests/kernel/boot.js';
import { image, layImage } from '../guests/kernel/domain-image.js';
import { EXIT_6_1, kernel, type Kernel } from '../guests/kernel/records.js';
import { vcpuLoop } from '../guests/kernel/sched.js';
import { recorded, startRecorded } from '../guests/workloads/recorded.js';
import { arenaChunks, MAX_GRANT_FRAMES, MAX_MAPTRACK_FRAMES } from './sizes.js';

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
  const c = makeKernelCpu(g, traps, k, id, chosen, [recorded]);
  yield* g.start();
  if (!(yield* startVcpu(c, params))) throw new HypervisorBug('the kernel did not boot');
  if (id === 0) {
    if (!(yield* startRecorded(c, script))) throw new HypervisorBug('no room for the recorded program');
    yield* stOnce(kernel.started(k), 1); // raced on purpose: idle vCPUs look
  }
  yield* vcpuLoop(c, true);
  yield* g.halt();
}

export const recordedGuests: RecordedGuests = {
  *build({ vcpus, pages: populated, grants, script, design }) {
    const maxPfn = populated + 8 + grants;
    const spec = { populated, maxPfn, vcpus, areaPages: 4, grantFrames: 4 };
    const lay = (...[frame, put]: Parameters<Parameters<typeof buildGuest>[0]['lay']>): void =>
      layImage(spec, frame, put);
    const limits = { maxGrantFrames: MAX_GRANT_FRAMES, maxMaptrackFrames: MAX_MAPTRACK_FRAMES };
    const shape = { domid: 0, privileged: true, vcpus, populated, maxPfn, l4: image.l4, lay };
    const {
      arena,
      p2m,
      vcpus: actors,
      sharedInfo,
    } = yield* buildGuest({ ...shape, ...limits, arenaChunks: arenaChunks(spec) });
    const options = { board: 0, exitOrder: EXIT_6_1, vmapStacks: true };
    const params = { domid: 0 as Domid, spec, frames: FRAMES, arena, p2m, actors, sharedInfo, ...options };
    const k = yield* prepareKernel(CONTROL, params);
    if (k === 0) throw new HypervisorBug('no room for the kernel');
    const start = { k, params, script, design };
    return { cpus: actors, start, vcpu: (id) => recordedVcpu(actors[id] as Cpu, id, start) };
  },
};
