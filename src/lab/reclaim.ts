/**
 * Taking a still machine down: every domain destroyed, one after the other, the hypervisor's invariants audited after each,
 * and every frame back in the end.
 *
 * Invariant: what is left of a domain afterwards is a sentence; a zombie is none as long as somebody else refers to a frame
 * of its. While there is a zombie, whoever is destroyed next is destroyed in the smallest parts, with a look after each.
 * Lock: none; no vCPU runs.
 */
import { ERESTART } from '../abi/errno.js';
import type { Mfn } from '../abi/frames.js';
import { auditHypervisor } from '../audit/index.js';
import { domain, domainSlot, domainSlots, domidOf, vcpuCountOf, vcpuOf, type DomainRef } from '../hypervisor/domain.js';
import { destroyDomain } from '../hypervisor/domctl.js';
import { globals } from '../hypervisor/globals.js';
import { reapDomains } from '../hypervisor/reap.js';
import { countInfo, ownerWord, PGC_state, PGC_state_free, typeInfo } from '../machine/frame.js';
import { vcpu } from '../machine/cpu-record.js';
import { actor, CONTROL, MODE_OFF, type Cpu } from '../sync/actor.js';
import { peek, poke, run } from '../sync/primitives.js';
import { mix } from './fuzz/plan.js';
import { anyZombie, zombieSentences } from './zombies.js';

/** Calls a destruction may need: each does some work ([I19]). */
const MAX_ROUNDS = 200_000;

/** What a machine had before its first domain: frames free, the first of them; and its vCPUs. */
export interface Stock {
  readonly cpus: readonly Cpu[];
  readonly freeFrames: number;
  readonly firstFrame: number;
}

export const liveDomains = (): DomainRef[] =>
  Array.from({ length: domainSlots }, (_, i) => domainSlot(i)).filter((d) => peek(domain.key(d)) !== 0);

export const vcpusOf = (d: DomainRef): Cpu[] => Array.from({ length: vcpuCountOf(d) }, (_, i) => vcpuOf(d, i));

/** What the audit of the hypervisor's own invariants finds. */
export const sentences = (when: string): string[] =>
  auditHypervisor().map(
    (v) => `${when}: ${v.invariant} ${v.detail}${v.holders.length > 0 ? `; held by ${v.holders.join(', ')}` : ''}`,
  );

/** The domains there are, in an order that the seed decides. */
export const destructionOrder = (seed: number): DomainRef[] =>
  liveDomains().sort((a, b) => mix(seed, 1000 + domidOf(a)) - mix(seed, 1000 + domidOf(b)));

/** Destroys `d`, in as many calls as it takes, `after` asked for what is wrong between them; answers the last one's. */
export function destroyWhole(d: DomainRef, after: () => readonly string[] = () => []): number {
  for (const v of vcpusOf(d)) poke(actor.mode(v), MODE_OFF);
  for (let i = 0; i < MAX_ROUNDS; i++) {
    poke(vcpu.quantumLeft(CONTROL), peek(globals.quantum));
    const rc = run(() => destroyDomain(CONTROL, d));
    if (rc !== -ERESTART || after().length > 0) return rc;
  }
  return -ERESTART;
}

/** Parts of one destruction after which zombies are looked at; the rest of them goes in one. */
const LOOKS = 1_000;

/** Destroys `d` piece by piece: a zombie vanishes with the last reference, not before and not later. */
function destroyInParts(d: DomainRef, who: string, seen: () => void): { rc: number; wrong: readonly string[] } {
  const quantum = peek(globals.quantum);
  let wrong: readonly string[] = [];
  let looks = 0;
  poke(globals.quantum, 1);
  const rc = destroyWhole(d, () => {
    if (++looks > LOOKS || !anyZombie()) poke(globals.quantum, quantum);
    else {
      seen();
      wrong = zombieSentences(`while ${who} was destroyed, after part ${String(looks)}`);
    }
    return wrong;
  });
  poke(globals.quantum, quantum);
  return { rc, wrong };
}

/**
 * Destroys every domain with an audit before and after each; sentences about what is wrong, or still there in the end.
 * `seen` hears of each look at a zombie.
 */
export function takeAllDown(seed: number, stock: Stock, seen: () => void = () => undefined): string[] {
  const wrong = sentences('before the destruction');
  for (const d of destructionOrder(seed)) {
    if (wrong.length > 0) return wrong;
    const who = `d${String(domidOf(d))}`;
    const parts = anyZombie() ? destroyInParts(d, who, seen) : { rc: destroyWhole(d), wrong: [] };
    const when = `after the destruction of ${who}`;
    wrong.push(...parts.wrong);
    if (wrong.length > 0) continue;
    if (parts.rc !== 0) wrong.push(`destruction of ${who} answered ${String(parts.rc)}`);
    else wrong.push(...sentences(when), ...zombieSentences(when));
  }
  return wrong.length > 0 ? wrong : leftovers(stock);
}

/** Every domain being destroyed: those that are still there, and frames that are not free. */
export function leftovers(m: Stock): string[] {
  // A vCPU that was parked when its domain vanished would keep the domain's record for ever.
  for (const v of m.cpus) poke(actor.mode(v), MODE_OFF);
  run(() => reapDomains(CONTROL));
  const out = liveDomains().map((d) => `d${String(domidOf(d))} is a zombie though every domain was destroyed`);
  const free = peek(globals.freeFrames);
  if (free !== m.freeFrames) {
    out.push(`${String(m.freeFrames - free)} frames are not free though every domain is gone`, ...lostFrames(m));
  }
  return out;
}

/** What is known of frames that the heap had once and never got back. */
function lostFrames(m: Stock): string[] {
  const hex = (v: number): string => `0x${(v >>> 0).toString(16)}`;
  const lost: string[] = [];
  for (let mfn = m.firstFrame; mfn < m.firstFrame + m.freeFrames; mfn++) {
    const count = peek(countInfo(mfn as Mfn));
    if ((count & PGC_state) === PGC_state_free) continue;
    const owner = peek(ownerWord(mfn as Mfn));
    lost.push(`mfn ${hex(mfn)}: count ${hex(count)}, type ${hex(peek(typeInfo(mfn as Mfn)))}, owner ${hex(owner)}`);
  }
  return lost;
}
