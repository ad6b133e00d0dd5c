/**
 * The end of a run beside hostile domains: audited while they are still there, then destroyed; in the end everything is
 * taken down, and every frame must be back.
 *
 * Invariant: what a guest can only break for itself is not looked at as long as the hostile domains are there; afterwards
 * the normal ones have to be as sound as without them. A hostile domain of which Xen forgot a table keeps its frames, as it
 * would with the real one: it is left out by its number, and its frames are counted as lost to it.
 * Lock: none; no vCPU runs.
 */
import type { Mfn } from '../../abi/frames.js';
import type { Violation } from '../../abi/guest.js';
import { auditHypervisor } from '../../audit/index.js';
import { takeStock } from '../../audit/stock.js';
import { domidOf } from '../../hypervisor/domain.js';
import { reapDomains } from '../../hypervisor/reap.js';
import { countInfo, ownerOf, ownerWord, PGC_state, PGC_state_free, typeInfo } from '../../machine/frame.js';
import { CONTROL } from '../../sync/actor.js';
import { peek, run } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { destroyWhole, destructionOrder, liveDomains, type Stock } from '../reclaim.js';

export interface BesideEnd {
  readonly found: readonly Violation[];
  /** Those of `all` that no forgotten table explains. */
  readonly besides: (all: readonly Violation[]) => readonly Violation[];
  /** Takes everything down; nothing is looked at afterwards. */
  readonly leftOver: () => readonly Violation[];
}

interface Ended {
  endHostile(): Steps<void>;
  forgetful(): readonly number[];
}

const NOTHING: BesideEnd = { found: [], besides: (all) => all, leftOver: () => [] };

/** Audits, ends the hostile domains, and looks whether they are gone; `domains` are all of the scenario's. */
export function besideHostile(
  guests: Ended,
  domains: readonly { readonly domid: number; readonly tallies?: unknown }[],
  seed: number,
  stock: Stock,
): BesideEnd {
  if (domains.every((d) => d.tallies === undefined)) return NOTHING;
  const excused = guests.forgetful();
  const besides = (all: readonly Violation[]): readonly Violation[] => all.filter((v) => !isOf(v, excused));
  const found = auditHypervisor().map((v) => ({ ...v, detail: `beside the hostile guest: ${v.detail}` }));
  run(() => guests.endHostile());
  run(() => reapDomains(CONTROL));
  const normal = domains.filter((d) => d.tallies === undefined).map((d) => d.domid);
  return {
    found: besides([...found, ...zombies(normal)]),
    besides,
    leftOver: () => takenDown(seed, stock, excused, besides),
  };
}

const reclaim = (detail: string): Violation => ({ invariant: 'reclaim', detail, holders: [], severity: 'broken' });

const isOf = (v: Violation, domids: readonly number[]): boolean =>
  domids.some((id) => new RegExp(`\\bd${String(id)}\\b`).test(v.detail));

/** Hostile domains that are still there though nobody of the `normal` ones has a handle of theirs (which is a finding itself). */
function zombies(normal: readonly number[]): Violation[] {
  const held = new Set(takeStock().handles.map((h) => h.granterId));
  return liveDomains()
    .map(domidOf)
    .filter((id) => !normal.includes(id) && !held.has(id))
    .map((id) => reclaim(`d${String(id)}, a hostile domain, is still a zombie`));
}

function takenDown(
  seed: number,
  stock: Stock,
  excused: readonly number[],
  besides: BesideEnd['besides'],
): readonly Violation[] {
  for (const d of destructionOrder(seed)) {
    const who = `d${String(domidOf(d))}`;
    const rc = destroyWhole(d);
    if (rc !== 0) return [reclaim(`destruction of ${who} answered ${String(rc)}`)];
    const wrong = besides(auditHypervisor());
    if (wrong.length > 0) return wrong.map((v) => ({ ...v, detail: `after the destruction of ${who}: ${v.detail}` }));
  }
  run(() => reapDomains(CONTROL));
  const left = liveDomains();
  const kept = left.filter((d) => excused.includes(domidOf(d)));
  const still = left
    .filter((d) => !excused.includes(domidOf(d)))
    .map((d) => reclaim(`d${String(domidOf(d))} is a zombie in the end`));
  return [...still, ...lostFrames(stock, kept.map(domidOf))];
}

/** Frames that are neither free nor a forgetful zombie's, its own or Xen's that were shared with it. */
function lostFrames(stock: Stock, kept: readonly number[]): Violation[] {
  const lost: string[] = [];
  for (let m = stock.firstFrame; m < stock.firstFrame + stock.freeFrames; m++) {
    const count = peek(countInfo(m as Mfn));
    const owner = ownerOf(peek(ownerWord(m as Mfn)));
    if ((count & PGC_state) === PGC_state_free || kept.includes(owner)) continue;
    lost.push(`mfn ${hex(m)}: count ${hex(count)}, type ${hex(peek(typeInfo(m as Mfn)))}, owner ${hex(owner)}`);
  }
  const n = lost.length;
  return n === 0
    ? []
    : [reclaim([`${String(n)} frames are nobody's though every domain is gone`, ...lost.slice(0, 8)].join('; '))];
}

const hex = (v: number): string => `0x${(v >>> 0).toString(16)}`;
