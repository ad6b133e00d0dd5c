/**
 * HYPERVISOR_domctl and the control plane's functions behind it: create, pause, unpause, destroy, look.
 *
 * Invariant: a domain is created, paused and destroyed by the control plane or the control domain only.
 * Lock: domctlLock for creation and pauses, the domain's lock for destruction; a vCPU only tries them and asks to be
 * called again, so that nobody waits inside the hypervisor for someone who waits for him to leave it.
 * Source: do_domctl, xen/common/domctl.c; domain_kill, xen/common/domain.c.
 */
import { EACCES, EEXIST, EFAULT, EINVAL, ENOSYS, EOVERFLOW, EPERM, ERESTART, ESRCH } from '../abi/errno.js';
import * as ctl from '../abi/domctl.js';
import { DOMID_FIRST_RESERVED, type Va } from '../abi/frames.js';
import { HYPERVISOR_domctl } from '../abi/hypercall.js';
import { vcpu } from '../machine/cpu-record.js';
import { actor, REQ_KILL, type Cpu } from '../sync/actor.js';
import { RANK } from '../sync/lock-order.js';
import { cas, ldOnce, lock, or, peek, poke, stOnce, unlock, wake } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { EVENT } from '../trace/events.js';
import { trace } from '../trace/ring.js';
import { controlLock } from './control-lock.js';
import { copyFromVa, copyToVa, guestPointer } from './copy.js';
import { domainCreate } from './create.js';
import { domainInfo, pageFrameInfo3 } from './domctl-info.js';
import {
  currentDomain,
  domain,
  DOMDYING_alive,
  DOMDYING_dead,
  DOMDYING_dying,
  domidOf,
  findDomain,
  isPrivileged,
  nextDomain,
  pauseVcpus,
  putDomain,
  unpauseVcpus,
  vcpuCountOf,
  vcpuOf,
  type DomainRef,
} from './domain.js';
import { evtchnDestroy } from './event-channel.js';
import { globals } from './globals.js';
import { gnttabReleaseMappings } from './grant/release.js';
import { createContinuation } from './preempt.js';
import { relinquishResources } from './relinquish.js';
import { TWIN, twin } from './twins.js';

const MAX_CONTROLLER_PAUSES = 255;

/** rdi: struct xen_domctl. */
export function* doDomctl(cpu: Cpu): Steps<number> {
  const a = vcpu.copied(cpu);
  const arg = guestPointer(cpu, 0);
  if (!(yield* copyFromVa(cpu, arg, a, ctl.DOMCTL_U + COPIED_PART))) return -EFAULT;
  if (peek(a + ctl.DOMCTL_VERSION) !== ctl.XEN_DOMCTL_INTERFACE_VERSION) return -EACCES;
  const command = peek(a + ctl.DOMCTL_CMD);
  const domid = peek(a + ctl.DOMCTL_DOMAIN) & 0xffff;
  if (command === ctl.XEN_DOMCTL_createdomain) return yield* createFromGuest(cpu, domid, arg);
  const asked = yield* findDomain(domid);
  const d = asked === 0 && command === ctl.XEN_DOMCTL_getdomaininfo ? yield* nextDomain(domid) : asked;
  if (d === 0) {
    return command === ctl.XEN_DOMCTL_getdomaininfo && domid >= DOMID_FIRST_RESERVED ? -EINVAL : -ESRCH;
  }
  if (!isPrivileged(cpu)) return -EPERM;
  const rc = yield* oneDomctl(cpu, d, command, arg);
  return rc === -ERESTART ? createContinuation(cpu, HYPERVISOR_domctl) : rc;
}

/** Words of a command's own structure that are read. */
const COPIED_PART = 12;

