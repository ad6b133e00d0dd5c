/**
 * Binding and closing event channels.
 *
 * Invariant: an interdomain channel's peer is interdomain and names it back; closing one end leaves the other unbound,
 * for the same domain to bind again.
 * Lock: the event locks of the domains concerned, then the channels' own.
 * Source: xen/common/event_channel.c. Each answers a port where one is made, else 0; or -errno.
 */
import { EEXIST, EINVAL, ENOENT, EPERM, ESRCH } from '../abi/errno.js';
import { NR_VIRQS, VIRQ_DEBUG, VIRQ_TIMER, VIRQ_XENOPROF, VIRQ_XENPMU } from '../abi/event-channel.js';
import { DOMID_SELF } from '../abi/frames.js';
import type { Cpu } from '../sync/actor.js';
import { RANK } from '../sync/lock-order.js';
import { ld, ldOnce, lock, st, stOnce, unlock } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { currentDomain, domidOf, findDomain, mayTarget, vcpuCountOf, type DomainRef } from './domain.js';
import {
  channel,
  channelOf,
  ECS_FREE,
  ECS_INTERDOMAIN,
  ECS_IPI,
  ECS_RESERVED,
  ECS_UNBOUND,
  ECS_VIRQ,
  events,
  findChannel,
  freePort,
  getFreePort,
  lockChannels,
  lockEvents,
  setPending,
  unlockChannels,
  unlockEvents,
  type Channel,
} from './event-port.js';

/** The domain with that id, DOMID_SELF for the caller's own; 0: none. */
export function* domainByAnyId(cpu: Cpu, domid: number): Steps<DomainRef> {
  return domid === DOMID_SELF ? currentDomain(cpu) : yield* findDomain(domid);
}

/** Puts the free port into service, or answers the errno that is there instead of one. Event lock held. */
function* takePort(
  cpu: Cpu,
  d: DomainRef,
  port: number,
  state: number,
  vcpuId: number,
  remoteDomid: number,
): Steps<number> {
  if (port < 0) return port;
  const c = channelOf(d, port);
  yield* lock(cpu, channel.lock(c), RANK.eventChannel);
  yield* st(channel.state(c), state);
  yield* stOnce(channel.notifyVcpu(c), vcpuId);
  yield* st(channel.remoteDomid(c), remoteDomid);
  yield* unlock(cpu, channel.lock(c));
  return port;
}

/** A port of `domid`'s that `remoteDomid` may bind to. */
export function* allocUnbound(cpu: Cpu, domid: number, remoteDomid: number): Steps<number> {
  const d = yield* domainByAnyId(cpu, domid);
  if (d === 0) return -ESRCH;
  yield* lock(cpu, events.lock(d), RANK.domainEvents);
  const remote = remoteDomid === DOMID_SELF ? domidOf(currentDomain(cpu)) : remoteDomid;
  const free = yield* getFreePort(cpu, d);
  const permitted = free < 0 || mayTarget(cpu, d);
  const port = permitted ? yield* takePort(cpu, d, free, ECS_UNBOUND, 0, remote) : -EPERM;
  yield* unlock(cpu, events.lock(d));
  return port;
}

/** A port of the caller's bound to an unbound one that waits for the caller. */
export function* bindInterdomain(cpu: Cpu, remoteDomid: number, remotePort: number): Steps<number> {
  const local = currentDomain(cpu);
  const remote = yield* domainByAnyId(cpu, remoteDomid);
  if (remote === 0) return -ESRCH;
  yield* lockEvents(cpu, local, remote);
  const port = yield* bindLocked(cpu, local, remote, remotePort);
  yield* unlockEvents(cpu, local, remote);
  return port;
}

function* bindLocked(cpu: Cpu, local: DomainRef, remote: DomainRef, remotePort: number): Steps<number> {
  const port = yield* getFreePort(cpu, local);
  if (port < 0) return port;
  const there = yield* findChannel(remote, remotePort);
  if (there === 0 || (yield* ld(channel.state(there))) !== ECS_UNBOUND) return -EINVAL;
  if ((yield* ld(channel.remoteDomid(there))) !== domidOf(local)) return -EINVAL;
  const here = channelOf(local, port);
  yield* lockChannels(cpu, here, there);
  yield* pair(here, remote, remotePort);
  yield* pair(there, local, port);
  // Events sent to the unbound port were dropped: one is made up for them.
  yield* setPending(local, here);
  yield* unlockChannels(cpu, here, there);
  return port;
}

function* pair(c: Channel, peer: DomainRef, peerPort: number): Steps<void> {
  yield* st(channel.remoteDomain(c), peer);
  yield* st(channel.remotePort(c), peerPort);
  yield* st(channel.state(c), ECS_INTERDOMAIN);
}

