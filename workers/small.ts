/** The guests' side of exploration: small domains whose vCPUs run named steps. */
import type { ExploreGuests, SmallDomain } from '../src/lab/explore/guests.js';
import { reserveArena } from '../src/lab/run/build-guest.js';
import type { MachinePlan } from '../src/lab/run/messages.js';
import { HypervisorBug } from '../src/abi/errors.js';
import type { DomainSpec } from '../src/scenario/scenario.js';
import type { Cpu } from '../src/sync/actor.js';
import type { Steps } from '../src/sync/steps.js';
import { makeGuestCpu } from '../src/vcpu/vcpu.js';
import type { TeardownDesign } from '../guests/designs/design.js';
import { designByName } from '../guests/designs/registry.js';
import { makeKernelCpu, makeTraps } from '../guests/guest.js';
import type { Kernel } from '../guests/kernel/records.js';
import { reportOf } from '../guests/report.js';
import { STEP_BOARD_WORDS } from '../guests/workloads/steps/board.js';
import { kernelWord } from '../guests/workloads/steps/names.js';
import { StepVcpu } from '../guests/workloads/steps/vcpu.js';
import { buildDomain, type Start } from './build.js';
import { refuses } from './options.js';
import { SMALL_SIZES } from './sizes.js';

function stepVcpu({ k, params }: Start, design: TeardownDesign, cpu: Cpu, id: number): StepVcpu {
  const traps = makeTraps();
  const g = makeGuestCpu(cpu, traps.handlers);
  return new StepVcpu(g, makeKernelCpu(g, traps, k, id, design), params);
}

/** A vCPU of a domain that another thread built. */
export function attachSmall(start: unknown, name: string, cpu: number, id: number): StepVcpu {
  const design = designByName(name);
  if (design === undefined) throw new HypervisorBug(`no design '${name}'`);
  return stepVcpu(start as Start, design, cpu as Cpu, id);
}

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
    reports: (domids) =>
      domids.flatMap((d) => {
        const k = kernels.get(d)?.k;
        return k === undefined || design === undefined ? [] : [reportOf(k, design)];
      }),
    nameOf: (address) => {
      for (const { name, k } of kernels.values()) {
        const word = kernelWord(k, address);
        if (word !== '') return `${name}: ${word}`;
      }
      return '';
    },
  };
}
