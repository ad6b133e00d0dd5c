/**
 * The control plane's part of an episode: while vCPUs run it waits; once no control domain can, it lets all others go on; a
 * domain that sits in a grant copy without end it destroys.
 *
 * Lock: none held while it waits.
 * Source: acquire_grant_for_copy, xen/common/grant_table.c: a copy through a transitive entry that is pinned for something
 * else is restarted until that pin is gone, in continuations; a granter can make that last as long as it likes.
 */
import { ERESTART } from '../../abi/errno.js';
import { HYPERVISOR_grant_table_op, HYPERVISOR_multicall } from '../../abi/hypercall.js';
import { domain, domainSlot, domainSlots, findDomain } from '../../hypervisor/domain.js';
import { destroyDomain, unpauseDomain } from '../../hypervisor/domctl.js';
import { globals } from '../../hypervisor/globals.js';
import { vcpu } from '../../machine/cpu-record.js';
import { actor, CONTROL } from '../../sync/actor.js';
import { add, ldOnce, peek, poke, waitChange } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { fuzzBoard, type FuzzMachine, type FuzzVcpu } from './machine.js';

/** Continuations between two alarms by which one call without progress is known. */
const ENDLESS = 500;

/** What a vCPU was doing at the last alarm. */
interface Seen {
  readonly hypercalls: number;
  readonly continuations: number;
}

/** Until every vCPU has ended; `alarmed` is asked at each turn, answers true now and then, and may throw. */
export function* oversee(m: FuzzMachine, alarmed: () => boolean): Steps<void> {
  const controllers = m.vcpus.filter((v) => v.privileged).length;
  const seen = new Map<number, Seen>();
  for (;;) {
    const turn = yield* ldOnce(fuzzBoard.turn(m.board)); // raced on purpose: vCPUs count up
    if (alarmed()) yield* endEndless(m, seen);
    const ended = yield* ldOnce(fuzzBoard.ended(m.board)); // raced on purpose: as above
    if (ended === m.vcpus.length) return;
    if ((yield* ldOnce(fuzzBoard.controllers(m.board))) === controllers) yield* unpauseAll(); // raced on purpose: as above
    yield* waitChange(CONTROL, fuzzBoard.turn(m.board), turn);
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

function* endEndless(m: FuzzMachine, seen: Map<number, Seen>): Steps<void> {
  for (const v of m.vcpus) {
    const before = seen.get(v.cpu);
    const now = { hypercalls: peek(vcpu.nHypercalls(v.cpu)), continuations: peek(vcpu.nContinuations(v.cpu)) };
    seen.set(v.cpu, now);
    const stuck = before?.hypercalls === now.hypercalls && now.continuations - before.continuations > ENDLESS;
    if (stuck && isCopying(v)) yield* destroy(m, v.domid);
  }
}

/** In a grant operation, or in a list whose entry is one. */
function isCopying(v: FuzzVcpu): boolean {
  const doing = peek(actor.doing(v.cpu)) - 1;
  return doing === HYPERVISOR_multicall
    ? peek(vcpu.multicallEntry(v.cpu)) === HYPERVISOR_grant_table_op
    : doing === HYPERVISOR_grant_table_op;
}

function* destroy(m: FuzzMachine, domid: number): Steps<void> {
  const d = yield* findDomain(domid);
  if (d === 0) return;
  yield* add(fuzzBoard.endless(m.board), 1);
  do poke(vcpu.quantumLeft(CONTROL), peek(globals.quantum));
  while ((yield* destroyDomain(CONTROL, d)) === -ERESTART);
}
