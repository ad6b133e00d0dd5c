/**
 * Deaths in a small scenario's machine: a vCPU, or a domain with all of its vCPUs, dies at a random point of a random
 * schedule; the control plane reclaims it while the others go on, or when they are done; then everything is taken down.
 *
 * Invariant: a death is a function of its seed. A dead vCPU's coroutine is dropped where it is, guest locks held; inside the
 * hypervisor a death waits for the next preemption check or exit. The control plane has one coroutine at a time.
 * Lock: none; one thread runs everything.
 * Source: DESIGN decision 9.
 */
import { ERESTART } from '../../abi/errno.js';
import { HypervisorBug } from '../../abi/errors.js';
import { randomWalk } from '../../explore/random-walk.js';
import { roundRobin } from '../../explore/round-robin.js';
import type { Picker } from '../../explore/strategy.js';
import { findDomain, vcpuDead } from '../../hypervisor/domain.js';
import { destroyDomain } from '../../hypervisor/domctl.js';
import { globals } from '../../hypervisor/globals.js';
import { vcpu } from '../../machine/cpu-record.js';
import type { DomainSpec } from '../../scenario/scenario.js';
import { actor, CONTROL, type Cpu } from '../../sync/actor.js';
import { peek, poke } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { faultPlan } from '../../fault/plan.js';
import { SITES } from '../../fault/sites.js';
import type { ExploreGuests, SmallDomain } from '../explore/guests.js';
import type { ExplorePlan, Side } from '../explore/machine.js';
import { mix } from '../fuzz/plan.js';
import { InjectMachine, type Execution, type Race } from '../inject/machine.js';
import { isGood } from '../inject/outcome.js';
import { takeAllDown, type Stock } from '../reclaim.js';
import type { MachinePlan } from '../run/messages.js';

/** How something dies. */
export const DEATH_SITES = ['vcpu.dead', 'domain.destroy'] as const;
export type DeathSite = (typeof DEATH_SITES)[number];

/** Steps a side runs on before the next one does; 0: anyone goes on at every point. */
const SLICES = [0, 0, 1, 7, 60, 500, 2 ** 30];
/** An occurrence that no run reaches: the rule counts, and nothing dies. */
const NEVER = 0xffffffff;

export interface Death {
  readonly seed: number;
  readonly site: DeathSite;
  /** Whether anything died: a schedule may be over before the occurrence that the seed chose. */
  readonly happened: boolean;
  /** A dead vCPU held locks of its guest. */
  readonly lockHeld: boolean;
  /** The control plane reclaimed while the others ran. */
  readonly beside: boolean;
  /** What is wrong: with the survivors, or with what was reclaimed. */
  readonly wrong: readonly string[];
}

/** What the running execution shows of its dead. */
interface Seen {
  lockHeld: boolean;
  /** The control plane has come for it. */
  buried: boolean;
}

export class DeathMachine {
  readonly #inject: InjectMachine;
  readonly #strict: boolean;
  /** No side of the race is the control plane's. */
  readonly #controlFree: boolean;
  readonly #cpus: Cpu[] = [];
  readonly #domids = new Map<string, number>();
  #freeFrames = 0;
  /** Occurrences of each site in the run in which nothing dies. */
  readonly #points: Readonly<Record<DeathSite, number>>;

  /** `strict`: the design copes without deaths, so its survivors must be well after one. */
  constructor(plan: ExplorePlan, guests: ExploreGuests, strict: boolean) {
    this.#strict = strict;
    this.#controlFree = plan.small.race.every((list) => list.domain !== '');
    this.#inject = new InjectMachine(plan, this.#watched(guests));
    this.#inject.normal();
    const points = (site: DeathSite): number => this.#inject.execute([{ site, nth: NEVER }]).faults[0]?.seen ?? 0;
    this.#points = { 'vcpu.dead': points('vcpu.dead'), 'domain.destroy': points('domain.destroy') };
  }

  /** The death of `seed`, judged. */
  die(seed: number): Death {
    const site = DEATH_SITES[mix(seed, 1) % DEATH_SITES.length] as DeathSite;
    const nth = 1 + (mix(seed, 2) % Math.max(1, this.#points[site]));
    const beside = this.#controlFree && mix(seed, 3) % 2 === 0;
    const seen: Seen = { lockHeld: false, buried: false };
    const e = this.#inject.execute([{ site, nth }], this.#race(seed, beside, seen));
    const happened = (e.faults[0]?.hits ?? 0) > 0;
    const wrong = this.#wrong(e);
    for (const name of SITES) faultPlan(name, null);
    if (wrong.length === 0) wrong.push(...takeAllDown(seed, this.#stock()));
    const { lockHeld, buried } = seen;
    return { seed, site, happened, lockHeld, beside: buried, wrong };
  }

  /** A bug of the machine's, or a run that does not end, is nobody's design, and is one also when nothing died. */
  #wrong(e: Execution): string[] {
    if (e.bug !== '') return [e.bug];
    if (e.hung !== '') return [e.hung];
    return e.outcome === 'not exercised' || isGood(e.outcome) || !this.#strict ? [] : [...e.why];
  }

  #stock(): Stock {
    return { cpus: this.#cpus, freeFrames: this.#freeFrames, firstFrame: 1 };
  }

  /** `guests`, noting what the machine has before its first domain. */
  #watched(guests: ExploreGuests): ExploreGuests {
    const before = (first: boolean): void => {
      if (first) this.#freeFrames = peek(globals.freeFrames);
    };
    const after = (d: DomainSpec, built: SmallDomain): void => {
      this.#domids.set(d.name, built.words.domid);
      this.#cpus.push(...built.vcpus.map((v) => v.cpu));
    };
    function* build(plan: MachinePlan, d: DomainSpec): Steps<SmallDomain> {
      before(d === plan.scenario.domains[0]);
      const built = yield* guests.build(plan, d);
      after(d, built);
      return built;
    }
    return { ...guests, build };
  }

  #race(seed: number, beside: boolean, seen: Seen): Race {
    const slice = SLICES[mix(seed, 4) % SLICES.length] as number;
    const picker = (): Picker => (slice === 0 ? randomWalk(mix(seed, 5)) : roundRobin(slice));
    const domids = this.#domids;
    const body = (side: Side): (() => Steps<void>) => {
      const domid = domids.get(side.name.slice(0, side.name.lastIndexOf('.')));
      if (domid === undefined) return side.body;
      return () => mourned(side, domid, beside, seen);
    };
    return { picker, body };
  }
}

/** The side as it is; when it ended by its death, the control plane comes for its domain. */
function* mourned(side: Side, domid: number, beside: boolean, seen: Seen): Steps<void> {
  yield* side.body();
  const d = yield* findDomain(domid);
  if (d === 0 || !vcpuDead(side.cpu)) return;
  seen.lockHeld ||= peek(actor.heldCount(side.cpu)) > 0;
  if (!beside || seen.buried) return;
  seen.buried = true;
  for (;;) {
    poke(vcpu.quantumLeft(CONTROL), peek(globals.quantum));
    const rc = yield* destroyDomain(CONTROL, d);
    if (rc === 0) return;
    if (rc !== -ERESTART) throw new HypervisorBug(`destroying ${side.name}: ${String(rc)}`);
  }
}
