/**
 * Interrupts: event channel upcalls, inter-processor interrupts, and a #GP that the hypervisor left behind.
 *
 * Invariant: a handler runs with events masked; a request that came in while masked is kept in upcallPending/ipiPending.
 * Lock: none.
 * Source: xen/arch/x86/x86_64/entry.S (test_all_events, process_trap), public/xen.h (evtchn_upcall_pending, _mask); [X61].
 */
import { MachineLost } from '../abi/errors.js';
import { chosen } from '../machine/choice.js';
import { vcpu } from '../machine/cpu-record.js';
import { actor, REQ_ABORT, REQ_EVENT, REQ_IPI, REQ_KILL, REQ_PAUSE, type Cpu } from '../sync/actor.js';
import { CHOICE } from '../sync/choices.js';
import { and, peek, poke, xchg } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { enterHypervisor, serveUrgent, URGENT } from './border.js';
import type { GuestCpu, GuestHandlers } from './guest-cpu.js';
import { popTrap, pushTrap } from './trap.js';

/** Serves every request of the vCPU; called in guest mode, comes back in guest mode. */
export function* serveRequests(g: GuestCpu, handlers: GuestHandlers): Steps<void> {
  const { cpu } = g;
  for (;;) {
    const request = peek(actor.request(cpu));
    if ((request & REQ_ABORT) !== 0) throw new MachineLost('the machine was given up');
    if ((request & URGENT) !== 0) yield* serveUrgent(cpu);
    if ((request & (REQ_EVENT | REQ_IPI)) !== 0) {
      yield* and(actor.request(cpu), ~(request & (REQ_EVENT | REQ_IPI)));
      if ((request & REQ_IPI) !== 0) poke(vcpu.ipiPending(cpu), 1);
    }
    if (!deliverable(cpu)) {
      // A flush may come late on purpose; everything else is served before the guest goes on.
      if ((peek(actor.request(cpu)) & (REQ_PAUSE | REQ_KILL | REQ_EVENT | REQ_IPI)) === 0) return;
      continue;
    }
    if (isLate(cpu)) return;
    yield* interrupt(g, handlers);
  }
}

/** A schedule may have the interrupts that wait delivered at the next look: then the request is made once more. */
function isLate(cpu: Cpu): boolean {
  const late = peek(vcpu.eventLate(cpu)) === 0 && chosen(cpu, CHOICE['event.deliver']);
  poke(vcpu.eventLate(cpu), late ? 1 : 0);
  if (late) poke(actor.request(cpu), peek(actor.request(cpu)) | REQ_EVENT);
  return late;
}

/** An interrupt waits and the mask is open. */
export const deliverable = (cpu: Cpu): boolean =>
  peek(vcpu.upcallMask(cpu)) === 0 && (peek(vcpu.ipiPending(cpu)) !== 0 || peek(vcpu.upcallPending(cpu)) !== 0);

function* interrupt(g: GuestCpu, handlers: GuestHandlers): Steps<void> {
  const { cpu } = g;
  yield* enterHypervisor(cpu);
  poke(vcpu.upcallMask(cpu), 1);
  const fromUser = yield* pushTrap(cpu, 0);
  if (peek(vcpu.ipiPending(cpu)) !== 0) {
    poke(vcpu.ipiPending(cpu), 0);
    yield* handlers.ipi(g);
  } else {
    yield* xchg(vcpu.upcallPending(cpu), 0);
    yield* handlers.event(g);
  }
  poke(vcpu.upcallMask(cpu), 0);
  yield* popTrap(cpu, fromUser);
}

/** Delivers the #GP that a debug hypervisor set pending; called in guest mode. */
export function* deliverGp(g: GuestCpu, handlers: GuestHandlers): Steps<void> {
  const { cpu } = g;
  poke(vcpu.pendingGp(cpu), 0);
  yield* enterHypervisor(cpu);
  const fromUser = yield* pushTrap(cpu, 0);
  yield* handlers.generalProtection(g, 0);
  yield* popTrap(cpu, fromUser);
}
