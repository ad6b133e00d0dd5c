/**
 * HYPERVISOR_event_channel_op(cmd, arg): sending, unmasking, status, reset; and the end of a domain's channels.
 *
 * Invariant: an event sent on a bound channel leaves its pending bit set at the peer before the call returns.
 * Lock: a sender holds its own channel's lock, which keeps the peer bound; the rest as in event-bind.
 * Source: xen/common/event_channel.c, do_event_channel_op.
 * Differs: no physical interrupts (bind_pirq finds none), no FIFO scheme (-ENOSYS), nobody who polls; no event of Xen's own
 * sends a virtual interrupt (VIRQ_DOM_EXC at a destruction, say): `sendGuestVirq` is for whoever runs the machine.
 */
import { EAGAIN, EBUSY, EFAULT, EINVAL, ENOSYS, EPERM, ERESTART, ESRCH } from '../abi/errno.js';
import * as ev from '../abi/event-channel.js';
import type { Va } from '../abi/frames.js';
import { highHalf, lowHalf } from '../abi/grant.js';
import { HYPERVISOR_event_channel_op } from '../abi/hypercall.js';
import { faultHit } from '../fault/plan.js';
import { SITE } from '../fault/sites.js';
import { vcpu } from '../machine/cpu-record.js';
import type { Cpu } from '../sync/actor.js';
import { RANK } from '../sync/lock-order.js';
import { ld, ldOnce, lock, peek, poke, st, stOnce, unlock } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { EVENT } from '../trace/events.js';
import { trace } from '../trace/ring.js';
import { copyFromVa, copyToVa, guestPointer } from './copy.js';
import { currentDomain, domain, domidOf, mayTarget, type DomainRef } from './domain.js';
import {
  allocUnbound,
  bindInterdomain,
  bindIpi,
  bindVcpu,
  bindVirq,
  closePort,
  domainByAnyId,
  virqChannel,
} from './event-bind.js';
import {
  channel,
  type Channel,
  channelOf,
  ECS_FREE,
  ECS_INTERDOMAIN,
  ECS_IPI,
  ECS_RESERVED,
  ECS_UNBOUND,
  ECS_VIRQ,
  events,
  findChannel,
  setPending,
  unmaskPort,
} from './event-port.js';
import { argLo, createContinuation, hypercallPreemptCheck, setArg } from './preempt.js';

/** Words of the argument structure of each command. */
const WORDS: Readonly<Record<number, number>> = Object.freeze({
  [ev.EVTCHNOP_bind_interdomain]: ev.BIND_INTERDOMAIN_WORDS,
  [ev.EVTCHNOP_bind_virq]: ev.BIND_VIRQ_WORDS,
  [ev.EVTCHNOP_bind_pirq]: 3,
  [ev.EVTCHNOP_close]: 1,
  [ev.EVTCHNOP_send]: 1,
  [ev.EVTCHNOP_status]: ev.EVTCHN_STATUS_WORDS,
  [ev.EVTCHNOP_alloc_unbound]: ev.ALLOC_UNBOUND_WORDS,
  [ev.EVTCHNOP_bind_ipi]: ev.BIND_IPI_WORDS,
  [ev.EVTCHNOP_bind_vcpu]: ev.BIND_VCPU_WORDS,
  [ev.EVTCHNOP_unmask]: 1,
  [ev.EVTCHNOP_reset]: 1,
  [ev.EVTCHNOP_reset_cont]: 1,
});

export function* doEventChannelOp(cpu: Cpu): Steps<number> {
  const cmd = argLo(cpu, 0);
  const words = WORDS[cmd];
  if (words === undefined) return -ENOSYS;
  const arg = guestPointer(cpu, 1);
  const op = vcpu.copied(cpu);
  if (!(yield* copyFromVa(cpu, arg, op, words))) return -EFAULT;
  switch (cmd) {
    case ev.EVTCHNOP_bind_interdomain:
      return yield* answerPort(
        cpu,
        arg,
        ev.BIND_INTERDOMAIN_LOCAL,
        yield* bindInterdomain(cpu, lowHalf(peek(op)), peek(op + ev.BIND_INTERDOMAIN_REMOTE)),
      );
    case ev.EVTCHNOP_bind_virq:
      return yield* answerPort(
        cpu,
        arg,
        ev.BIND_VIRQ_PORT,
        yield* bindVirq(cpu, peek(op) >>> 0, peek(op + ev.BIND_VIRQ_VCPU) >>> 0),
      );
    case ev.EVTCHNOP_alloc_unbound: {
      const port = yield* allocUnbound(cpu, lowHalf(peek(op)), highHalf(peek(op)));
      return yield* answerPort(cpu, arg, ev.ALLOC_UNBOUND_PORT, port);
    }
    case ev.EVTCHNOP_bind_ipi:
      return yield* answerPort(cpu, arg, ev.BIND_IPI_PORT, yield* bindIpi(cpu, peek(op) >>> 0));
    case ev.EVTCHNOP_close:
      return yield* closePort(cpu, currentDomain(cpu), peek(op));
    case ev.EVTCHNOP_send:
      return yield* evtchnSend(cpu, currentDomain(cpu), peek(op));
    case ev.EVTCHNOP_status:
      return yield* evtchnStatus(cpu, arg, op);
    case ev.EVTCHNOP_bind_vcpu:
      return yield* bindVcpu(cpu, peek(op), peek(op + 1) >>> 0);
    case ev.EVTCHNOP_unmask:
      return yield* evtchnUnmask(cpu, peek(op));
    case ev.EVTCHNOP_bind_pirq:
      return -EINVAL;
    default:
      return yield* evtchnReset(cpu, lowHalf(peek(op)), cmd === ev.EVTCHNOP_reset_cont);
  }
}

