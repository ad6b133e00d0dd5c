/** What came out of an episode, and the sum of several. */
import { PAGE_WORDS, type Mfn } from '../../abi/frames.js';
import { vcpu } from '../../machine/cpu-record.js';
import { countInfo, typeInfo } from '../../machine/frame.js';
import { FRAMES } from '../../machine/layout.js';
import { peek } from '../../sync/primitives.js';
import type { FuzzCounts, FuzzGuests } from './guests.js';
import { fuzzBoard, type FuzzMachine } from './machine.js';
import type { EpisodePlan } from './plan.js';
import type { FuzzKind } from './report.js';
import type { Verdict } from './verdict.js';

export interface EpisodeResult {
  readonly plan: EpisodePlan;
  /** Hypercalls that guests made, and those that met another vCPU inside the hypervisor. */
  readonly calls: number;
  readonly overlaps: number;
  readonly byKind: readonly FuzzKind[];
  /** Of what guests can see: every frame's words, its counts and type. Equal in both builds where one vCPU ran. */
  readonly digest: number;
  readonly wrong: readonly string[];
  readonly forgotten: boolean;
  /** Domains that were destroyed because a grant copy of theirs had no end. */
  readonly endless: number;
}

/** A number that depends on every word of machine memory and on every frame's count and type. */
export function digestOf(): number {
  let x = 0;
  for (let m = 0; m < FRAMES; m++) {
    x = Math.imul(x ^ peek(countInfo(m as Mfn)), 0x9e3779b1);
    x = Math.imul((x << 13) ^ (x >>> 19) ^ peek(typeInfo(m as Mfn)), 0x85ebca6b);
    for (let i = 0; i < PAGE_WORDS; i++) x = Math.imul(x ^ peek(m * PAGE_WORDS + i), 0x01000193) ^ (x >>> 15);
  }
  return x >>> 0;
}

export function episodeResult(
  plan: EpisodePlan,
  guests: FuzzGuests,
  m: FuzzMachine,
  digest: number,
  verdict: Verdict,
): EpisodeResult {
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
    digest,
    wrong: verdict.wrong,
    forgotten: verdict.forgotten,
    endless: peek(fuzzBoard.endless(m.board)),
  };
}
