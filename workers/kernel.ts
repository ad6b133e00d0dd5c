/** A guest kernel in a domain of its own: the domain is built and laid out, its kernel prepared; no vCPU has run yet. */
import type { Domid } from '../src/abi/frames.js';
import { buildGuest, noRoom, type GuestOptions } from '../src/lab/run/build-guest.js';
import { FRAMES } from '../src/machine/layout.js';
import { CONTROL } from '../src/sync/actor.js';
import type { Steps } from '../src/sync/steps.js';
import { prepareKernel } from '../guests/guest.js';
import type { KernelParams } from '../guests/kernel/boot.js';
import { image, layImage, type ImageSpec } from '../guests/kernel/domain-image.js';
import type { Kernel } from '../guests/kernel/records.js';

/** What a vCPU thread is told of its domain. */
export interface Start {
  readonly k: Kernel;
  readonly params: KernelParams;
}

/** What the building itself finds out. */
type Built = 'domid' | 'spec' | 'frames' | 'arena' | 'p2m' | 'actors' | 'sharedInfo';

export interface KernelPlan {
  readonly shape: Pick<GuestOptions, 'domid' | 'privileged' | 'arenaChunks' | 'maxGrantFrames' | 'maxMaptrackFrames'>;
  readonly spec: ImageSpec;
  readonly options: Omit<KernelParams, Built>;
  /** Whose kernel, should the machine have no room for it. */
  readonly whose: string;
}

/** LabError: a machine too small for it. */
export function* buildKernel({ shape, spec, options, whose }: KernelPlan): Steps<Start> {
  const { vcpus, populated, maxPfn } = spec;
  const lay: GuestOptions['lay'] = (frame, put) => layImage(spec, frame, put);
  const guest = yield* buildGuest({ ...shape, vcpus, populated, maxPfn, l4: image.l4, lay });
  const { arena, p2m, vcpus: actors, sharedInfo } = guest;
  const domid = shape.domid as Domid;
  const params: KernelParams = { domid, spec, frames: FRAMES, arena, p2m, actors, sharedInfo, ...options };
  const k = yield* prepareKernel(CONTROL, params);
  if (k === 0) throw noRoom(whose);
  return { k, params };
}
