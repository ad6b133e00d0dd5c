/**
 * The pages of a machine's guests at rest: where they are, so that what faults lost can be told from what is only in use.
 *
 * Invariant: reads only. Lock: none; everybody stands still.
 */
import type { GuestReport } from '../../abi/guest.js';
import { domain, findDomain } from '../../hypervisor/domain.js';
import { peek, run } from '../../sync/primitives.js';
import type { PageStock } from '../inject/outcome.js';
import { isWhole } from '../run/life.js';
import type { ExploreGuests } from './guests.js';
import type { ExploreMachine } from './machine.js';

/** Of the domains that are whole. */
export function stockOf(machine: ExploreMachine, reports: readonly GuestReport[]): PageStock[] {
  return reports.flatMap((r) => {
    const name = machine.domains.find((d) => d.built.words.domid === r.domid)?.spec.name ?? '';
    const d = run(() => findDomain(r.domid));
    if (r.stock === undefined || d === 0) return [];
    const { framed, ...stock } = r.stock;
    return [{ domain: name, ...stock, unknown: peek(domain.totPages(d)) - framed }];
  });
}

export function reportsOf(machine: ExploreMachine, guests: ExploreGuests): readonly GuestReport[] {
  const whole = machine.domains.map((d) => d.built.words).filter(isWhole);
  return guests.reports(whole.map((w) => w.domid));
}
