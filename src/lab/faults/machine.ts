/**
 * Faults at random in a small scenario's machine: each execution has a plan and a schedule of its own, is judged like a cell
 * of a sweep, and is often taken down to the last frame.
 *
 * Invariant: in the controlled build a function of the seed. A bug of the machine's, a run that does not end, a hypervisor
 * that is not whole afterwards are wrong under every design; an outcome is wrong when the scenario does not expect it.
 * Lock: none; this thread is the control plane's.
 */
import type { SiteName } from '../../fault/sites.js';
import type { FaultSpec } from '../../scenario/scenario.js';
import type { OutcomeName } from '../../scenario/schema.js';
import type { ExploreGuests } from '../explore/guests.js';
import type { ExplorePlan } from '../explore/machine.js';
import { mix } from '../fuzz/plan.js';
import { isGood } from '../inject/outcome.js';
import { formatFault } from '../inject/spec.js';
import { SmallRuns } from '../small/runs.js';
import { isEndless, PATIENCE, randomPlan, type Reached } from './plan.js';

/** What is known of the design: whether it is wrong, or breaks without faults; and what faults at a site may end as. */
export interface Excuses {
  readonly breaks: boolean;
  readonly sites: Readonly<Partial<Record<SiteName, readonly OutcomeName[]>>>;
}

/** One execution. */
export interface FaultRun {
  readonly seed: number;
  /** Its faults as `--fault` takes them. */
  readonly faults: readonly string[];
  readonly injected: Readonly<Partial<Record<SiteName, number>>>;
  readonly outcome: OutcomeName;
  readonly takenDown: boolean;
  /** What is not as expected; nothing when all is. */
  readonly wrong: readonly string[];
}

/** An occurrence that no run reaches: the rule looks, and nothing fails. */
const NEVER = 0xffffffff;
const WATCHED: readonly SiteName[] = ['vcpu.pause', 'vcpu.dead', 'domain.destroy'];
/** Of so many executions that ended well one is taken down. */
const TAKE_DOWN = 4;

export class FaultMachine {
  readonly #runs: SmallRuns;
  readonly #excuses: Excuses;
  readonly #reached: Reached;

  constructor(plan: ExplorePlan, guests: ExploreGuests, excuses: Excuses) {
    this.#excuses = excuses;
    this.#runs = new SmallRuns(plan, guests);
    this.#runs.normal();
    this.#reached = this.#runs.points(WATCHED.map((site) => ({ site, nth: NEVER }))).reached;
  }

  run(seed: number): FaultRun {
    const specs = randomPlan(seed, this.#reached);
    const { e, seen } = this.#runs.execute(specs, { seed, beside: mix(seed, 3) % 2 === 0 }, true);
    const injected: Partial<Record<SiteName, number>> = {};
    specs.forEach(({ site }, i) => {
      const hits = e.faults[i]?.hits ?? 0;
      if (hits > 0) injected[site] = (injected[site] ?? 0) + hits;
    });
    const wrong = [e.bug, e.hung].filter((text) => text !== '');
    const good = e.outcome === 'not exercised' || isGood(e.outcome);
    if (wrong.length === 0 && !good && !this.#excused(specs, injected, e.outcome)) wrong.push(...e.why);
    wrong.push(...seen.wrong);
    const takenDown = wrong.length === 0 && (!good || e.deaths.length > 0 || seed % TAKE_DOWN === 0);
    if (takenDown) wrong.push(...this.#runs.takeDown(seed));
    return { seed, faults: specs.map(formatFault), injected, outcome: e.outcome, takenDown, wrong };
  }

  close(): void {
    this.#runs.close();
  }

  /** Whether a fault that was injected is one that the design may end so under. */
  #excused(specs: readonly FaultSpec[], injected: FaultRun['injected'], outcome: OutcomeName): boolean {
    const { breaks, sites } = this.#excuses;
    if (breaks) return true;
    // Refused for good, a grant's page is quarantined for good, and the table that names it.
    const endless = specs.some((s) => isEndless(s) && (injected[s.site] ?? 0) > PATIENCE);
    if (endless && outcome === 'leaked') return true;
    const met = Object.keys(injected) as SiteName[];
    return met.some((site) => (sites[site] ?? []).includes(outcome));
  }
}
