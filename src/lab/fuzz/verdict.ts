/**
 * What must hold after an episode, whatever its guests did: the hypervisor's own invariants; then, all domains being
 * destroyed one after the other, again, and in the end every frame is back.
 *
 * What a guest can break for itself (a grant bit it overwrote, a handle it lost) is not looked at.
 */
import { domidOf } from '../../hypervisor/domain.js';
import { vcpu } from '../../machine/cpu-record.js';
import { CONTROL } from '../../sync/actor.js';
import { peek } from '../../sync/primitives.js';
import { destroyWhole, destructionOrder, leftovers, liveDomains, sentences, vcpusOf } from '../reclaim.js';
import { endFaults, type FuzzMachine } from './machine.js';
import type { EpisodePlan } from './plan.js';

export interface Verdict {
  /** Sentences; none when all is well. */
  readonly wrong: readonly string[];
  /** Xen itself forgot a table, as the real one does: counts say nothing any more. */
  readonly forgotten: boolean;
}

const forgot = (): boolean =>
  liveDomains().some((d) => vcpusOf(d).some((v) => peek(vcpu.nLostTables(v)) !== 0)) ||
  peek(vcpu.nLostTables(CONTROL)) !== 0;

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
  for (const d of destructionOrder(plan.seed)) {
    if (wrong.length > 0) break;
    const who = `d${String(domidOf(d))}`;
    const rc = destroyWhole(d);
    forgotten ||= forgot();
    if (rc !== 0) wrong.push(`destruction of ${who} answered ${String(rc)}`);
    else if (!forgotten) wrong.push(...sentences(`after the destruction of ${who}`));
  }
  if (wrong.length === 0 && !forgotten) {
    const cpus = m.vcpus.map((v) => v.cpu);
    wrong.push(...leftovers({ cpus, freeFrames: m.freeFrames, firstFrame: m.firstFrame }));
  }
  return { wrong, forgotten };
}
