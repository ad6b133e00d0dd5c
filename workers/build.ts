/** From a scenario's domain to a built one: sizes and kernel parameters. */
import type { Domid } from '../src/abi/frames.js';
import { buildGuest, noRoom } from '../src/lab/run/build-guest.js';
import type { DomainWords, MachinePlan } from '../src/lab/run/messages.js';
import { FRAMES } from '../src/machine/layout.js';
import type { DomainSpec } from '../src/scenario/scenario.js';
import { CONTROL, type Cpu } from '../src/sync/actor.js';
import type { Steps } from '../src/sync/steps.js';
import { prepareKernel } from '../guests/guest.js';
import type { KernelParams } from '../guests/kernel/boot.js';
import { image, layImage } from '../guests/kernel/domain-image.js';
import type { Kernel } from '../guests/kernel/records.js';
import { optionsOf } from './options.js';
import { arenaChunks, FULL_SIZES, imageSpec, type Sizes } from './sizes.js';
import { wordsOf } from './words.js';

/** What a vCPU thread is told of its domain. */
export interface Start {
  readonly k: Kernel;
  readonly params: KernelParams;
}

export function* buildDomain(
  plan: MachinePlan,
  d: DomainSpec,
  board: number,
  sizes: Sizes = FULL_SIZES,
): Steps<{ k: Kernel; words: DomainWords; vcpus: readonly Cpu[]; start: Start }> {
  const spec = imageSpec(d, sizes);
  const { domid, privileged, vcpus, memoryMib } = d;
  const { populated, maxPfn } = spec;
  const lay = (...[frame, put]: Parameters<Parameters<typeof buildGuest>[0]['lay']>): void =>
    layImage(spec, frame, put);
  const { maxGrantFrames, maxMaptrackFrames } = sizes;
  const shape = { domid, privileged, vcpus, populated, maxPfn, arenaChunks: arenaChunks(spec, sizes), l4: image.l4 };
  const guest = yield* buildGuest({ ...shape, maxGrantFrames, maxMaptrackFrames, lay });
  const params: KernelParams = {
    domid: domid as Domid,
    spec,
    frames: FRAMES,
    arena: guest.arena,
    p2m: guest.p2m,
    actors: guest.vcpus,
    sharedInfo: guest.sharedInfo,
    board,
    ...optionsOf(plan, d),
  };
  const k = yield* prepareKernel(CONTROL, params);
  if (k === 0) throw noRoom(`the kernel of '${d.name}' (${String(memoryMib)} MiB)`);
  return { k, words: wordsOf(k, d), vcpus: guest.vcpus, start: { k, params } };
}
