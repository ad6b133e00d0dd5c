/**
 * What one end of a process made its domain and the hypervisor do, by counters.
 *
 * Invariant: reads only. Of the controlled build it is exact; in the parallel build `contended` depends on timing.
 */
import { words } from '../../ops/memory.js';
import { actor, type Cpu } from '../../sync/actor.js';
import { countersOf } from '../run/counters.js';
import type { BenchStart, Counted } from './messages.js';

/** Events that are told, with what they mean; in the order of tables. */
export const EVENTS = {
  hypercalls: 'hypercalls',
  subcalls: 'entries of multicalls',
  grantUnmaps: 'grant unmap operations',
  emulations: 'stores to page tables that trapped and were emulated',
  pteWrites: 'page-table entries written by Xen',
  flushes: 'TLB flushes of the hypervisor',
  ipis: 'interrupts to other vCPUs of the kernel',
  zaps: 'entries cleared by the kernel itself',
} as const;
export type EventName = keyof typeof EVENTS;
export const EVENT_NAMES = Object.keys(EVENTS) as EventName[];

/** The counters of EVENTS now. */
export function tally(start: BenchStart): Counted {
  const all = countersOf(words, start.places, [start.words]);
  return Object.fromEntries(EVENT_NAMES.map((name) => [name, all[name] ?? 0]));
}

export const difference = (after: Counted, before: Counted): Counted =>
  Object.fromEntries(Object.entries(after).map(([name, n]) => [name, n - (before[name] ?? 0)]));

/** Grant mappings that were made and not taken away again. */
export function mappings(start: BenchStart): number {
  const all = countersOf(words, start.places, [start.words]);
  return (all['grantMaps'] ?? 0) - (all['grantUnmaps'] ?? 0);
}

export const contended = (start: BenchStart): number =>
  start.places.reduce((n, p) => n + (words[actor.contended(p.cpu as Cpu)] ?? 0), 0);
