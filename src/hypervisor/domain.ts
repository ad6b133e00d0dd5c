/**
 * Domain records: identity, life, accounting; looked up by id, alive as long as something refers to them.
 *
 * Invariant: `key` is domid + 1 while the domain can be found (zombies too), 0 otherwise; a record is not given back before
 * every actor has been seen outside the hypervisor once since (reap.ts; Xen's RCU grace period).
 * tot_pages > 0 or xenheap_pages > 0 each hold one count of `refcnt`; so does not having been destroyed.
 * Lock: line 0 is written at creation only (cr: vm_assist by its owner); line 1 under domctlLock, except what is
 * or-ed or counted atomically; line 2 under pageAllocLock; line 3 atomics.
 * Source: xen/include/xen/sched.h, common/domain.c; [X20], [X64], [X65].
 */
import { DOMID_FIRST_RESERVED, DOMID_IO, DOMID_SELF, DOMID_XEN, type Domid } from '../abi/frames.js';
import { HypervisorBug } from '../abi/errors.js';
import { vcpu } from '../machine/cpu-record.js';
import type { Ref } from '../shm/record.js';
import {
  actor,
  cpuAt,
  MODE_BLOCKED,
  MODE_GUEST,
  MODE_OFF,
  REQ_KILL,
  REQ_PAUSE,
  REQ_WAITS,
  type Cpu,
} from '../sync/actor.js';
import { add, ldOnce, or, peek, poke, stOnce, waitChange, wake } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { EVENT } from '../trace/events.js';
import { trace } from '../trace/ring.js';
import { DOMAIN_WORDS, DOMAINS, globals, MAX_DOMAINS } from './globals.js';

export type DomainRef = Ref<'domain'>;

const at =
  (offset: number) =>
  (d: DomainRef): number =>
    d + offset;

export const domain = {
  /** domid + 1 while findDomain finds it. */
  key: at(0),
  domid: at(1),
  /** 1: the control domain; its hypercalls may name any domain. */
  privileged: at(2),
  /** domid + 1 of the one domain this one may act upon (a stub domain's target); 0 none. */
  target: at(3),
  /** Actor slots vcpuBase .. vcpuBase + vcpuCount - 1 are its vCPUs 0, 1, … */
  vcpuBase: at(4),
  vcpuCount: at(5),
  /** 1: owns devices: cache attributes in L1s and cache flushes are permitted. */
  devices: at(6),
  /** Bits of vm_assist, types 0 to 31; type 32 (the M2P is hidden from user tables) has a word of its own. */
  assist: at(7),
  m2pStrict: at(13),
  /** Grant table and event channels: addresses, laid out by their rooms. */
  grantTable: at(8),
  evtchn: at(9),
  maxPages: at(10),
  /** Frames of this domain lie in mfnLow .. mfnHigh (a bound, for scans; under pageAllocLock). */
  mfnLow: at(11),
  mfnHigh: at(12),
  /** DOMDYING_*. */
  dying: at(16),
  shuttingDown: at(17),
  shutDown: at(18),
  shutdownCode: at(19),
  /** Index into CRASH_SITES, set by the crash. */
  crashSite: at(20),
  /** Where relinquishing goes on: phase, and a cursor within it. */
  relPhase: at(21),
  relCursor: at(22),
  /** Pauses by the control plane. */
  controllerPause: at(23),
  /** domain_lock: held by a destroyer (rank domainLock). */
  lock: at(24),
  /** Looks at its memory that are put off while it dies (memory.late): 0 not asked yet, else one more than are left. */
  relLate: at(25),
  /** 1: the control plane is asked to destroy it (domain.destroy). */
  destroyAsked: at(26),
  pageAllocLock: at(32),
  totPages: at(33),
  xenheapPages: at(34),
  refcnt: at(48),
  /** 1: gone, to be reaped; a bit per actor that has not been seen outside the hypervisor since (under domctlLock). */
  reap: at(49),
  reapMask: at(50),
  /** Words 64..127: locks and words of the grant-table and event-channel rooms. */
  grantWords: at(64),
  evtchnWords: at(96),
} as const;

/** Words of reapMask: 65 actors. */
export const REAP_WORDS = 3;

export const DOMDYING_alive = 0;
export const DOMDYING_dying = 1;
export const DOMDYING_dead = 2;

