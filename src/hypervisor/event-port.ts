/**
 * Event-channel ports of a domain: their records, and the pending and mask bits in the shared-info page.
 *
 * Invariant: port 0 is reserved; a port below `valid` has a record; state and peer change only with the channel's lock
 * and the event lock of its domain, of both domains for a pair, so one of them is enough to read.
 * Lock: eventLock (rank domainEvents), then channel locks (rank eventChannel); two of a rank by address.
 * Source: xen/common/event_channel.c, event_2l.c.
 * Differs: at most MAX_PORTS ports (the toolstack's default); evtchn_upcall_pending and evtchn_upcall_mask stand in the
 * vCPU's record, not in the page; a channel's lock is no rwlock: two senders of one port take turns.
 */
import { ENOMEM, ENOSPC, EINVAL } from '../abi/errno.js';
import {
  SHARED_INFO_MASK,
  SHARED_INFO_PENDING,
  SHARED_INFO_VCPUS,
  VCPU_INFO_PENDING_SEL,
  VCPU_INFO_WORDS,
} from '../abi/event-channel.js';
import { mfnWord, type Mfn } from '../abi/frames.js';
import { HypervisorBug } from '../abi/errors.js';
import { vcpu } from '../machine/cpu-record.js';
import { CHUNK_WORDS } from '../machine/layout.js';
import { arenaAlloc, arenaFree } from '../shm/arena.js';
import { record, type Ref } from '../shm/record.js';
import { actor, REQ_EVENT, type Cpu } from '../sync/actor.js';
import { RANK } from '../sync/lock-order.js';
import { and, ld, ldOnce, lock, or, peek, poke, st, stOnce, unlock, wake, xchg } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { TWIN, twin } from './twins.js';
import { allocXenFrame, freeXenFrame, unshareUnfound, shareXenFrame } from './allocation.js';
import { domain, vcpuCountOf, vcpuOf, type DomainRef } from './domain.js';
import { globals } from './globals.js';

export const ECS_FREE = 0;
export const ECS_RESERVED = 1;
export const ECS_UNBOUND = 2;
export const ECS_INTERDOMAIN = 3;
export const ECS_VIRQ = 5;
export const ECS_IPI = 6;

export const channel = record('eventChannel', {
  lock: 1,
  state: 1,
  notifyVcpu: 1,
  /** Interdomain: the peer's domain record and port. Unbound: the id of the domain that may bind. */
  remoteDomain: 1,
  remotePort: 1,
  remoteDomid: 1,
  virq: 1,
  port: 1,
});
export type Channel = Ref<'eventChannel'>;

const PORTS_PER_CHUNK = CHUNK_WORDS / channel.words;
const MAX_CHUNKS = 8;
export const MAX_PORTS = PORTS_PER_CHUNK * MAX_CHUNKS;

/** Words of the domain record that are this room's. */
export const events = {
  lock: (d: DomainRef): number => domain.evtchnWords(d),
  /** Ports below have a record; grows under the lock, read without. */
  valid: (d: DomainRef): number => domain.evtchnWords(d) + 1,
  /** mfn + 1 of the shared-info page; fixed once the domain can be found. */
  sharedInfo: (d: DomainRef): number => domain.evtchnWords(d) + 2,
  /** Where a reset that was preempted goes on; 0: none is under way. */
  nextReset: (d: DomainRef): number => domain.evtchnWords(d) + 3,
  chunk: (d: DomainRef, i: number): number => domain.evtchnWords(d) + 8 + i,
} as const;

/** Gives the domain, which nobody can find yet, its shared-info page and its first ports. 0 or -ENOMEM. */
export function* evtchnInit(cpu: Cpu, d: DomainRef): Steps<number> {
  for (let i = 0; i < 8 + MAX_CHUNKS; i++) poke(domain.evtchnWords(d) + i, 0);
  const page = yield* allocXenFrame(cpu);
  if (page < 0) return -ENOMEM;
  if (!(yield* addPorts(cpu, d))) {
    yield* freeXenFrame(cpu, page);
    return -ENOMEM;
  }
  yield* shareXenFrame(cpu, page, d, true);
  poke(events.sharedInfo(d), page + 1);
  poke(channel.state(channelOf(d, 0)), ECS_RESERVED);
  return 0;
}

