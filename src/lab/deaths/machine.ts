/**
 * Deaths in a small scenario's machine: a vCPU, or a domain with all of its vCPUs, dies at a random point of a random
 * schedule; the control plane reclaims it while the others go on, or when they are done; then everything is taken down.
 *
 * Invariant: in the controlled build a death is a function of its seed; on threads the seed decides where something dies,
 * and the threads what the others do meanwhile.
 * Lock: none; this thread is the control plane's.
 * Source: DESIGN decision 9.
 */
import { BUILD } from '../../sync/primitives.js';
import type { FaultSpec } from '../../scenario/scenario.js';
import type { ExploreGuests } from '../explore/guests.js';
import type { ExplorePlan } from '../explore/machine.js';
import { mix } from '../fuzz/plan.js';
import type { Execution } from '../inject/machine.js';
import { isGood } from '../inject/outcome.js';
import { SmallRuns, type How } from '../small/runs.js';

/** How something dies. */
export const DEATH_SITES = ['vcpu.dead', 'domain.destroy'] as const;
export type DeathSite = (typeof DEATH_SITES)[number];

/** An occurrence that no run reaches: the rule counts, and nothing dies. */
const NEVER = 0xffffffff;
const build: string = BUILD;

export interface Death {
  readonly seed: number;
  readonly site: DeathSite;
  /** Whether anything died: a schedule may be over before the occurrence that the seed chose. */
  readonly happened: boolean;
  /** A dead vCPU held locks of its guest. */
  readonly lockHeld: boolean;
  /** The control plane reclaimed while the others ran. */
  readonly beside: boolean;
  /** Looks at which a destroyed domain was still there, for somebody referred to its memory. */
  readonly zombies: number;
  /** What is wrong: with the survivors, or with what was reclaimed. */
  readonly wrong: readonly string[];
}

interface Planned {
  readonly specs: readonly FaultSpec[];
  readonly how: How;
}

export class DeathMachine {
  readonly #runs: SmallRuns;
  readonly #strict: boolean;
  readonly #domids: readonly number[];
  /** Occurrences of each site in a run in which nothing dies. */
  readonly #points: Readonly<Record<DeathSite, number>>;

  /** `strict`: the design copes without deaths, so its survivors must be well after one. */
  constructor(plan: ExplorePlan, guests: ExploreGuests, strict: boolean) {
    this.#strict = strict;
    this.#runs = new SmallRuns(plan, guests);
    this.#runs.normal();
    this.#domids = this.#runs.inject.machine.domains.map((d) => d.built.words.domid);
    const points = (site: DeathSite): number => this.#runs.points([{ site, nth: NEVER }]).faults[0]?.seen ?? 0;
    this.#points = { 'vcpu.dead': points('vcpu.dead'), 'domain.destroy': points('domain.destroy') };
  }

  /** The death of `seed`, judged. */
  die(seed: number): Death {
    const site = DEATH_SITES[mix(seed, 1) % DEATH_SITES.length] as DeathSite;
    const { specs, how } = this.#planned(seed, site);
    const { e, seen } = this.#runs.execute(specs, how);
    const happened = how.destroy === undefined ? (e.faults[0]?.hits ?? 0) > 0 : seen.asked;
    const wrong = this.#wrong(e);
    if (wrong.length === 0) wrong.push(...seen.wrong);
    if (wrong.length === 0) wrong.push(...this.#runs.takeDown(seed));
    const { lockHeld, zombies } = seen;
    return { seed, site, happened, lockHeld, beside: happened && seen.beside, zombies, wrong };
  }

  /** A bug of the machine's, or a run that does not end, is nobody's design, and is one also when nothing died. */
  #wrong(e: Execution): string[] {
    if (e.bug !== '') return [e.bug];
    if (e.hung !== '') return [e.hung];
    return e.outcome === 'not exercised' || isGood(e.outcome) || !this.#strict ? [] : [...e.why];
  }

  close(): void {
    this.#runs.close();
  }

  #planned(seed: number, site: DeathSite): Planned {
    const how: How = { seed, beside: mix(seed, 3) % 2 === 0 };
    if (build !== 'controlled' && site === 'domain.destroy' && mix(seed, 6) % 2 === 0) {
      const domid = this.#domids[mix(seed, 7) % this.#domids.length] as number;
      return { specs: [], how: { ...how, destroy: { domid, part: (mix(seed, 2) % 1000) / 1000 } } };
    }
    const nth = 1 + (mix(seed, 2) % Math.max(1, this.#points[site]));
    return { specs: [{ site, nth }], how };
  }
}
