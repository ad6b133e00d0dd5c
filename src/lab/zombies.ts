/**
 * Destroyed domains that are still there, and whether somebody refers to a frame of theirs: a zombie lives exactly as long
 * as that.
 *
 * Invariant: reads only, over a machine in which no hypercall is under way; who holds is recomputed by the ledger and never
 * read off a count.
 * Lock: none. Source: DESIGN decision 8; domain_relinquish_resources, put_domain, xen/common/domain.c.
 */
import { DOMID_FIRST_RESERVED } from '../abi/frames.js';
import { visitHolders } from '../audit/ledger.js';
import { takeStock } from '../audit/stock.js';
import { frameLabel, ownerLabel, ownerOfFrame } from '../audit/view.js';
import { domain, DOMDYING_dead, domainSlot, domainSlots } from '../hypervisor/domain.js';
import { countInfo, PGC_xen_heap } from '../machine/frame.js';
import { peek } from '../sync/primitives.js';

/** A destroyed domain that can still be found. */
export interface Zombie {
  readonly domid: number;
  /** Who else refers to its frames. */
  readonly holders: readonly string[];
}

/** Whether there is any: cheap. */
export function anyZombie(): boolean {
  for (let i = 0; i < domainSlots; i++) {
    const d = domainSlot(i);
    if (peek(domain.key(d)) !== 0 && peek(domain.dying(d)) === DOMDYING_dead) return true;
  }
  return false;
}

/** Holders named of one zombie. */
const NAMED = 8;

/** Every zombie with its holders; and what refers to a frame whose domain is gone. */
export function zombies(): { readonly found: readonly Zombie[]; readonly orphans: readonly string[] } {
  const stock = takeStock();
  const dead = stock.domains.filter((d) => peek(domain.dying(d.d)) === DOMDYING_dead);
  const holders = new Map<number, string[]>(dead.map((d) => [d.domid, []]));
  const orphans: string[] = [];
  visitHolders(stock, (h) => {
    const owner = ownerOfFrame(h.mfn);
    if (owner >= DOMID_FIRST_RESERVED) return;
    // What Xen shares with a domain goes when its record does, a little after it can be found no more.
    const shared = (peek(countInfo(h.mfn)) & PGC_xen_heap) !== 0;
    if (!stock.byId.has(owner) && !shared)
      orphans.push(`${h.who()} refers to ${frameLabel(h.mfn)} of d${String(owner)}, which is gone`);
    const own = holders.get(owner);
    if (own === undefined || own.length >= NAMED || isOwn(h.who(), owner)) return;
    own.push(h.who());
  });
  return { found: dead.map((d) => ({ domid: d.domid, holders: holders.get(d.domid) ?? [] })), orphans };
}

/** What a domain holds of itself keeps nobody alive. */
const isOwn = (who: string, owner: number): boolean =>
  [`${ownerLabel(owner)} `, `allocation of ${ownerLabel(owner)}`, 'shared by xen'].some((own) => who.startsWith(own));

/** Sentences about zombies that nobody keeps, and about references that outlived a domain. */
export function zombieSentences(when: string): string[] {
  const { found, orphans } = zombies();
  const alone = found.filter((z) => z.holders.length === 0);
  return [
    ...alone.map((z) => `${when}: d${String(z.domid)} is a zombie though nobody refers to a frame of its`),
    ...orphans.map((o) => `${when}: ${o}`),
  ];
}
