/** The domains of a benchmark's machine: one that maps, and those whose pages it maps. */
import type { Domid } from '../src/abi/frames.js';
import { FIRST_GRANTER, granters, granterSizes, MAPPER, mapperSizes, type DomainSizes } from '../src/lab/bench/plan.js';
import type { Setting } from '../src/lab/bench/messages.js';
import { buildGuest, noRoom } from '../src/lab/run/build-guest.js';
import { FRAMES } from '../src/machine/layout.js';
import { CONTROL } from '../src/sync/actor.js';
import type { Steps } from '../src/sync/steps.js';
import { designByName } from '../guests/designs/registry.js';
import { backingNamed } from '../guests/drivers/gntdev/backing.js';
import { prepareKernel } from '../guests/guest.js';
import type { KernelParams } from '../guests/kernel/boot.js';
import { image, layImage, type ImageSpec } from '../guests/kernel/domain-image.js';
import type { Start } from './build.js';
import { arenaChunks, FULL_SIZES } from './sizes.js';

export type BenchDomains = Readonly<{ mapper: Start; granters: readonly Start[] }>;

/** A design that cannot have split PTE locks gets a kernel without. */
export const splitLocks = (name: string): boolean => {
  const d = designByName(name);
  return d?.oneLock !== true && d?.refuses({ splitPteLocks: true, exitOrder: 0 }) === '';
};

export function* buildBenchDomains(s: Setting): Steps<BenchDomains> {
  const mapper = yield* buildBenchDomain(s, MAPPER, mapperSizes(s.point, s.restore, s.bystander));
  const all: Start[] = [];
  for (const n of granters(s.point)) all.push(yield* buildBenchDomain(s, FIRST_GRANTER + all.length, granterSizes(n)));
  return { mapper, granters: all };
}

/** One domain, its kernel prepared; a machine too small for it is a LabError. */
export function* buildBenchDomain(s: Pick<Setting, 'design' | 'restore'>, domid: number, z: DomainSizes): Steps<Start> {
  const { populated, vcpus, areaPages, grantFrames } = z;
  const maxPfn = populated + 1 + grantFrames + z.ballooned;
  const spec: ImageSpec = { populated, maxPfn, vcpus, areaPages, grantFrames };
  const limits = { maxGrantFrames: grantFrames, maxMaptrackFrames: z.maptrackFrames };
  const lay = (...[frame, put]: Parameters<Parameters<typeof buildGuest>[0]['lay']>): void =>
    layImage(spec, frame, put);
  const chunks = arenaChunks(spec, FULL_SIZES) + z.extraChunks;
  const shape = { domid, privileged: false, vcpus, populated, maxPfn, arenaChunks: chunks, l4: image.l4 };
  const guest = yield* buildGuest({ ...shape, ...limits, lay });
  const params: KernelParams = {
    domid: domid as Domid,
    spec,
    frames: FRAMES,
    arena: guest.arena,
    p2m: guest.p2m,
    actors: guest.vcpus,
    sharedInfo: guest.sharedInfo,
    board: 0,
    exitOrder: 0,
    splitPteLocks: splitLocks(s.design),
    backing: backingNamed(s.restore),
  };
  const k = yield* prepareKernel(CONTROL, params);
  if (k === 0) throw noRoom(`the kernel of domain ${String(domid)}`);
  return { k, params };
}
