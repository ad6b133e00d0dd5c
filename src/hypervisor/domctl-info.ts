/**
 * What the control plane can see: a domain's state, the types of its frames.
 *
 * Lock: none; each answer is a set of reads, not a snapshot.
 * Source: getdomaininfo in xen/common/domctl.c, XEN_DOMCTL_getpageframeinfo3 in xen/arch/x86/domctl.c.
 */
import { E2BIG, EFAULT } from '../abi/errno.js';
import * as ctl from '../abi/domctl.js';
import { canonicalVa, type Mfn, type Va } from '../abi/frames.js';
import { vcpu } from '../machine/cpu-record.js';
import {
  countInfo,
  isTableType,
  PGC_xen_heap,
  PGT_pinned,
  PGT_validated,
  typeInfo,
  typeLevel,
} from '../machine/frame.js';
import { actor, MODE_GUEST, MODE_HYPERVISOR, type Cpu } from '../sync/actor.js';
import { ldOnce, peek, poke } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { toMfn } from './base.js';
import { copyFromVa, copyToVa } from './copy.js';
import { domain, DOMDYING_dead, domidOf, vcpuCountOf, vcpuOf, type DomainRef } from './domain.js';
import { getPage, putPage } from './page.js';

/** Fills 16 words at `to` with struct xen_domctl_getdomaininfo, as far as there is something to say. */
export function* domainInfo(d: DomainRef, to: number): Steps<void> {
  for (let i = 0; i < 16; i++) poke(to + i, 0);
  // Every read below races on purpose: a report, not a snapshot.
  const dead = (yield* ldOnce(domain.dying(d))) === DOMDYING_dead ? ctl.XEN_DOMINF_dying : 0;
  const shutDown = (yield* ldOnce(domain.shutDown(d))) !== 0 ? ctl.XEN_DOMINF_shutdown : 0;
  const paused = (yield* ldOnce(domain.controllerPause(d))) > 0 ? ctl.XEN_DOMINF_paused : 0;
  const code = (yield* ldOnce(domain.shutdownCode(d))) << ctl.XEN_DOMINF_shutdownshift;
  poke(to + ctl.INFO_DOMAIN, domidOf(d));
  poke(to + ctl.INFO_FLAGS, dead | shutDown | paused | code | (yield* runState(d)));
  poke(to + ctl.INFO_TOT_PAGES, yield* ldOnce(domain.totPages(d)));
  poke(to + ctl.INFO_MAX_PAGES, peek(domain.maxPages(d)));
}

function* runState(d: DomainRef): Steps<number> {
  let running = 0;
  for (let i = 0; i < vcpuCountOf(d); i++) {
    const mode = yield* ldOnce(actor.mode(vcpuOf(d, i))); // raced on purpose: a report
    if (mode === MODE_GUEST || mode === MODE_HYPERVISOR) running = ctl.XEN_DOMINF_running;
  }
  return running;
}

/** Overwrites the guest's list of frame numbers by their types. 0, -E2BIG, -EFAULT. */
export function* pageFrameInfo3(cpu: Cpu, d: DomainRef): Steps<number> {
  const a = vcpu.copied(cpu) + ctl.DOMCTL_U;
  const num = peek(a + ctl.FRAMEINFO_NUM) >>> 0;
  if (num > ctl.FRAMEINFO_MAX || peek(a + ctl.FRAMEINFO_NUM + 1) !== 0) return -E2BIG;
  const list = canonicalVa(peek(a + ctl.FRAMEINFO_ARRAY), peek(a + ctl.FRAMEINFO_ARRAY + 1));
  const one = vcpu.copied(cpu) + 24;
  for (let i = 0; i < num; i++) {
    const at = (list + i * 8) as Va;
    if (list < 0 || !(yield* copyFromVa(cpu, at, one, 2))) return -EFAULT;
    poke(one, yield* frameType(cpu, d, toMfn(peek(one), peek(one + 1))));
    poke(one + 1, 0);
    if (!(yield* copyToVa(cpu, at, one, 2))) return -EFAULT;
  }
  return 0;
}

/** XEN_DOMCTL_PFINFO_* of one frame as the domain's: XTAB when it is not its own or Xen's. */
export function* frameType(cpu: Cpu, d: DomainRef, mfn: Mfn): Steps<number> {
  if (mfn < 0 || !(yield* getPage(cpu, mfn, domidOf(d)))) return ctl.XEN_DOMCTL_PFINFO_XTAB;
  const info = yield* ldOnce(typeInfo(mfn)); // raced on purpose: a report
  const count = yield* ldOnce(countInfo(mfn)); // raced on purpose: a report
  let type = isTableType(info) ? typeLevel(info) << 28 : ctl.XEN_DOMCTL_PFINFO_NOTAB;
  if ((info & PGT_pinned) !== 0) type |= ctl.XEN_DOMCTL_PFINFO_LPINTAB;
  else if ((info & PGT_validated) === 0) type = ctl.XEN_DOMCTL_PFINFO_NOTAB;
  if ((count & PGC_xen_heap) !== 0) type = ctl.XEN_DOMCTL_PFINFO_XTAB;
  yield* putPage(cpu, mfn);
  return type;
}