/** The page that the guest maps to see its pending bits: struct shared_info. */
export const sharedInfoMfn = (d: DomainRef): Mfn => (peek(events.sharedInfo(d)) - 1) as Mfn;

/** Gives back what a domain had that nobody can reach any more; all its channels were closed when it died. */
export function* evtchnFree(cpu: Cpu, d: DomainRef): Steps<void> {
  if (peek(events.sharedInfo(d)) === 0) return;
  for (let i = 0; i < MAX_CHUNKS; i++) {
    const chunk = peek(events.chunk(d, i));
    if (chunk !== 0) yield* arenaFree(cpu, peek(globals.arena), chunk, 1);
    poke(events.chunk(d, i), 0);
  }
  yield* unshareUnfound(cpu, sharedInfoMfn(d));
  yield* freeXenFrame(cpu, sharedInfoMfn(d));
  poke(events.sharedInfo(d), 0);
  poke(events.valid(d), 0);
}

/** Record of a port below `valid`. */
export const channelOf = (d: DomainRef, port: number): Channel =>
  (peek(events.chunk(d, Math.floor(port / PORTS_PER_CHUNK))) + (port % PORTS_PER_CHUNK) * channel.words) as Channel;

/** The same for a port that a guest names; 0 when there is none. */
export function* findChannel(d: DomainRef, port: number): Steps<Channel> {
  // Raced on purpose: the count is stored after the records it lets through.
  return port >>> 0 < (yield* ldOnce(events.valid(d))) ? channelOf(d, port >>> 0) : (0 as Channel);
}

/** Another chunk of free ports. Event lock held, or the domain cannot be found yet. */
function* addPorts(cpu: Cpu, d: DomainRef): Steps<boolean> {
  const valid = yield* ldOnce(events.valid(d));
  const chunk = yield* arenaAlloc(cpu, peek(globals.arena), 1);
  if (chunk === 0) return false;
  for (let i = 0; i < PORTS_PER_CHUNK; i++) {
    poke(channel.port((chunk + i * channel.words) as Channel), valid + i);
  }
  yield* stOnce(events.chunk(d, Math.floor(valid / PORTS_PER_CHUNK)), chunk);
  yield* stOnce(events.valid(d), valid + PORTS_PER_CHUNK); // read without the lock, so stored last
  return true;
}

/** The lowest free port; -EINVAL when the domain is dying, -ENOSPC or -ENOMEM. Event lock held. */
export function* getFreePort(cpu: Cpu, d: DomainRef): Steps<number> {
  if ((yield* ldOnce(domain.dying(d))) !== 0) return -EINVAL; // raced on purpose: set, then the lock taken
  for (let port = 0; port < MAX_PORTS; port++) {
    if (port >= (yield* ldOnce(events.valid(d))) && !(yield* addPorts(cpu, d))) return -ENOMEM;
    if ((yield* ld(channel.state(channelOf(d, port)))) === ECS_FREE) return port;
  }
  return -ENOSPC;
}

/** Locks both domains' events; they may be the same. */
export function* lockEvents(cpu: Cpu, d1: DomainRef, d2: DomainRef): Steps<void> {
  if (twin(TWIN['events-unordered']) && d1 !== d2) {
    yield* lock(cpu, events.lock(d1), RANK.domainEvents);
    yield* lock(cpu, events.lock(d2), RANK.domainEvents);
    return;
  }
  yield* lock(cpu, events.lock(d1 < d2 ? d1 : d2), RANK.domainEvents);
  if (d1 !== d2) yield* lock(cpu, events.lock(d1 < d2 ? d2 : d1), RANK.domainEvents);
}
export function* unlockEvents(cpu: Cpu, d1: DomainRef, d2: DomainRef): Steps<void> {
  yield* unlock(cpu, events.lock(d1));
  if (d1 !== d2) yield* unlock(cpu, events.lock(d2));
}