/** XEN_DOMCTL_createdomain: under the id given, or under a free one when that is none; the id is reported. */
function* createFromGuest(cpu: Cpu, domid: number, arg: Va): Steps<number> {
  if (!isPrivileged(cpu)) return -EPERM;
  const u = vcpu.copied(cpu) + ctl.DOMCTL_U;
  const asked = domid > 0 && domid < DOMID_FIRST_RESERVED;
  const version = peek(u + ctl.CREATE_GRANT_OPTS) & ctl.XEN_DOMCTL_GRANT_version_mask;
  const frames = peek(u + ctl.CREATE_MAX_GRANT_FRAMES);
  const maptrack = peek(u + ctl.CREATE_MAX_MAPTRACK_FRAMES);
  let id = domid;
  let rc: number;
  // Another vCPU may take the free id first; then there is a next one.
  do {
    if (!asked) id = yield* freeDomid();
    rc = yield* domainCreate(cpu, {
      domid: id,
      vcpus: peek(u + ctl.CREATE_MAX_VCPUS),
      maxPages: 0,
      ...(version === 0 ? {} : { maxGrantVersion: version }),
      ...(frames < 0 ? {} : { maxGrantFrames: frames }),
      ...(maptrack < 0 ? {} : { maxMaptrackFrames: maptrack }),
    });
  } while (!asked && rc === -EEXIST);
  if (!asked && rc !== -ERESTART) yield* stOnce(globals.domidRover, id); // raced on purpose: said at the word
  if (rc === -ERESTART) return createContinuation(cpu, HYPERVISOR_domctl);
  if (rc !== 0) return rc;
  poke(vcpu.copied(cpu) + ctl.DOMCTL_DOMAIN, id);
  const from = vcpu.copied(cpu) + ctl.DOMCTL_DOMAIN;
  return (yield* copyToVa(cpu, (arg + ctl.DOMCTL_DOMAIN * 4) as Va, from, 1)) ? 0 : -EFAULT;
}

/** The next id that no domain has, after the one that was chosen last: freed ones do not come back at once. */
function* freeDomid(): Steps<number> {
  let id = yield* ldOnce(globals.domidRover); // raced on purpose: said at the word
  do id = id + 1 < DOMID_FIRST_RESERVED ? id + 1 : 1;
  while ((yield* findDomain(id)) !== 0);
  return id;
}

function* oneDomctl(cpu: Cpu, d: DomainRef, command: number, arg: Va): Steps<number> {
  switch (command) {
    case ctl.XEN_DOMCTL_destroydomain:
      return yield* destroyDomain(cpu, d);
    case ctl.XEN_DOMCTL_pausedomain:
      return yield* pauseDomain(cpu, d);
    case ctl.XEN_DOMCTL_unpausedomain:
      return yield* unpauseDomain(cpu, d);
    case ctl.XEN_DOMCTL_max_mem:
      return yield* setMaxMem(cpu, d);
    case ctl.XEN_DOMCTL_getdomaininfo:
      return yield* reportInfo(cpu, d, arg);
    case ctl.XEN_DOMCTL_getpageframeinfo3:
      return yield* pageFrameInfo3(cpu, d);
    default:
      return -ENOSYS;
  }
}

/** XEN_DOMCTL_max_mem: a limit in KiB; a domain that has more gets no more until it has less. */
function* setMaxMem(cpu: Cpu, d: DomainRef): Steps<number> {
  const a = vcpu.copied(cpu) + ctl.DOMCTL_U;
  const pages = Math.floor(((peek(a + 1) >>> 0) * 2 ** 32 + (peek(a) >>> 0)) / 4);
  yield* lock(cpu, domain.pageAllocLock(d), RANK.pageAlloc);
  poke(domain.maxPages(d), Math.min(pages, 0x7fffffff));
  yield* unlock(cpu, domain.pageAllocLock(d));
  return 0;
}

/** The command's domain becomes the one reported. */
function* reportInfo(cpu: Cpu, d: DomainRef, arg: Va): Steps<number> {
  const a = vcpu.copied(cpu) + ctl.DOMCTL_U;
  yield* domainInfo(d, a);
  poke(a - ctl.DOMCTL_U + ctl.DOMCTL_DOMAIN, domidOf(d));
  const from = vcpu.copied(cpu) + ctl.DOMCTL_DOMAIN;
  return (yield* copyToVa(cpu, (arg + ctl.DOMCTL_DOMAIN * 4) as Va, from, 2 + INFO_WORDS)) ? 0 : -EFAULT;
}
const INFO_WORDS = 16;