export const SHUTDOWN_crash = 3;
export const SHUTDOWN_CODE_INVALID = 0xff;

/** Where a domain can be crashed; the names are Xen's file and line, as tapes say them. */
export const CRASH_SITES = Object.freeze([
  'none',
  'common/grant_table.c:1438',
  'kernel mapping lost',
  'unhandled page fault',
  'reported by its guest',
] as const);
export const CRASH_UNMAP_DEAD_GRANTER = 1;
export const CRASH_KERNEL_MAPPING_LOST = 2;
export const CRASH_UNHANDLED_FAULT = 3;
export const CRASH_BY_GUEST = 4;

const slotAt = (slot: number): DomainRef => (DOMAINS + slot * DOMAIN_WORDS) as DomainRef;

/** The two owners that are no guests; findDomain does not find them. */
export const DOM_XEN = slotAt(0);
export const DOM_IO = slotAt(1);
const FIRST_GUEST_SLOT = 2;
const GUEST_SLOTS = MAX_DOMAINS - FIRST_GUEST_SLOT;
/** The record slot `i` (0 .. domainSlots-1), for whoever looks at all of them. */
export const domainSlots = GUEST_SLOTS;
export const domainSlot = (i: number): DomainRef => slotAt(FIRST_GUEST_SLOT + i);

export const NO_DOMAIN = 0 as DomainRef;

export const domidOf = (d: DomainRef): Domid => peek(domain.domid(d)) as Domid;
/** The domain of the vCPU; 0 for the control plane. */
export const currentDomain = (cpu: Cpu): DomainRef => peek(vcpu.domain(cpu)) as DomainRef;
/** The control plane and the control domain may name every domain. */
export const isPrivileged = (cpu: Cpu): boolean => {
  const d = currentDomain(cpu);
  return d === 0 || peek(domain.privileged(d)) !== 0;
};

/** The domain with that id, dying ones and zombies included; 0 if there is none. */
export function* findDomain(domid: number): Steps<DomainRef> {
  if (domid < 0 || domid >= DOMID_FIRST_RESERVED) return NO_DOMAIN;
  for (let i = 0; i < GUEST_SLOTS; i++) {
    const d = domainSlot((domid + i) % GUEST_SLOTS);
    const key = yield* ldOnce(domain.key(d)); // raced on purpose: creation and last put publish it
    if (key === domid + 1) return d;
  }
  return NO_DOMAIN;
}

/** The domain with the smallest id not below `domid`; 0 if there is none. */
export function* nextDomain(domid: number): Steps<DomainRef> {
  let best = NO_DOMAIN;
  let bestKey = 0;
  for (let i = 0; i < GUEST_SLOTS; i++) {
    const d = domainSlot(i);
    const key = yield* ldOnce(domain.key(d)); // raced on purpose: as in findDomain
    if (key <= domid || (bestKey !== 0 && key >= bestKey)) continue;
    best = d;
    bestKey = key;
  }
  return best;
}

/** The record of a frame's owner; the frame's reference keeps it alive. 0 for nobody. */
export function* ownerDomain(owner: number): Steps<DomainRef> {
  if (owner === DOMID_XEN) return DOM_XEN;
  if (owner === DOMID_IO) return DOM_IO;
  return yield* findDomain(owner);
}

/**
 * Domain named by foreigndom: SELF, IO, XEN or another's id; the own number is like an unknown one.
 * Source: get_pg_owner, xen/arch/x86/mm.c; [X20].
 */
export function* getPgOwner(cpu: Cpu, domid: number): Steps<DomainRef> {
  const current = currentDomain(cpu);
  if (domid === DOMID_SELF) return current;
  if (current !== 0 && domid === domidOf(current)) return NO_DOMAIN;
  if (domid === DOMID_IO) return DOM_IO;
  if (domid === DOMID_XEN) return DOM_XEN;
  return yield* findDomain(domid);
}

/**
 * May the caller act upon `target`? Itself, its target, or anything for the control domain.
 * Source: xsm_default_action(XSM_TARGET), xen/include/xsm/dummy.h.
 */
export function mayTarget(cpu: Cpu, target: DomainRef): boolean {
  const current = currentDomain(cpu);
  if (current === target || isPrivileged(cpu)) return true;
  return current !== 0 && peek(domain.target(current)) === domidOf(target) + 1;
}
/** The same for a domain in place of the running vCPU (xsm_priv_mapping). */
export const domainMayTarget = (source: DomainRef, target: DomainRef): boolean =>
  source === target || peek(domain.privileged(source)) !== 0 || peek(domain.target(source)) === domidOf(target) + 1;