/** Writes a port where the structure wants it; errors are answered as they are. */
function* answerPort(cpu: Cpu, arg: Va, at: number, port: number): Steps<number> {
  if (port < 0) return port;
  const word = vcpu.copied(cpu) + at;
  poke(word, port);
  return (yield* copyToVa(cpu, (arg + at * 4) as Va, word, 1)) ? 0 : -EFAULT;
}

/** An event on the port; events on an unbound port are dropped. */
export function* evtchnSend(cpu: Cpu, d: DomainRef, port: number): Steps<number> {
  const c = yield* findChannel(d, port);
  if (c === 0) return -EINVAL;
  yield* lock(cpu, channel.lock(c), RANK.eventChannel);
  let rc = 0;
  const state = yield* ld(channel.state(c));
  if (state === ECS_INTERDOMAIN) {
    const remote = (yield* ld(channel.remoteDomain(c))) as DomainRef;
    yield* deliver(cpu, remote, channelOf(remote, yield* ld(channel.remotePort(c))));
    trace(cpu, EVENT.eventSend, port, domidOf(remote));
  } else if (state === ECS_IPI) {
    yield* deliver(cpu, d, c);
    trace(cpu, EVENT.eventSend, port, domidOf(d));
  } else if (state !== ECS_UNBOUND) {
    rc = -EINVAL;
  }
  yield* unlock(cpu, channel.lock(c));
  return rc;
}

/** Sets the port's bit, unless the fault plan loses the event, has it come later, or once more. */
function* deliver(cpu: Cpu, d: DomainRef, c: Channel): Steps<void> {
  if (faultHit(cpu, SITE['event.lost']) !== 0) return;
  const late = faultHit(cpu, SITE['event.late']);
  const again = late !== 0 || faultHit(cpu, SITE['event.duplicated']) === 0 ? 0 : 1;
  if (late === 0) yield* setPending(d, c);
  if (late + again === 0 || peek(vcpu.lateDomid(cpu)) !== 0) return;
  poke(vcpu.latePort(cpu), peek(channel.port(c)));
  poke(vcpu.lateExits(cpu), late + again);
  poke(vcpu.lateDomid(cpu), domidOf(d) + 1);
}

/** On the way out of the hypervisor, or with `now` for good: an event that was held back goes out when its time has come. */
export function* lateEvent(cpu: Cpu, now: boolean): Steps<void> {
  const left = now ? 0 : peek(vcpu.lateExits(cpu)) - 1;
  poke(vcpu.lateExits(cpu), left);
  if (left > 0) return;
  const d = yield* domainByAnyId(cpu, peek(vcpu.lateDomid(cpu)) - 1);
  poke(vcpu.lateDomid(cpu), 0);
  const c = d === 0 ? 0 : yield* findChannel(d, peek(vcpu.latePort(cpu)));
  if (c === 0 || d === 0) return;
  yield* lock(cpu, channel.lock(c), RANK.eventChannel);
  const state = yield* ld(channel.state(c));
  if (state === ECS_INTERDOMAIN || state === ECS_IPI) yield* setPending(d, c);
  yield* unlock(cpu, channel.lock(c));
}

/** A virtual interrupt for a domain: vCPU `vcpuId`'s, or the domain's one. Dropped where none is bound. */
export function* sendGuestVirq(cpu: Cpu, d: DomainRef, virq: number, vcpuId: number): Steps<void> {
  yield* lock(cpu, events.lock(d), RANK.domainEvents);
  const c = yield* virqChannel(d, virq, vcpuId);
  if (c !== 0) yield* setPending(d, c);
  yield* unlock(cpu, events.lock(d));
}

function* evtchnUnmask(cpu: Cpu, port: number): Steps<number> {
  const d = currentDomain(cpu);
  const c = yield* findChannel(d, port);
  if (c === 0) return -EINVAL;
  yield* lock(cpu, channel.lock(c), RANK.eventChannel);
  yield* unmaskPort(d, c);
  yield* unlock(cpu, channel.lock(c));
  return 0;
}

