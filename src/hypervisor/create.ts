/**
 * Creation of a domain: a record, vCPU slots, event channels, a grant table; findable only when all is there.
 *
 * Invariant: a domain is created paused once by the control plane; its vCPUs are off, in kernel mode, without a base.
 * Lock: domctlLock.
 * Source: domain_create, xen/common/domain.c; XEN_DOMCTL_createdomain.
 */
import { EEXIST, EINVAL, ENOMEM, ERESTART } from '../abi/errno.js';
import { DOMID_FIRST_RESERVED } from '../abi/frames.js';
import { vcpu } from '../machine/cpu-record.js';
import { FRAMES } from '../machine/layout.js';
import { tlbInit } from '../machine/tlb.js';
import { actor, ACTOR_UPPER, CPU_WORDS, cpuAt, MAX_CPUS, MODE_OFF, type Cpu } from '../sync/actor.js';
import { RANK } from '../sync/lock-order.js';
import { ldOnce, peek, poke, stOnce, unlock } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { EVENT } from '../trace/events.js';
import { trace } from '../trace/ring.js';
import { controlLock } from './control-lock.js';
import {
  domain,
  domainSlot,
  domainSlots,
  findDomain,
  NO_DOMAIN,
  SHUTDOWN_CODE_INVALID,
  type DomainRef,
} from './domain.js';
import { evtchnFree, evtchnInit } from './event-port.js';
import { DOMAIN_WORDS, globals } from './globals.js';
import { grantTableInit } from './grant/grow.js';

export interface DomainConfig {
  readonly domid: number;
  /** The control domain: may name every domain, has devices. */
  readonly privileged?: boolean;
  /** Owns devices (cache attributes permitted); absent: as `privileged`. */
  readonly devices?: boolean;
  /** The one domain it may act upon beside itself. */
  readonly target?: number;
  readonly vcpus?: number;
  /** Absent: as many as the machine has. */
  readonly maxPages?: number;
  readonly maxGrantFrames?: number;
  readonly maxMaptrackFrames?: number;
  /** Highest grant table version allowed. */
  readonly maxGrantVersion?: number;
}

const DEFAULT_GRANT_FRAMES = 64;
const DEFAULT_MAPTRACK_FRAMES = 1024;

/** 0; -EEXIST the id is taken; -EINVAL; -ENOMEM no record, vCPU slots or frames left; -ERESTART: call again (vCPUs only). */
export function* domainCreate(cpu: Cpu, config: DomainConfig): Steps<number> {
  const vcpus = config.vcpus ?? 1;
  if (config.domid < 0 || config.domid >= DOMID_FIRST_RESERVED || vcpus < 1) return -EINVAL;
  if (!(yield* controlLock(cpu, globals.domctlLock, RANK.domctl))) return -ERESTART;
  const rc = (yield* findDomain(config.domid)) !== 0 ? -EEXIST : yield* create(cpu, config, vcpus);
  yield* unlock(cpu, globals.domctlLock);
  trace(cpu, EVENT.domainCreate, config.domid, rc);
  return rc;
}

function* create(cpu: Cpu, config: DomainConfig, vcpus: number): Steps<number> {
  const d = yield* freeRecord(config.domid);
  const base = yield* freeVcpus(vcpus);
  if (d === 0 || base === 0) return -ENOMEM;
  fillRecord(d, config, base, vcpus);
  const events = yield* evtchnInit(cpu, d);
  if (events !== 0) return forget(d, events);
  const rc = yield* grantTableInit(cpu, d, {
    maxGrantFrames: config.maxGrantFrames ?? DEFAULT_GRANT_FRAMES,
    maxMaptrackFrames: config.maxMaptrackFrames ?? DEFAULT_MAPTRACK_FRAMES,
    maxVersion: config.maxGrantVersion ?? 2,
    vcpus,
  });
  if (rc !== 0) {
    yield* evtchnFree(cpu, d);
    return forget(d, rc);
  }
  for (let i = 0; i < vcpus; i++) startRecord(cpuAt(base + i), d, i);
  if (base + vcpus > peek(globals.cpusUsed)) poke(globals.cpusUsed, base + vcpus);
  yield* stOnce(domain.key(d), config.domid + 1); // raced on purpose: published last
  return 0;
}

function forget(d: DomainRef, rc: number): number {
  for (let i = 0; i < DOMAIN_WORDS; i++) poke(d + i, 0);
  return rc;
}

/** A record that is neither in use nor waits to be reaped, near the id's own place; 0: none. */
function* freeRecord(domid: number): Steps<DomainRef> {
  for (let i = 0; i < domainSlots; i++) {
    const d = domainSlot((domid + i) % domainSlots);
    const key = yield* ldOnce(domain.key(d)); // raced on purpose: a domain may vanish, records are made under our lock
    const reap = yield* ldOnce(domain.reap(d)); // raced on purpose: as above
    const refcnt = yield* ldOnce(domain.refcnt(d)); // raced on purpose: as above
    if (key === 0 && reap === 0 && refcnt === 0) return d;
  }
  return NO_DOMAIN;
}

/** First of `n` actors in a row that are nobody's and off; 0: none. */
function* freeVcpus(n: number): Steps<number> {
  let run = 0;
  for (let i = 1; i < MAX_CPUS; i++) {
    const owned = yield* ldOnce(vcpu.domain(cpuAt(i))); // raced on purpose: given back by the reaper, under our lock
    const mode = yield* ldOnce(actor.mode(cpuAt(i))); // raced on purpose: off is for good
    run = owned === 0 && mode === MODE_OFF ? run + 1 : 0;
    if (run === n) return i - n + 1;
  }
  return 0;
}

function fillRecord(d: DomainRef, config: DomainConfig, base: number, vcpus: number): void {
  for (let i = 0; i < DOMAIN_WORDS; i++) poke(d + i, 0);
  const privileged = config.privileged === true;
  poke(domain.domid(d), config.domid);
  poke(domain.privileged(d), privileged ? 1 : 0);
  poke(domain.devices(d), (config.devices ?? privileged) ? 1 : 0);
  poke(domain.target(d), config.target === undefined ? 0 : config.target + 1);
  poke(domain.vcpuBase(d), base);
  poke(domain.vcpuCount(d), vcpus);
  poke(domain.maxPages(d), config.maxPages ?? FRAMES);
  poke(domain.mfnLow(d), FRAMES);
  poke(domain.shutdownCode(d), SHUTDOWN_CODE_INVALID);
  poke(domain.controllerPause(d), 1);
  poke(domain.refcnt(d), 1);
}

/** A vCPU's record as its first instruction finds it. */
function startRecord(v: Cpu, d: DomainRef, id: number): void {
  for (let i = ACTOR_UPPER; i < CPU_WORDS; i++) poke(v + i, 0);
  poke(actor.request(v), 0);
  tlbInit(v);
  poke(vcpu.domain(v), d);
  poke(vcpu.id(v), id);
  poke(vcpu.kernelMode(v), 1);
  poke(vcpu.oldGuestTablePartial(v), 1);
  poke(vcpu.pauseCount(v), 1);
  poke(vcpu.up(v), 1);
}
