/**
 * What must hold after an episode, whatever its guests did: the hypervisor's own invariants; then, all domains being
 * destroyed one after the other, again, and in the end every frame is back.
 *
 * What a guest can break for itself (a grant bit it overwrote, a handle it lost) is not looked at.
 */
import { ERESTART } from '../../abi/errno.js';
import { auditHypervisor } from '../../audit/index.js';
import {
  domain,
  domainSlot,
  domainSlots,
  domidOf,
  vcpuCountOf,
  vcpuOf,
  type DomainRef,
} from '../../hypervisor/domain.js';
import { destroyDomain } from '../../hypervisor/domctl.js';
import { globals } from '../../hypervisor/globals.js';
import { reapDomains } from '../../hypervisor/reap.js';
import type { Mfn } from '../../abi/frames.js';
import { countInfo, ownerWord, PGC_state, PGC_state_free, typeInfo } from '../../machine/frame.js';
import { vcpu } from '../../machine/cpu-record.js';
import { actor, CONTROL, MODE_OFF } from '../../sync/actor.js';
import { peek, poke, run } from '../../sync/primitives.js';
import { endFaults, type FuzzMachine } from './machine.js';
import { mix, type EpisodePlan } from './plan.js';

/** Calls a destruction may need: each does some work ([I19]). */
const MAX_ROUNDS = 200_000;

export interface Verdict {
  /** Sentences; none when all is well. */
  readonly wrong: readonly string[];
  /** Xen itself forgot a table, as the real one does: counts say nothing any more. */
  readonly forgotten: boolean;
}

const liveDomains = (): DomainRef[] =>
  Array.from({ length: domainSlots }, (_, i) => domainSlot(i)).filter((d) => peek(domain.key(d)) !== 0);

const forgot = (): boolean =>
  liveDomains().some((d) => vcpusOf(d).some((v) => peek(vcpu.nLostTables(v)) !== 0)) ||
  peek(vcpu.nLostTables(CONTROL)) !== 0;
const vcpusOf = (d: DomainRef) => Array.from({ length: vcpuCountOf(d) }, (_, i) => vcpuOf(d, i));

const sentences = (when: string): string[] =>
  auditHypervisor().map(
    (v) => `${when}: ${v.invariant} ${v.detail}${v.holders.length > 0 ? `; held by ${v.holders.join(', ')}` : ''}`,
  );

/** Audits the machine, takes it down, and looks whether anything is left; what throws on the way is as wrong. */
export function judge(plan: EpisodePlan, m: FuzzMachine): Verdict {
  try {
    return takeDown(plan, m);
  } catch (e) {
    return { wrong: [`judging it threw ${textOf(e)}`], forgotten: false };
  }
}

export const textOf = (e: unknown): string => (e instanceof Error ? (e.stack ?? e.message) : String(e));

function takeDown(plan: EpisodePlan, m: FuzzMachine): Verdict {
  endFaults(plan);
  let forgotten = forgot();
  const wrong = forgotten ? [] : sentences('after the last call');
  const ds = liveDomains().sort((a, b) => mix(plan.seed, 1000 + domidOf(a)) - mix(plan.seed, 1000 + domidOf(b)));
  for (const d of ds) {
    if (wrong.length > 0) break;
    const who = `d${String(domidOf(d))}`;
    for (const v of vcpusOf(d)) poke(actor.mode(v), MODE_OFF);
    const rc = destroy(d);
    forgotten ||= forgot();
    if (rc !== 0) wrong.push(`destruction of ${who} answered ${String(rc)}`);
    else if (!forgotten) wrong.push(...sentences(`after the destruction of ${who}`));
  }
  if (wrong.length === 0 && !forgotten) wrong.push(...leftovers(m));
  return { wrong, forgotten };
}

function destroy(d: DomainRef): number {
  for (let i = 0; i < MAX_ROUNDS; i++) {
    poke(vcpu.quantumLeft(CONTROL), peek(globals.quantum));
    const rc = run(() => destroyDomain(CONTROL, d));
    if (rc !== -ERESTART) return rc;
  }
  return -ERESTART;
}

function leftovers(m: FuzzMachine): string[] {
  // A vCPU that was parked when its domain vanished would keep the domain's record for ever.
  for (const v of m.vcpus) poke(actor.mode(v.cpu), MODE_OFF);
  run(() => reapDomains(CONTROL));
  const out = liveDomains().map((d) => `d${String(domidOf(d))} is a zombie though every domain was destroyed`);
  const free = peek(globals.freeFrames);
  if (free !== m.freeFrames) {
    out.push(`${String(m.freeFrames - free)} frames are not free though every domain is gone`, ...lostFrames(m));
  }
  return out;
}

/** What is known of frames that the heap had once and never got back. */
function lostFrames(m: FuzzMachine): string[] {
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