function* evtchnStatus(cpu: Cpu, arg: Va, op: number): Steps<number> {
  const d = yield* domainByAnyId(cpu, lowHalf(peek(op)));
  if (d === 0) return -ESRCH;
  const c = yield* findChannel(d, peek(op + ev.EVTCHN_STATUS_PORT));
  if (c === 0) return -EINVAL;
  if (!mayTarget(cpu, d)) return -EPERM;
  yield* lock(cpu, events.lock(d), RANK.domainEvents);
  let status: number = ev.EVTCHNSTAT_closed;
  const state = yield* ld(channel.state(c));
  if (state === ECS_UNBOUND) {
    status = ev.EVTCHNSTAT_unbound;
    poke(op + ev.EVTCHN_STATUS_U, yield* ld(channel.remoteDomid(c)));
  } else if (state === ECS_INTERDOMAIN) {
    status = ev.EVTCHNSTAT_interdomain;
    poke(op + ev.EVTCHN_STATUS_U, domidOf((yield* ld(channel.remoteDomain(c))) as DomainRef));
    poke(op + ev.EVTCHN_STATUS_U + 1, yield* ld(channel.remotePort(c)));
  } else if (state === ECS_VIRQ) {
    status = ev.EVTCHNSTAT_virq;
    poke(op + ev.EVTCHN_STATUS_U, yield* ld(channel.virq(c)));
  } else if (state === ECS_IPI) {
    status = ev.EVTCHNSTAT_ipi;
  }
  poke(op + ev.EVTCHN_STATUS_STATUS, status);
  poke(op + ev.EVTCHN_STATUS_VCPU, yield* ldOnce(channel.notifyVcpu(c)));
  yield* unlock(cpu, events.lock(d));
  return (yield* copyToVa(cpu, arg, op, ev.EVTCHN_STATUS_WORDS)) ? 0 : -EFAULT;
}

/** Closes all channels of a domain that is the caller's own or paused; one at a time. */
function* evtchnReset(cpu: Cpu, domid: number, resuming: boolean): Steps<number> {
  const d = yield* domainByAnyId(cpu, domid);
  if (d === 0) return -ESRCH;
  if (!mayTarget(cpu, d)) return -EPERM;
  if (d !== currentDomain(cpu) && (yield* ldOnce(domain.controllerPause(d))) === 0) return -EINVAL;
  yield* lock(cpu, events.lock(d), RANK.domainEvents);
  const next = yield* ld(events.nextReset(d));
  const from = resuming ? next : next === 0 ? 1 : 0;
  if (from > next) yield* st(events.nextReset(d), from);
  yield* unlock(cpu, events.lock(d));
  if (from === 0) return -EBUSY;
  const stopped = yield* closeFrom(cpu, d, from);
  yield* lock(cpu, events.lock(d), RANK.domainEvents);
  yield* st(events.nextReset(d), stopped);
  const rc = stopped === 0 && (yield* anyInUse(d)) ? -EAGAIN : 0;
  yield* unlock(cpu, events.lock(d));
  if (stopped === 0) return rc;
  setArg(cpu, 0, ev.EVTCHNOP_reset_cont, 0);
  return createContinuation(cpu, HYPERVISOR_event_channel_op);
}

/** Closes ports from `from` upward; 0 when the last was looked at, else where to go on. */
function* closeFrom(cpu: Cpu, d: DomainRef, from: number): Steps<number> {
  // Both raced on purpose: ports are added and bound meanwhile, and closing looks again.
  for (let port = from; port < (yield* ldOnce(events.valid(d))); port++) {
    if (inUse(yield* ldOnce(channel.state(channelOf(d, port))))) yield* closePort(cpu, d, port);
    if ((port & 0x3f) === 0 && port !== from && (yield* hypercallPreemptCheck(cpu))) return port + 1;
  }
  return 0;
}

const inUse = (state: number): boolean => state !== ECS_FREE && state !== ECS_RESERVED;

/** Did somebody bind a port where the reset had been? Event lock held. */
function* anyInUse(d: DomainRef): Steps<boolean> {
  const valid = yield* ldOnce(events.valid(d));
  for (let port = 1; port < valid; port++) if (inUse(yield* ld(channel.state(channelOf(d, port))))) return true;
  return false;
}

/**
 * A dying domain's channels are closed, from the last downward; those above where it stopped are ports no more. A reset
 * that its death cut short says nothing: ports behind it may have been bound anew. 0, or -ERESTART to be called again.
 */
export function* evtchnDestroy(cpu: Cpu, d: DomainRef): Steps<number> {
  if (peek(events.sharedInfo(d)) === 0) return 0;
  // Whoever was allocating when the domain began to die has the lock; nobody does afterwards.
  yield* lock(cpu, events.lock(d), RANK.domainEvents);
  yield* unlock(cpu, events.lock(d));
  for (let port = (yield* ldOnce(events.valid(d))) - 1; port > 0; port--) {
    // Raced on purpose: the peer may close its end meanwhile, and closing looks again.
    if (inUse(yield* ldOnce(channel.state(channelOf(d, port))))) yield* closePort(cpu, d, port);
    if ((port & 0x3f) !== 0 || !(yield* hypercallPreemptCheck(cpu))) continue;
    yield* stOnce(events.valid(d), port); // read without the lock
    return -ERESTART;
  }
  return 0;
}