export function* lockChannels(cpu: Cpu, c1: Channel, c2: Channel): Steps<void> {
  if (c1 === c2) throw new HypervisorBug('an event channel bound to itself');
  yield* lock(cpu, channel.lock(c1 < c2 ? c1 : c2), RANK.eventChannel);
  yield* lock(cpu, channel.lock(c1 < c2 ? c2 : c1), RANK.eventChannel);
}
export function* unlockChannels(cpu: Cpu, c1: Channel, c2: Channel): Steps<void> {
  yield* unlock(cpu, channel.lock(c1));
  yield* unlock(cpu, channel.lock(c2));
}

/** The word with the port's bit in one of the page's two arrays, and the bit. */
const bitWord = (d: DomainRef, array: number, port: number): number => mfnWord(sharedInfoMfn(d)) + array + (port >>> 5);
const bitOf = (port: number): number => 1 << (port & 31);

/** evtchn_2l_clear_pending. */
function* clearPending(d: DomainRef, c: Channel): Steps<void> {
  const port = peek(channel.port(c));
  yield* and(bitWord(d, SHARED_INFO_PENDING, port), ~bitOf(port));
}

/** evtchn_2l_set_pending: pending bit, then selector, then upcall; each only when the one before was news. */
export function* setPending(d: DomainRef, c: Channel): Steps<void> {
  const port = peek(channel.port(c));
  const was = yield* or(bitWord(d, SHARED_INFO_PENDING, port), bitOf(port));
  if ((was & bitOf(port)) !== 0) return;
  const mask = yield* ldOnce(bitWord(d, SHARED_INFO_MASK, port)); // raced on purpose: unmasking looks at pending next
  if ((mask & bitOf(port)) === 0) yield* select(d, c, port);
}

/** evtchn_2l_unmask: what came while the port was masked is delivered now. */
export function* unmaskPort(d: DomainRef, c: Channel): Steps<void> {
  const port = peek(channel.port(c));
  const was = yield* and(bitWord(d, SHARED_INFO_MASK, port), ~bitOf(port));
  if ((was & bitOf(port)) === 0) return;
  const pending = yield* ldOnce(bitWord(d, SHARED_INFO_PENDING, port)); // raced on purpose, as above
  if ((pending & bitOf(port)) !== 0) yield* select(d, c, port);
}

/** Tells the vCPU the port is bound to, if it does not know yet that this 64-bit word has something. */
function* select(d: DomainRef, c: Channel, port: number): Steps<void> {
  const id = yield* ldOnce(channel.notifyVcpu(c)); // raced on purpose: a rebind moves later events only
  if (id >= vcpuCountOf(d) || id >= SHARED_INFO_VCPUS) return;
  const info = mfnWord(sharedInfoMfn(d)) + id * VCPU_INFO_WORDS;
  const selector = port >>> 6;
  const word = info + VCPU_INFO_PENDING_SEL + (selector >>> 5);
  const was = yield* or(word, bitOf(selector));
  if ((was & bitOf(selector)) === 0) yield* markEventsPending(vcpuOf(d, id));
}

/** The upcall: a request that the vCPU serves at its next poll, unless one is on its way already. */
function* markEventsPending(v: Cpu): Steps<void> {
  if ((yield* xchg(vcpu.upcallPending(v), 1)) !== 0) return;
  yield* or(actor.request(v), REQ_EVENT);
  wake(actor.request(v));
}

/** Makes the port free: no event of its last use is left. Channel locked, event lock held. */
export function* freePort(d: DomainRef, c: Channel): Steps<void> {
  yield* clearPending(d, c);
  yield* st(channel.state(c), ECS_FREE);
  yield* stOnce(channel.notifyVcpu(c), 0);
}
