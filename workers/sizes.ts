/** How large the parts of a guest are, from what a scenario says of its domain; the same in every thread. */
import type { DomainSpec } from '../src/scenario/scenario.js';
import type { ImageSpec } from '../guests/kernel/domain-image.js';
import { page } from '../guests/kernel/page.js';

const PAGES_PER_MIB = 256;
const CHUNK_WORDS = 1024;
/** pfns without a frame, for the balloon: what grants are mapped at. */
const balloon = (populated: number): number => Math.max(256, populated >> 2);
/** Records besides struct page: tasks, VMAs, maps, slabs. */
const RECORD_CHUNKS = 256;

export const MAX_GRANT_FRAMES = 16;
export const MAX_MAPTRACK_FRAMES = 64;

export function imageSpec(d: DomainSpec): ImageSpec {
  const populated = d.memoryMib * PAGES_PER_MIB;
  return {
    populated,
    maxPfn: populated + balloon(populated),
    vcpus: d.vcpus,
    areaPages: 4,
    grantFrames: 4,
  };
}

/** Chunks of the arena for the kernel's records. */
export const arenaChunks = (s: ImageSpec): number =>
  RECORD_CHUNKS + Math.ceil((s.maxPfn * page.words) / CHUNK_WORDS) + 16 * s.vcpus;