/** One more pause by the control plane; comes back when no vCPU of the domain runs. 0, -EINVAL, -EOVERFLOW, -ERESTART. */
export function* pauseDomain(cpu: Cpu, d: DomainRef): Steps<number> {
  if (d === currentDomain(cpu)) return -EINVAL;
  if (!(yield* controlLock(cpu, globals.domctlLock, RANK.domctl))) return -ERESTART;
  const ok = yield* countPause(d, 1);
  if (ok) yield* pauseVcpus(cpu, d, true);
  yield* unlock(cpu, globals.domctlLock);
  trace(cpu, EVENT.domainPause, domidOf(d), 1);
  return ok ? 0 : -EOVERFLOW;
}

/** One pause less. 0, -EINVAL when it was not paused, -ERESTART. */
export function* unpauseDomain(cpu: Cpu, d: DomainRef): Steps<number> {
  if (!(yield* controlLock(cpu, globals.domctlLock, RANK.domctl))) return -ERESTART;
  const ok = yield* countPause(d, -1);
  if (ok) yield* unpauseVcpus(d);
  yield* unlock(cpu, globals.domctlLock);
  trace(cpu, EVENT.domainPause, domidOf(d), 0);
  return ok ? 0 : -EINVAL;
}

function* countPause(d: DomainRef, by: number): Steps<boolean> {
  let old = peek(domain.controllerPause(d));
  for (;;) {
    const next = old + by;
    if (next < 0 || next > MAX_CONTROLLER_PAUSES) return false;
    const was = yield* cas(domain.controllerPause(d), old, next);
    if (was === old) return true;
    old = was;
  }
}

/**
 * Destroys the domain, as far as it goes now: 0 (a zombie may remain), -EINVAL (oneself), -ERESTART: call again.
 */
export function* destroyDomain(cpu: Cpu, d: DomainRef): Steps<number> {
  if (d === currentDomain(cpu)) return -EINVAL;
  if (!(yield* controlLock(cpu, domain.lock(d), RANK.domainLock))) return -ERESTART;
  const rc = yield* kill(cpu, d);
  yield* unlock(cpu, domain.lock(d));
  if (rc === 0) trace(cpu, EVENT.domainDestroy, domidOf(d), rc);
  return rc;
}

function* kill(cpu: Cpu, d: DomainRef): Steps<number> {
  const dying = yield* ldOnce(domain.dying(d)); // written under the lock we hold, read by all
  if (dying === DOMDYING_dead) return 0;
  if (dying === DOMDYING_alive) yield* beginDying(cpu, d);
  const released = yield* gnttabReleaseMappings(cpu, d);
  if (released !== 0) return released;
  const closed = yield* evtchnDestroy(cpu, d);
  if (closed !== 0) return closed;
  const rc = yield* relinquishResources(cpu, d);
  if (rc !== 0) return rc;
  yield* stOnce(domain.dying(d), DOMDYING_dead); // read by all
  yield* putDomain(d);
  return 0;
}

/** Stops the vCPUs for good; from here on the domain gets no frame any more. */
function* beginDying(cpu: Cpu, d: DomainRef): Steps<void> {
  yield* pauseVcpus(cpu, d, !twin(TWIN['destroy-no-wait']));
  yield* stOnce(domain.dying(d), DOMDYING_dying); // read by all
  for (let i = 0; i < vcpuCountOf(d); i++) {
    const v = vcpuOf(d, i);
    yield* or(actor.request(v), REQ_KILL);
    wake(actor.request(v));
  }
  yield* lock(cpu, domain.pageAllocLock(d), RANK.pageAlloc);
  yield* unlock(cpu, domain.pageAllocLock(d));
}
