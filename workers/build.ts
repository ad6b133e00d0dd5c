/** From a scenario's domain to a built one: sizes and kernel parameters. */
import type { DomainWords, MachinePlan } from '../src/lab/run/messages.js';
import type { DomainSpec } from '../src/scenario/scenario.js';
import type { Cpu } from '../src/sync/actor.js';
import type { Steps } from '../src/sync/steps.js';
import type { Kernel } from '../guests/kernel/records.js';
import { buildKernel, type Start } from './kernel.js';
import { optionsOf } from './options.js';
import { arenaChunks, FULL_SIZES, imageSpec, type Sizes } from './sizes.js';
import { wordsOf } from './words.js';

export function* buildDomain(
  plan: MachinePlan,
  d: DomainSpec,
  board: number,
  sizes: Sizes = FULL_SIZES,
): Steps<{ k: Kernel; words: DomainWords; vcpus: readonly Cpu[]; start: Start }> {
  const spec = imageSpec(d, sizes);
  const { domid, privileged, memoryMib } = d;
  const { maxGrantFrames, maxMaptrackFrames } = sizes;
  const shape = { domid, privileged, arenaChunks: arenaChunks(spec, sizes), maxGrantFrames, maxMaptrackFrames };
  const whose = `the kernel of '${d.name}' (${String(memoryMib)} MiB)`;
  const start = yield* buildKernel({ shape, spec, options: { board, ...optionsOf(plan, d) }, whose });
  return { k: start.k, words: wordsOf(start.k, d), vcpus: start.params.actors as readonly Cpu[], start };
}