/** One more reason for the record to stay; the caller knows that there is one already. */
export function* getKnownaliveDomain(d: DomainRef): Steps<void> {
  const was = yield* add(domain.refcnt(d), 1);
  if (was <= 0) throw new HypervisorBug('domain reference taken on a destroyed domain');
}

/** Drops one reason; with the last one the domain's id becomes free. */
export function* putDomain(d: DomainRef): Steps<void> {
  const was = yield* add(domain.refcnt(d), -1);
  if (was <= 0) throw new HypervisorBug('domain reference count below zero');
  if (was !== 1) return;
  for (let i = 0; i < REAP_WORDS; i++) poke(domain.reapMask(d) + i, -1);
  yield* stOnce(domain.key(d), 0); // raced on purpose: lookups see it or not
  yield* stOnce(domain.reap(d), 1); // raced on purpose: whoever sees it may reap
  yield* add(globals.reapable, 1);
}

/** vCPU `i` of the domain. */
export const vcpuOf = (d: DomainRef, i: number): Cpu => cpuAt(peek(domain.vcpuBase(d)) + i);
export const vcpuCountOf = (d: DomainRef): number => peek(domain.vcpuCount(d));

/** One more pause of every vCPU; with `wait`, until none of them (but the caller) runs guest or hypervisor code. */
export function* pauseVcpus(cpu: Cpu, d: DomainRef, wait: boolean): Steps<void> {
  const n = vcpuCountOf(d);
  for (let i = 0; i < n; i++) {
    const v = vcpuOf(d, i);
    yield* add(vcpu.pauseCount(v), 1);
    yield* or(actor.request(v), REQ_PAUSE);
    wake(actor.request(v));
  }
  for (let i = 0; wait && i < n; i++) yield* waitStopped(cpu, vcpuOf(d, i));
}

/**
 * Until the vCPU is off, blocked, or asleep for a guest's lock: before its next guest access or hypercall it looks at its
 * requests. Whoever stops changes the own request word afterwards (REQ_WAITS), so that is what is waited for.
 */
function* waitStopped(cpu: Cpu, v: Cpu): Steps<void> {
  if (v === cpu) return;
  for (;;) {
    const request = yield* ldOnce(actor.request(v)); // raced on purpose: its owner stops at its next poll
    const mode = yield* ldOnce(actor.mode(v)); // raced on purpose: as above
    if (mode === MODE_OFF || mode === MODE_BLOCKED) return;
    if (mode === MODE_GUEST && (request & REQ_WAITS) !== 0) return;
    yield* waitChange(cpu, actor.request(v), request);
  }
}

export function* unpauseVcpus(d: DomainRef): Steps<void> {
  const n = vcpuCountOf(d);
  for (let i = 0; i < n; i++) {
    const v = vcpuOf(d, i);
    const was = yield* add(vcpu.pauseCount(v), -1);
    if (was <= 0) throw new HypervisorBug('vCPU unpaused more often than paused');
    wake(vcpu.pauseCount(v));
  }
}

/**
 * The domain did what Xen answers with its end: marked, all its vCPUs paused; they die at the hypervisor's border.
 * Source: __domain_crash, domain_shutdown, xen/common/domain.c.
 */
export function* domainCrash(cpu: Cpu, d: DomainRef, site: number): Steps<void> {
  const was = yield* or(domain.shuttingDown(d), 1);
  if (was !== 0) return;
  trace(cpu, EVENT.domainCrash, domidOf(d), site);
  poke(domain.crashSite(d), site);
  poke(domain.shutdownCode(d), SHUTDOWN_crash);
  yield* pauseVcpus(cpu, d, false);
  yield* stOnce(domain.shutDown(d), 1); // read by whoever asks for the domain's state
}

/** The vCPU must run no more guest code: killed, crashed, or its domain is being destroyed. */
export function vcpuDead(cpu: Cpu): boolean {
  if ((peek(actor.request(cpu)) & REQ_KILL) !== 0) return true;
  const d = currentDomain(cpu);
  return d !== 0 && (peek(domain.dying(d)) !== DOMDYING_alive || peek(domain.shuttingDown(d)) !== 0);
}
