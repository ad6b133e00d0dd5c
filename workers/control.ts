/** Thread entry of the control plane: builds the guests' domains, reads their words, collects what they hold. */
import type { Domid } from '../src/abi/frames.js';
import { controlThread, type BuiltDomain } from '../src/lab/run/control.js';
import { buildGuest } from '../src/lab/run/build-guest.js';
import type { MachinePlan } from '../src/lab/run/messages.js';
import { FRAMES } from '../src/machine/layout.js';
import type { DomainSpec } from '../src/scenario/scenario.js';
import { LabError } from '../src/abi/errors.js';
import { CONTROL } from '../src/sync/actor.js';
import type { Steps } from '../src/sync/steps.js';
import { designByName } from '../guests/designs/registry.js';
import { prepareKernel } from '../guests/guest.js';
import type { KernelParams } from '../guests/kernel/boot.js';
import { COUNTER_NAMES } from '../guests/kernel/counters.js';
import { image, layImage } from '../guests/kernel/domain-image.js';
import { EXIT_2_6_25, EXIT_6_1, kernel, type Kernel } from '../guests/kernel/records.js';
import { arenaChunks, imageSpec, MAX_GRANT_FRAMES, MAX_MAPTRACK_FRAMES } from './sizes.js';

function* build(_plan: MachinePlan, domain: DomainSpec): Steps<BuiltDomain> {
  const spec = imageSpec(domain);
  const built = yield* buildGuest({
    domid: domain.domid,
    privileged: domain.privileged,
    vcpus: domain.vcpus,
    populated: spec.populated,
    maxPfn: spec.maxPfn,
    arenaChunks: arenaChunks(spec),
    maxGrantFrames: MAX_GRANT_FRAMES,
    maxMaptrackFrames: MAX_MAPTRACK_FRAMES,
    l4: image.l4,
    lay: (frame, put) => {
      layImage(spec, frame, put);
    },
  });
  const params: KernelParams = {
    domid: domain.domid as Domid,
    spec,
    frames: FRAMES,
    arena: built.arena,
    p2m: built.p2m,
    actors: built.vcpus,
    sharedInfo: built.sharedInfo,
    board: 0,
    exitOrder: domain.kernel.exitOrder === 'today' ? EXIT_6_1 : EXIT_2_6_25,
  };
  const k = yield* prepareKernel(CONTROL, params);
  if (k === 0) throw new LabError('MACHINE_TOO_SMALL', `no room for the kernel of '${domain.name}'`);
  return { words: wordsOf(k, domain), vcpus: built.vcpus, start: { k, params } };
}

const wordsOf = (k: Kernel, d: DomainSpec): BuiltDomain['words'] => ({
  domain: d.name,
  domid: d.domid,
  stop: kernel.stop(k),
  rounds: kernel.counters(k),
  counters: Object.fromEntries(COUNTER_NAMES.map((name, i) => [name, kernel.counters(k) + i])),
});

controlThread({
  refuses: (plan) => (designByName(plan.design) === undefined ? `no design '${plan.design}'` : ''),
  build,
  reports: () => [],
});
