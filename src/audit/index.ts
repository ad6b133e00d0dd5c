/**
 * The audit of a still machine: I1 to I14, which the machine itself can answer, each against what really holds; I15 to I18
 * come with the guests' reports.
 *
 * Invariant: reads only; no vCPU runs. Made for quiescence; a hypercall that waits to be continued is accounted for too.
 * Source: reference xen-pv-memory.md, section 6; DESIGN decision 8.
 */
import type { GuestReport } from '../abi/guest.js';
import { checkCounts } from './counts.js';
import { checkFreed, checkFreedEntries } from './freed.js';
import { checkMappings } from './mappings.js';
import { checkMaptrack } from './maptrack.js';
import { checkPins } from './pins.js';
import { checkLocks, checkTotals } from './shape.js';
import { takeStock } from './stock.js';
import { checkTranslations } from './translations.js';
import type { Violation } from './violation.js';

export type { Violation } from './violation.js';

/** Violations of the named invariants (all when none is named), guests' findings included. */
export function auditMachine(checks: readonly string[] = [], guests: readonly GuestReport[] = []): Violation[] {
  const stock = takeStock();
  const all = [
    ...checkCounts(stock, guests),
    ...checkLocks(stock),
    ...checkTotals(stock),
    ...checkPins(stock),
    ...checkMappings(stock, guests),
    ...checkTranslations(stock),
    ...checkFreed(stock),
    ...checkMaptrack(stock),
    ...guests.flatMap((g) => g.violations),
  ];
  const wanted = new Set(checks);
  return wanted.size === 0 ? all : all.filter((v) => wanted.has(v.invariant));
}

/** What no guest can break for itself: a grant bit it overwrote, a handle it lost, a frame it gave away while it was pinned. */
const GUESTS_OWN: ReadonlySet<string> = new Set(['I9', 'I12']);

/** Violations of the hypervisor's own invariants over a machine whose guests did what they liked. */
export function auditHypervisor(): Violation[] {
  const stock = takeStock();
  return [
    ...checkCounts(stock, []),
    ...checkLocks(stock),
    ...checkTotals(stock),
    ...checkPins(stock),
    ...checkTranslations(stock),
    ...checkFreedEntries(stock),
    ...checkMaptrack(stock),
  ].filter((v) => !GUESTS_OWN.has(v.invariant));
}