/** Virtual interrupts that a domain has once, bound through vCPU 0. */
const virqIsGlobal = (virq: number): boolean =>
  virq !== VIRQ_TIMER && virq !== VIRQ_DEBUG && virq !== VIRQ_XENOPROF && virq !== VIRQ_XENPMU;

export function* bindVirq(cpu: Cpu, virq: number, vcpuId: number): Steps<number> {
  const d = currentDomain(cpu);
  if (virq >= NR_VIRQS || (virqIsGlobal(virq) && vcpuId !== 0)) return -EINVAL;
  if (vcpuId >= vcpuCountOf(d)) return -ENOENT;
  yield* lock(cpu, events.lock(d), RANK.domainEvents);
  let port = -EEXIST;
  if ((yield* virqChannel(d, virq, vcpuId)) === 0) {
    port = yield* takePort(cpu, d, yield* getFreePort(cpu, d), ECS_VIRQ, vcpuId, 0);
    if (port >= 0) yield* st(channel.virq(channelOf(d, port)), virq);
  }
  yield* unlock(cpu, events.lock(d));
  return port;
}

/** The channel that the virtual interrupt comes by; 0: none is bound. Event lock held. */
export function* virqChannel(d: DomainRef, virq: number, vcpuId: number): Steps<Channel> {
  const valid = yield* ldOnce(events.valid(d));
  for (let port = 1; port < valid; port++) {
    const c = channelOf(d, port);
    if ((yield* ld(channel.state(c))) !== ECS_VIRQ || (yield* ld(channel.virq(c))) !== virq) continue;
    if (virqIsGlobal(virq) || (yield* ldOnce(channel.notifyVcpu(c))) === vcpuId) return c;
  }
  return 0 as Channel;
}

export function* bindIpi(cpu: Cpu, vcpuId: number): Steps<number> {
  const d = currentDomain(cpu);
  if (vcpuId >= vcpuCountOf(d)) return -ENOENT;
  yield* lock(cpu, events.lock(d), RANK.domainEvents);
  const port = yield* takePort(cpu, d, yield* getFreePort(cpu, d), ECS_IPI, vcpuId, 0);
  yield* unlock(cpu, events.lock(d));
  return port;
}

/** Sends the port's later events to another vCPU of the caller's domain. */
export function* bindVcpu(cpu: Cpu, port: number, vcpuId: number): Steps<number> {
  const d = currentDomain(cpu);
  if (vcpuId >= vcpuCountOf(d)) return -ENOENT;
  const c = yield* findChannel(d, port);
  if (c === 0) return -EINVAL;
  yield* lock(cpu, events.lock(d), RANK.domainEvents);
  const state = yield* ld(channel.state(c));
  const global = state === ECS_VIRQ && virqIsGlobal(yield* ld(channel.virq(c)));
  const movable = global || state === ECS_UNBOUND || state === ECS_INTERDOMAIN;
  if (movable) yield* stOnce(channel.notifyVcpu(c), vcpuId);
  yield* unlock(cpu, events.lock(d));
  return movable ? 0 : -EINVAL;
}

/** Closes a port of `d`; its peer becomes unbound. */
export function* closePort(cpu: Cpu, d: DomainRef, port: number): Steps<number> {
  const c = yield* findChannel(d, port);
  if (c === 0) return -EINVAL;
  let peer = d;
  for (;;) {
    yield* lockEvents(cpu, d, peer);
    const state = yield* ld(channel.state(c));
    const paired = state === ECS_INTERDOMAIN;
    const remote = paired ? ((yield* ld(channel.remoteDomain(c))) as DomainRef) : peer;
    if (remote === peer) {
      const rc = yield* closeLocked(cpu, d, c, state, remote);
      yield* unlockEvents(cpu, d, peer);
      return rc;
    }
    yield* unlockEvents(cpu, d, peer);
    // Closed and bound anew while nothing was locked: it was free for a moment, and that is the answer.
    if (peer !== d) return -EINVAL;
    peer = remote;
  }
}

function* closeLocked(cpu: Cpu, d: DomainRef, c: Channel, state: number, remote: DomainRef): Steps<number> {
  if (state === ECS_FREE || state === ECS_RESERVED) return -EINVAL;
  if (state !== ECS_INTERDOMAIN) {
    yield* lock(cpu, channel.lock(c), RANK.eventChannel);
    yield* freePort(d, c);
    yield* unlock(cpu, channel.lock(c));
    return 0;
  }
  const there = channelOf(remote, yield* ld(channel.remotePort(c)));
  yield* lockChannels(cpu, c, there);
  yield* freePort(d, c);
  yield* st(channel.state(there), ECS_UNBOUND);
  yield* st(channel.remoteDomid(there), domidOf(d));
  yield* unlockChannels(cpu, c, there);
  return 0;
}
