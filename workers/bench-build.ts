/** The domains of a benchmark's machine: one that maps, and those whose pages it maps. */
import { FIRST_GRANTER, granters, granterSizes, MAPPER, mapperSizes, type DomainSizes } from '../src/lab/bench/plan.js';
import type { Setting } from '../src/lab/bench/messages.js';
import type { Steps } from '../src/sync/steps.js';
import { designByName } from '../guests/designs/registry.js';
import { backingNamed } from '../guests/drivers/gntdev/backing.js';
import type { ImageSpec } from '../guests/kernel/domain-image.js';
import { buildKernel, type Start } from './kernel.js';
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
  const chunks = arenaChunks(spec, FULL_SIZES) + z.extraChunks;
  const limits = { maxGrantFrames: grantFrames, maxMaptrackFrames: z.maptrackFrames };
  const options = { board: 0, exitOrder: 0, splitPteLocks: splitLocks(s.design), backing: backingNamed(s.restore) };
  const shape = { domid, privileged: false, arenaChunks: chunks, ...limits };
  return yield* buildKernel({ shape, spec, options, whose: `the kernel of domain ${String(domid)}` });
}
