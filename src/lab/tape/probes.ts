/**
 * The probes after each operation: what d0 can see of types, domains and grant tables.
 *
 * Invariant: everything is asked by hypercalls of d0 and read through its mappings, as the recorder did.
 * Source: tapes FORMAT.md (probes); xen/include/public/domctl.h.
 */
import * as domctl from '../../abi/domctl.js';
import { HYPERVISOR_domctl } from '../../abi/hypercall.js';
import type { Steps } from '../../sync/steps.js';
import type { MutableProbeState } from './compare.js';
import { readGrants } from './grant-probe.js';
import { putDomctl } from './memory-ops.js';
import type { DomState } from './schema.js';
import { domidOf } from './symbols.js';
import { readTypes } from './type-probe.js';
import type { TapeMachine } from './tape-machine.js';

export function* probe(m: TapeMachine, state: MutableProbeState): Steps<void> {
  for (const name of m.domains()) state.doms.set(name, yield* readDomain(m, name));
  yield* readTypes(m, state);
  for (const name of m.domains()) yield* readGrants(m, name, state);
}

/** What getdomaininfo says; null: there is no such domain. */
export function* readDomain(m: TapeMachine, name: string): Steps<DomState | null> {
  const d0 = m.d0;
  yield* putDomctl(d0, domctl.XEN_DOMCTL_getdomaininfo, domidOf(name));
  if ((yield* d0.call(HYPERVISOR_domctl, d0.pointer(0))) !== 0) return null;
  // The hypercall answers the first domain whose id is not below the one asked for.
  const id = (yield* d0.get(domctl.DOMCTL_U + domctl.INFO_DOMAIN)) & 0xffff;
  if (id !== domidOf(name)) return null;
  const flags = yield* d0.get(domctl.DOMCTL_U + domctl.INFO_FLAGS);
  const pages = yield* d0.get(domctl.DOMCTL_U + domctl.INFO_TOT_PAGES);
  const shared = yield* d0.get(domctl.DOMCTL_U + domctl.INFO_SHR_PAGES);
  const dying = (flags & domctl.XEN_DOMINF_dying) === 0 ? 0 : 1;
  const shutdown = (flags & domctl.XEN_DOMINF_shutdown) === 0 ? 0 : 1;
  return { dying, shutdown, tot: dying === 1 ? pages : pages - (m.basePages.get(name) ?? 0), shr: shared };
}
