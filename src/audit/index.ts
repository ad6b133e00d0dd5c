/**
 * The audit of a still machine: every invariant that holds at quiescence, each against what really holds.
 *
 * Invariant: reads only; no vCPU runs, no hypercall is unfinished.
 * Source: reference xen-pv-memory.md, section 6.
 */
import type { GuestReport } from '../abi/guest.js';
import { checkCounts } from './counts.js';
import { checkGrants } from './grants.js';
import { checkFreeFrames, checkTranslations } from './translations.js';
import type { Violation } from './violation.js';

export type { Violation } from './violation.js';

/** Invariants that the machine itself answers; I15 to I18 come with the guests' reports. */
export const MACHINE_INVARIANTS = Object.freeze([
  'I1',
  'I2',
  'I3',
  'I4',
  'I5',
  'I6',
  'I7',
  'I8',
  'I9',
  'I10',
  'I11',
  'I13',
  'I14',
] as const);

/** Violations of the named invariants (all when none is named), guests' findings included. */
export function auditMachine(checks: readonly string[], guests: readonly GuestReport[] = []): Violation[] {
  const wanted = new Set(checks);
  const all = [
    ...checkCounts(),
    ...checkTranslations(),
    ...checkFreeFrames(),
    ...checkGrants(guests),
    ...guests.flatMap((g) => g.violations),
  ];
  return wanted.size === 0 ? all : all.filter((v) => wanted.has(v.invariant));
}
