/** What came out of an episode, and the sum of several. */
import { vcpu } from '../../machine/cpu-record.js';
import { peek } from '../../sync/primitives.js';
import type { FuzzCounts, FuzzGuests } from './guests.js';
import type { FuzzMachine } from './machine.js';
import type { EpisodePlan } from './plan.js';
import type { FuzzKind } from './report.js';
import type { Verdict } from './verdict.js';

export interface EpisodeResult {
  readonly plan: EpisodePlan;
  /** Hypercalls that guests made, and those that met another vCPU inside the hypervisor. */
  readonly calls: number;
  readonly overlaps: number;
  readonly byKind: readonly FuzzKind[];
  readonly wrong: readonly string[];
  readonly forgotten: boolean;
}

export function episodeResult(plan: EpisodePlan, guests: FuzzGuests, m: FuzzMachine, verdict: Verdict): EpisodeResult {
  const counts = m.vcpus.map((v) => guests.counts(v.record));
  const sum = (f: (c: FuzzCounts) => number): number => counts.reduce((n, c) => n + f(c), 0);
  return {
    plan,
    calls: sum((c) => c.calls),
    overlaps: m.vcpus.reduce((n, v) => n + peek(vcpu.nOverlaps(v.cpu)), 0),
    byKind: guests.kinds.map((name, k) => ({
      name,
      steps: sum((c) => c.kinds[k] ?? 0),
      effects: sum((c) => c.effects[k] ?? 0),
    })),
    wrong: verdict.wrong,
    forgotten: verdict.forgotten,
  };
}
