/** The guests' side of the control plane: has the domains built, knows the guests' words, collects what they hold. */
import type { BuiltDomain, ControlGuests } from '../src/lab/run/control.js';
import { HostileDomains } from '../src/lab/hostile/domains.js';
import { reserveArena } from '../src/lab/run/build-guest.js';
import type { MachinePlan } from '../src/lab/run/messages.js';
import type { DomainSpec } from '../src/scenario/scenario.js';
import type { Steps } from '../src/sync/steps.js';
import type { TeardownDesign } from '../guests/designs/design.js';
import { designByName } from '../guests/designs/registry.js';
import { boardDomainGone, BOARD_WORDS } from '../guests/drivers/blk/board.js';
import type { Kernel } from '../guests/kernel/records.js';
import { reportOf } from '../guests/report.js';
import { besideGuests } from './beside.js';
import { buildDomain } from './build.js';
import { refuses } from './options.js';

/** The machine of this thread: what was built last. */
interface Built {
  board: number;
  design: TeardownDesign | undefined;
  readonly kernels: Map<number, Kernel>;
}
const hostile = new HostileDomains(besideGuests);
const built: Built = { board: 0, design: undefined, kernels: new Map() };

function* build(plan: MachinePlan, domain: DomainSpec): Steps<BuiltDomain> {
  if (domain === plan.scenario.domains[0]) {
    built.board = yield* reserveArena(BOARD_WORDS);
    built.design = designByName(plan.design);
    built.kernels.clear();
    hostile.clear();
  }
  if (domain.hostile !== undefined) return yield* hostile.lay(plan, domain, built.board, 0);
  const { k, words, vcpus, start } = yield* buildDomain(plan, domain, built.board);
  built.kernels.set(domain.domid, k);
  return { words, vcpus, start };
}

export const controlGuests: ControlGuests = {
  refuses,
  build,
  begin: (plan, check) => hostile.begin(plan, check),
  tend: (patience) => hostile.tend(patience),
  endHostile: () => hostile.end(),
  forgetful: () => hostile.forgetful(),
  *destroyed(domid: number): Steps<void> {
    yield* boardDomainGone(built.board, domid);
  },
  reports: (domids) => {
    const { design, kernels } = built;
    if (design === undefined) return [];
    return domids.flatMap((d) => {
      const k = kernels.get(d);
      return k === undefined ? [] : [reportOf(k, design)];
    });
  },
};
