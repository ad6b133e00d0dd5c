/**
 * Adds up what the vCPUs and the guests counted.
 *
 * Invariant: reads only; exact once the vCPUs have ended, a guess while they run.
 */
import { vcpu } from '../../machine/cpu-record.js';
import { actor, type Cpu } from '../../sync/actor.js';
import type { DomainWords, VcpuPlace } from './messages.js';
import type { Counters, Overlap } from './verdict.js';

const FIELDS = {
  hypercalls: vcpu.nHypercalls,
  continuations: vcpu.nContinuations,
  subcalls: vcpu.nSubcalls,
  pteWrites: vcpu.nPteWrites,
  flushes: vcpu.nFlushes,
  pageFaults: vcpu.nFaults,
  emulations: vcpu.nEmulations,
  grantMaps: vcpu.nGrantMaps,
  grantUnmaps: vcpu.nGrantUnmaps,
  meetings: vcpu.nMet,
} as const;

/** All counters by name: the vCPUs' own (of normal domains), then the guests'. */
export function countersOf(words: Int32Array, vcpus: readonly VcpuPlace[], domains: readonly DomainWords[]): Counters {
  const out: Record<string, number> = {};
  const sum = (name: string, address: number): void => {
    out[name] = (out[name] ?? 0) + (Atomics.load(words, address) >>> 0);
  };
  for (const [name, field] of Object.entries(FIELDS)) {
    out[name] = 0;
    for (const v of vcpus) if (v.cpuWord === undefined) sum(name, field(v.cpu as Cpu));
  }
  const beside = domains.some((d) => d.tallies !== undefined);
  for (const d of domains) {
    if (d.tallies === undefined) sum('rounds', d.rounds);
    if (beside && d.tallies === undefined) sum(`rounds.${d.domain}`, d.rounds);
    for (const [name, address] of Object.entries(d.counters)) sum(name, address);
    for (const [name, list] of Object.entries(d.tallies ?? {})) for (const address of list) sum(name, address);
  }
  return out;
}

export function overlapOf(words: Int32Array, vcpus: readonly VcpuPlace[]): Overlap {
  const normal = vcpus.filter((v) => v.cpuWord === undefined);
  const sum = (field: (c: Cpu) => number): number =>
    normal.reduce((n, v) => n + (Atomics.load(words, field(v.cpu as Cpu)) >>> 0), 0);
  return { hypercalls: sum(vcpu.nOverlaps), contendedLocks: sum(actor.contended) };
}
