/** A scenario's words for a domain's kernel, as the kernel takes them. */
import type { MachinePlan } from '../src/lab/run/messages.js';
import type { DomainSpec } from '../src/scenario/scenario.js';
import { designByName } from '../guests/designs/registry.js';
import { backingNamed } from '../guests/drivers/gntdev/backing.js';
import type { KernelParams } from '../guests/kernel/boot.js';
import { EXIT_2_6_25, EXIT_6_1 } from '../guests/kernel/records.js';

type KernelOptions = Required<
  Pick<KernelParams, 'exitOrder' | 'splitPteLocks' | 'lazyMmu' | 'backing' | 'seed' | 'rounds'>
>;

/** Two domains of one scenario have different seeds. */
const SPREAD = 0x9e3779b1;

export const optionsOf = ({ scenario }: MachinePlan, { domid, kernel: o }: DomainSpec): KernelOptions => ({
  exitOrder: o.exitOrder === 'today' ? EXIT_6_1 : EXIT_2_6_25,
  splitPteLocks: o.splitPteLocks,
  lazyMmu: o.lazyMmu,
  backing: backingNamed(o.restore),
  seed: (scenario.seed + Math.imul(domid + 1, SPREAD)) | 0,
  rounds: scenario.extent.kind === 'rounds' ? scenario.extent.rounds : 0,
});

/** Why one of the domains' kernels cannot have the plan's design, or ''. */
export function refuses(plan: MachinePlan): string {
  const design = designByName(plan.design);
  if (design === undefined) return `this build has no design '${plan.design}'`;
  return plan.scenario.domains.map((d) => design.refuses(optionsOf(plan, d))).find((why) => why !== '') ?? '';
}
