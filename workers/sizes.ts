/** How large the parts of a guest are, from what a scenario says of its domain; the same in every thread. */
import type { DomainSpec } from '../src/scenario/scenario.js';
import type { ImageSpec } from '../guests/kernel/domain-image.js';
import { page } from '../guests/kernel/page.js';

const PAGES_PER_MIB = 256;
const CHUNK_WORDS = 1024;

/** How generous a guest is built. */
export interface Sizes {
  /** pfns without a frame, for the balloon: what grants are mapped at. */
  readonly balloon: (populated: number) => number;
  /** Chunks of the arena for records besides struct page: tasks, VMAs, maps, slabs. */
  readonly recordChunks: number;
  readonly areaPages: number;
  readonly grantFrames: number;
  readonly maxGrantFrames: number;
  readonly maxMaptrackFrames: number;
}

/** Guests that run workloads. */
export const FULL_SIZES: Sizes = {
  balloon: (populated) => Math.max(256, populated >> 2),
  recordChunks: 256,
  areaPages: 4,
  grantFrames: 4,
  maxGrantFrames: 16,
  maxMaptrackFrames: 64,
};

/** Guests of small scenarios: a process or two, a few grants. */
export const SMALL_SIZES: Sizes = {
  balloon: () => 16,
  recordChunks: 24,
  areaPages: 1,
  grantFrames: 1,
  maxGrantFrames: 2,
  maxMaptrackFrames: 2,
};

export function imageSpec(d: DomainSpec, sizes: Sizes): ImageSpec {
  const populated = d.memoryMib * PAGES_PER_MIB;
  return {
    populated,
    maxPfn: populated + sizes.balloon(populated),
    vcpus: d.vcpus,
    areaPages: sizes.areaPages,
    grantFrames: sizes.grantFrames,
  };
}

/** Chunks of the arena for the kernel's records. */
export const arenaChunks = (s: ImageSpec, sizes: Sizes): number =>
  sizes.recordChunks + Math.ceil((s.maxPfn * page.words) / CHUNK_WORDS) + 16 * s.vcpus;
