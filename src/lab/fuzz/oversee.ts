/**
 * The control plane's part of an episode: while vCPUs run it waits; once no control domain can, it lets all others go on.
 *
 * Lock: none held while it waits.
 */
import { domain, domainSlot, domainSlots } from '../../hypervisor/domain.js';
import { unpauseDomain } from '../../hypervisor/domctl.js';
import { CONTROL } from '../../sync/actor.js';
import { ldOnce, peek, waitChange } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { fuzzBoard, type FuzzMachine } from './machine.js';

/** Until every vCPU has ended; `look` is called at each turn and may throw. */
export function* oversee(m: FuzzMachine, look: () => void): Steps<void> {
  const controllers = m.vcpus.filter((v) => v.privileged).length;
  for (;;) {
    look();
    const ended = yield* ldOnce(fuzzBoard.ended(m.board)); // raced on purpose: vCPUs count up
    if (ended === m.vcpus.length) return;
    if ((yield* ldOnce(fuzzBoard.controllers(m.board))) === controllers) yield* unpauseAll(); // raced on purpose: as above
    yield* waitChange(CONTROL, fuzzBoard.ended(m.board), ended);
  }
}

/** Nobody is left who could: every pause of the control domain's is taken back. */
function* unpauseAll(): Steps<void> {
  for (let i = 0; i < domainSlots; i++) {
    const d = domainSlot(i);
    if (peek(domain.key(d)) === 0) continue;
    while ((yield* unpauseDomain(CONTROL, d)) === 0);
  }
}
