/**
 * The long share of a campaign of faults: whole guests on threads, at work for many rounds while sites fail at random.
 *
 * Invariant: a run is one verdict; one that is not clean is not as expected. The rounds, not the clock, say how long.
 * Lock: none; the machine's threads do everything.
 */
import type { Catalog } from '../../abi/catalog.js';
import { ABOUT } from '../../fault/about.js';
import { SITES, type SiteName } from '../../fault/sites.js';
import type { FaultSpec, Scenario } from '../../scenario/scenario.js';
import { mix } from '../fuzz/plan.js';
import { formatFault } from '../inject/spec.js';
import { runScenario, type DesignReport } from '../run/scenario-run.js';
import { addRun, NO_FAULTS, type FaultCounts } from './thread.js';

/** Sites that a whole kernel meets, and how likely one fails at most. */
const LIKELY: Readonly<Partial<Record<SiteName, number>>> = {
  'gnttab.unmap': 0.15,
  'gnttab.map': 0.2,
  'gnttab.map.install': 0.2,
  'mmuext.unpin': 0.05,
  'guest.page.alloc': 0.02,
  'guest.record.alloc': 0.05,
  'page.alloc': 0.2,
  memory_op: 0.2,
  'flush.late': 0.5,
  'event.lost': 0.05,
  'event.duplicated': 0.5,
  'event.late': 0.5,
  'hypercall.preempt': 0.6,
  'vcpu.pause': 0.008,
};
const ROUNDS = 60;
/** Sites whose failures would keep the workloads themselves from being started. */
const LATER: Readonly<Partial<Record<SiteName, number>>> = { 'guest.page.alloc': 2_000, 'guest.record.alloc': 2_000 };

/** Of the run with this seed: each site with a chance of its own, or not at all. */
export function longPlan(seed: number): FaultSpec[] {
  return Object.entries(LIKELY).flatMap(([name, most], i) => {
    const site = name as SiteName;
    if (mix(seed, 50 + i) % 4 === 0) return [];
    const { kind, answers } = ABOUT[site];
    const named = kind === 'status' || kind === 'errno';
    const status = named ? { status: answers[mix(seed, 80 + i) % answers.length] as string } : {};
    const probability = Math.round(most * (1 + (mix(seed, 110 + i) % 100)) * 1e4) / 1e6;
    const after = LATER[site];
    return [{ site, ...status, probability, ...(after === undefined ? {} : { after }) }];
  });
}

export interface LongOptions {
  readonly catalog: Catalog;
  readonly design: string;
  readonly seed: number;
  readonly faults: number;
  readonly stop: AbortSignal;
  readonly progress: (injected: number) => void;
}

/** Runs until enough faults were injected, a run is not as expected, or it is stopped. */
export async function longRuns(s: Scenario, o: LongOptions): Promise<FaultCounts> {
  let sum = NO_FAULTS;
  for (let i = 0; sum.injected < o.faults && sum.unexpected === 0 && !o.stop.aborted; i++) {
    const seed = (o.seed + i) >>> 0;
    const faults = longPlan(seed);
    const own = { designs: [o.design], seed, faults, require: {}, extent: { kind: 'rounds', rounds: ROUNDS } as const };
    const report = await runScenario({ ...s, ...own }, { catalog: o.catalog, stop: o.stop });
    const [d] = report.designs;
    if (d === undefined) break;
    sum = addRun(sum, asRun(s, seed, faults, d));
    o.progress(sum.injected);
  }
  return sum;
}

/** A run that did not meet every fault of its plan is as good as one that did. */
const FINE: ReadonlySet<string> = new Set(['clean', 'interrupted', 'not exercised']);

function asRun(s: Scenario, seed: number, faults: readonly FaultSpec[], d: DesignReport): Parameters<typeof addRun>[1] {
  const injected = Object.fromEntries(
    SITES.map((site) => [site, d.counters[`injected ${site}`] ?? 0] as const).filter(([, n]) => n > 0),
  );
  const tokens = faults.map(formatFault);
  const again = `xenolith run guests/scenarios/${s.name}.yaml -d ${d.design} --rounds ${String(ROUNDS)} --seed ${String(seed)} ${tokens
    .map((t) => `--fault ${t}`)
    .join(' ')}`;
  const said = d.violations.map((v) => [`${v.invariant} ${v.detail}`, ...v.holders].join('; '));
  // Held by a named holder who will release it: the run ended before he did.
  const awaited = d.verdict === 'broken' && d.violations.every((v) => v.severity === 'degraded');
  const wrong =
    FINE.has(d.verdict) || awaited
      ? []
      : [`${d.verdict}; again, as far as threads repeat themselves: ${again}`, ...said];
  const met = Object.keys(injected).length > 0 && d.overlap.hypercalls > 0;
  const outcome = wrong.length > 0 ? 'corrupted' : awaited ? 'degraded' : met ? 'clean' : 'not exercised';
  return { seed, faults: tokens, injected, outcome, takenDown: false, wrong };
}
