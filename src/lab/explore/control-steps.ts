/** Steps of the control plane in a small scenario. Lock: the hypervisor's own. */
import { ERESTART } from '../../abi/errno.js';
import { HypervisorBug } from '../../abi/errors.js';
import { findDomain } from '../../hypervisor/domain.js';
import { destroyDomain, pauseDomain, unpauseDomain } from '../../hypervisor/domctl.js';
import type { SmallStep } from '../../scenario/scenario.js';
import { CONTROL } from '../../sync/actor.js';
import type { Steps } from '../../sync/steps.js';

/** All of them, one after the other; `note` hears of each before it begins. */
export function* controlSteps(steps: readonly SmallStep[], note: (text: string) => void): Steps<void> {
  for (const step of steps) {
    note(step.text);
    yield* controlStep(step.name, step.args[0] ?? 0);
  }
}

function* controlStep(name: string, domid: number): Steps<void> {
  const d = yield* findDomain(domid);
  if (d === 0) return;
  switch (name) {
    case 'destroy':
      while ((yield* destroyDomain(CONTROL, d)) === -ERESTART) continue;
      return;
    case 'pause':
      yield* pauseDomain(CONTROL, d);
      return;
    case 'unpause':
      yield* unpauseDomain(CONTROL, d);
      return;
    default:
      throw new HypervisorBug(`the control plane has no step '${name}'`);
  }
}
