/** The guests' side of exploration: small domains whose vCPUs run named steps. */
import type { ExploreGuests, SmallDomain } from '../src/lab/explore/guests.js';
import { reserveArena } from '../src/lab/run/build-guest.js';
import type { MachinePlan } from '../src/lab/run/messages.js';
import { HypervisorBug } from '../src/abi/errors.js';
import type { DomainSpec } from '../src/scenario/scenario.js';
import type { Steps } from '../src/sync/steps.js';
import { designByName } from '../guests/designs/registry.js';
import type { Kernel } from '../guests/kernel/records.js';
import { makeLook } from '../guests/look.js';
import { reportOf } from '../guests/report.js';
import { STEP_BOARD_WORDS } from '../guests/workloads/steps/board.js';
import { namedKernelWord } from '../guests/workloads/steps/names.js';
import { buildDomain } from './build.js';
import { refuses } from './options.js';
import { SMALL_SIZES } from './sizes.js';
import { stepVcpu } from './step-vcpu.js';

/** Guests of one machine after another. */
export function smallGuests(): ExploreGuests {
  const kernels = new Map<number, { name: string; k: Kernel }>();
  let board = 0;
  let design = designByName('');
  function* build(plan: MachinePlan, domain: DomainSpec): Steps<SmallDomain> {
    if (domain === plan.scenario.domains[0]) {
      board = yield* reserveArena(STEP_BOARD_WORDS);
      design = designByName(plan.design);
      kernels.clear();
    }
    if (design === undefined) throw new HypervisorBug(`no design '${plan.design}'`);
    const { k, words, vcpus, start } = yield* buildDomain(plan, domain, board, SMALL_SIZES);
    kernels.set(domain.domid, { name: domain.name, k });
    const own = design;
    return { words, vcpus: vcpus.map((cpu, id) => stepVcpu(start, own, cpu, id)), start };
  }
  return {
    refuses,
    build,
    look: (view) => {
      if (design === undefined) throw new HypervisorBug('a look at guests that were not built');
      return makeLook(
        [...kernels.values()].map(({ k }) => k),
        design,
        view,
      );
    },
    reports: (domids) =>
      domids.flatMap((d) => {
        const k = kernels.get(d)?.k;
        return k === undefined || design === undefined ? [] : [reportOf(k, design)];
      }),
    nameOf: (address) => namedKernelWord(kernels.values(), address),
  };
}
