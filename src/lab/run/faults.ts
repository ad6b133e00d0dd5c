/**
 * The faults of a run: laid over a booted machine, counted when it stands still.
 *
 * Invariant: nothing is laid when nothing is planned; vCPUs that still boot meet no fault; which actor met the n-th
 * occurrence is a matter of timing here, where threads run, and of the schedule in `inject`.
 * Lock: none; the machine is still.
 */
import type { Violation } from '../../abi/guest.js';
import { faultAdd, faultCounts, faultInit, FAULT_WORDS, ruleCounts } from '../../fault/plan.js';
import { SITES } from '../../fault/sites.js';
import { domain, findDomain } from '../../hypervisor/domain.js';
import type { FaultSpec } from '../../scenario/scenario.js';
import { actor, cpuIndex, REQ_KILL, type Cpu } from '../../sync/actor.js';
import { peek, run } from '../../sync/primitives.js';
import { formatFault, ruleOf } from '../inject/spec.js';
import { takeAllDown, vcpusOf, type Stock } from '../reclaim.js';
import { reserveArena } from './build-guest.js';
import type { VcpuPlace } from './messages.js';

/** A planned fault, and the number of its rule. */
export interface LaidFault {
  readonly spec: FaultSpec;
  readonly rule: number;
}

/** Lays `specs` over the machine whose vCPUs are `places`; a probability without a seed takes the run's. */
export function layFaults(specs: readonly FaultSpec[], seed: number, places: readonly VcpuPlace[]): LaidFault[] {
  if (specs.length === 0) return [];
  faultInit(run(() => reserveArena(FAULT_WORDS)));
  const actorsOf = (name: string | undefined, vcpu: number | undefined): number[] =>
    places
      .filter((p) => (name === undefined || p.domain === name) && (vcpu === undefined || p.id === vcpu))
      .map((p) => cpuIndex(p.cpu as Cpu));
  return specs.map((spec) => ({ spec, rule: faultAdd(spec.site, ruleOf({ seed, ...spec }, actorsOf, false)) }));
}

/** Counters for the report: how often each planned site was reached, and what was injected there. */
export function faultCounters(laid: readonly LaidFault[]): Record<string, number> {
  const out: Record<string, number> = {};
  for (const site of SITES) {
    if (!laid.some((l) => l.spec.site === site)) continue;
    out[`reached ${site}`] = faultCounts(site).seen;
    out[`injected ${site}`] = faultCounts(site).hits;
  }
  return out;
}

/** Planned faults that were never injected. */
export const notInjected = (laid: readonly LaidFault[]): string[] =>
  laid.filter((l) => ruleCounts(l.rule).hits === 0).map((l) => formatFault(l.spec));

/** Warnings that say no more than that Xen refused something. */
const REFUSED = /: (multicall|pin|grantUnmap|alias|grantMap|designState|setPte|hypercall)$/;

/** What is left to say when refusals were planned. */
export const besidesRefusals = (found: readonly Violation[], planned: readonly unknown[]): readonly Violation[] =>
  planned.length === 0 ? found : found.filter((v) => v.invariant !== 'warning' || !REFUSED.test(v.detail));

/**
 * Why the domain is to be destroyed: a fault says so, or a vCPU of its died that others may wait for; '' when it is not. A
 * domain that the hypervisor crashed stays as it is, for the audit to find.
 */
export function mourned(domid: number): string {
  const d = run(() => findDomain(domid));
  if (d === 0 || peek(domain.dying(d)) !== 0 || peek(domain.shuttingDown(d)) !== 0) return '';
  if (peek(domain.destroyAsked(d)) !== 0) return 'its end was planned';
  const dead = vcpusOf(d).findIndex((cpu) => (peek(actor.request(cpu)) & REQ_KILL) !== 0);
  return dead < 0 ? '' : `its vCPU ${String(dead)} died`;
}

/** Where deaths are planned: what the machine leaves behind once every domain is destroyed; it had `stock` before its first. */
export function notReclaimed(laid: readonly LaidFault[], seed: number, stock: Stock): Violation[] {
  if (!laid.some(({ spec }) => spec.site === 'vcpu.dead' || spec.site === 'domain.destroy')) return [];
  return takeAllDown(seed, stock).map((detail) => ({ invariant: 'reclaim', detail, holders: [], severity: 'broken' }));
}
