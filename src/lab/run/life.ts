/**
 * What became of a domain, and what its kernel warned of: findings whatever the checks.
 *
 * Invariant: reads only, over a still machine. Lock: none.
 */
import type { Violation } from '../../abi/guest.js';
import { CRASH_SITES, domain, DOMDYING_alive, findDomain } from '../../hypervisor/domain.js';
import { peek, run } from '../../sync/primitives.js';
import type { DomainWords } from './messages.js';

/** '' for a domain that lives, else what became of it. */
export function lifeOf(domid: number): string {
  const d = run(() => findDomain(domid));
  if (d === 0 || peek(domain.dying(d)) !== DOMDYING_alive) return 'destroyed';
  const site = peek(domain.crashSite(d));
  return peek(domain.shuttingDown(d)) === 0 ? '' : `crashed: ${CRASH_SITES[site] ?? 'site unknown'}`;
}

/** Neither destroyed nor crashed: its books can be asked for. */
export const isWhole = (d: DomainWords): boolean => lifeOf(d.domid) === '';

/** A domain that the hypervisor crashed is a finding whatever the checks. */
export function crash(d: DomainWords): Violation[] {
  const life = lifeOf(d.domid);
  if (!life.startsWith('crashed')) return [];
  return [{ invariant: 'crash', detail: `${d.domain} (d${String(d.domid)}) ${life}`, holders: [], severity: 'broken' }];
}

const WARNING = 'warning.';
/** Refused maps are no fault of the guest's when a granter goes away. */
const HARMLESS = new Set(['warning.grantMap']);

/** What a guest's kernel warned of. */
export function warnings(d: DomainWords): Violation[] {
  return Object.entries(d.counters).flatMap(([name, address]) => {
    const n = name.startsWith(WARNING) && !HARMLESS.has(name) ? peek(address) : 0;
    if (n === 0) return [];
    const detail = `the kernel of ${d.domain} warned ${String(n)} times: ${name.slice(WARNING.length)}`;
    return [{ invariant: 'warning', detail, holders: [], severity: 'broken' } as const];
  });
}
