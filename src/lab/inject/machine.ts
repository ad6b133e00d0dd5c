/**
 * A small scenario's machine in which faults are injected: one execution after the other, from the snapshot, in one fixed
 * order, with the control plane taking over whatever dies.
 *
 * Invariant: an execution is a function of the plan of faults; sides run one after the other as far as they can, so that
 * the n-th occurrence of a site is the same place every time. Nothing of an execution is left in the next one.
 * Lock: none; one thread runs everything.
 * Source: DESIGN decision 9.
 */
import type { GuestReport } from '../../abi/guest.js';
import { auditMachine } from '../../audit/index.js';
import { Loop, formatWaits, type Outcome } from '../../explore/loop.js';
import { roundRobin } from '../../explore/round-robin.js';
import type { Picker } from '../../explore/strategy.js';
import { faultAdd, faultCounts, faultInit, FAULT_WORDS, ruleCounts } from '../../fault/plan.js';
import { SITES, type SiteName } from '../../fault/sites.js';
import { globals } from '../../hypervisor/globals.js';
import { cpuIndex } from '../../sync/actor.js';
import { peek } from '../../sync/primitives.js';
import type { DomainSpec, FaultSpec } from '../../scenario/scenario.js';
import type { Steps } from '../../sync/steps.js';
import { traceStart } from '../../trace/ring.js';
import { Aftermath } from '../explore/aftermath.js';
import type { ExploreGuests, SmallDomain } from '../explore/guests.js';
import { ExploreMachine, type ExplorePlan, type Side, TRACE_ENTRIES } from '../explore/machine.js';
import { reportsOf, stockOf } from '../explore/stock.js';
import type { Stock } from '../reclaim.js';
import { reserveArena } from '../run/build-guest.js';
import { crash, isWhole, warnings } from '../run/life.js';
import type { MachinePlan } from '../run/messages.js';
import { anyZombie, zombies } from '../zombies.js';
import { Since } from '../since.js';
import { judge, type Judged, type PageStock } from './outcome.js';
import { ruleOf } from './spec.js';

const met = (f: { hits: number }): boolean => f.hits > 0;

/** A side runs until it waits. */
const WHOLE = 2 ** 30;

/** How the sides of an execution run: who goes on at each point, and what stands for the body of a side. */
export interface Race {
  readonly picker: () => Picker;
  readonly body: (side: Side) => () => Steps<void>;
}
/** How the sides of an execution came to their end: '' for both, or what did not end, or a broken invariant of ours. */
export interface Ended {
  readonly hung: string;
  readonly bug: string;
  /** Actors were stopped where they were: what stands there cannot be audited. */
  readonly broken?: boolean;
}
/** Has the sides run elsewhere. */
export type Runner = () => Ended;
const FIXED: Race = { picker: () => roundRobin(WHOLE), body: (side) => side.body };

export interface Execution extends Judged {
  /** Of each planned fault: occurrences that concerned it, and how often it was injected. */
  readonly faults: readonly { readonly seen: number; readonly hits: number }[];
  /** Occurrences of every site that was reached. */
  readonly reached: Readonly<Partial<Record<SiteName, number>>>;
  /** Domains that were destroyed because they, or a vCPU of theirs, died. */
  readonly deaths: readonly string[];
  /** What the machine itself failed with, or who waited for ever: whatever the design, and whether a fault was met or not. */
  readonly bug: string;
  readonly hung: string;
}

/** Who keeps the handle although nobody uses it, and will let it go. */
function holderOf({ handle, who, willRelease, mayRelease, inUse }: GuestReport['handles'][number]): string {
  if (inUse === true) return '';
  if (willRelease) return `handle ${String(handle)}: ${who}`;
  return mayRelease === true ? `handle ${String(handle)}: ${who}, and tried once more when another map goes` : '';
}

export class InjectMachine {
  readonly #plan: ExplorePlan;
  readonly #guests: ExploreGuests;
  readonly machine: ExploreMachine;
  readonly #loop: Loop;
  readonly aftermath: Aftermath;
  /** Where the fault table lies: reserved before the snapshot, so that nobody else has it afterwards. */
  #table = 0;
  #freeFrames = 0;
  /** Ends without faults, one for each time that `normal` was asked. */
  readonly #normal: PageStock[][] = [];

  constructor(plan: ExplorePlan, guests: ExploreGuests) {
    this.#plan = plan;
    this.#guests = guests;
    this.machine = new ExploreMachine(plan, this.#withRoom());
    this.#loop = new Loop(this.machine.sides.length);
    this.aftermath = new Aftermath(this.machine);
  }

  /** What there was before the first domain. */
  get stock(): Stock {
    const cpus = this.machine.domains.flatMap((d) => d.built.vcpus.map((v) => v.cpu));
    return { cpus, freeFrames: this.#freeFrames, firstFrame: 1 };
  }

  /** What happens without faults; to be asked first, and again where the schedule has a say in it. */
  normal(race: Race | Runner = FIXED): Execution {
    const e = this.execute([], race);
    this.#normal.push(stockOf(this.machine, reportsOf(this.machine, this.#guests)));
    return e;
  }

  /**
   * One execution with these faults, in the fixed order or under `race`. It is *not exercised* unless each of them was
   * injected, or `any` was.
   */
  execute(specs: readonly FaultSpec[], race: Race | Runner = FIXED, any = false): Execution {
    this.machine.reset();
    faultInit(this.#table);
    traceStart(this.machine.traceRegion, this.machine.vcpus, TRACE_ENTRIES);
    const rules = specs.map((s) =>
      faultAdd(
        s.site,
        ruleOf(s, (d, v) => this.#actorsOf(d, v), true),
      ),
    );
    const ended = typeof race === 'function' ? race() : this.#race(race);
    const faults = (): { seen: number; hits: number }[] => rules.map((r) => ruleCounts(r));
    const deaths: string[] = [];
    const late = ended.bug === '' && ended.broken !== true ? this.aftermath.clear(deaths) : '';
    const reached = Object.fromEntries(SITES.map((s) => [s, faultCounts(s).seen] as const).filter(([, n]) => n > 0));
    const bug = ended.bug === '' ? late : ended.bug;
    return {
      ...this.#judged({ ...ended, bug }, any ? faults().some(met) : faults().every(met)),
      faults: faults(),
      reached,
      deaths,
      bug,
      hung: ended.hung,
    };
  }

  #withRoom(): ExploreGuests {
    const guests = this.#guests;
    const first = (at: number): void => {
      this.#table = at;
      this.#freeFrames = peek(globals.freeFrames);
    };
    function* build(plan: MachinePlan, d: DomainSpec): Steps<SmallDomain> {
      if (d === plan.scenario.domains[0]) first(yield* reserveArena(FAULT_WORDS));
      return yield* guests.build(plan, d);
    }
    return { ...guests, build };
  }

  #actorsOf(name: string | undefined, vcpu: number | undefined): number[] {
    return this.machine.domains
      .filter((d) => name === undefined || d.spec.name === name)
      .flatMap((d) => d.built.vcpus.filter((_, i) => vcpu === undefined || i === vcpu))
      .map((v) => cpuIndex(v.cpu));
  }

  #race(race: Race): Ended {
    const bodies = this.machine.sides.map((s) => race.body(s));
    const o: Outcome = this.#loop.execute(bodies, race.picker(), this.#plan.small.bound);
    if (o.kind === 'threw') return { hung: '', bug: o.error instanceof Error ? o.error.message : String(o.error) };
    if (o.kind === 'bound') return { hung: `not over after ${String(o.steps)} steps`, bug: '' };
    return { hung: o.kind === 'deadlock' ? this.#waits(o) : '', bug: '' };
  }

  /** A deadlock, unless everybody who waits is of a domain that dies. */
  #waits(o: Extract<Outcome, { kind: 'deadlock' }>): string {
    const stuck = this.aftermath.stuck(o.waits);
    return stuck.length === 0 ? '' : formatWaits(stuck);
  }

  #judged(ended: Ended, injected: boolean): Judged {
    const { bug, hung } = ended;
    if (bug !== '' || ended.broken === true) {
      return judge({ injected, hung, bug, violations: [], kept: [], stock: [], normals: [] });
    }
    const reports = reportsOf(this.machine, this.#guests);
    const all = this.machine.domains.map((d) => d.built.words);
    const violations = [
      ...auditMachine(this.#plan.scenario.checks, reports),
      ...all.flatMap(crash),
      ...all.filter(isWhole).flatMap(warnings),
      ...this.#zombies(),
    ];
    const since = new Since(
      this.machine.vcpus,
      (cpu) => this.machine.actorName(cpuIndex(cpu)),
      this.machine.setupTrace,
    );
    const kept = reports.flatMap((r) =>
      r.handles.flatMap((h) => {
        const who = holderOf(h);
        return who === '' ? [] : [`${who}; ${since.of({ kind: 'handle', domid: r.domid, handle: h.handle })}`];
      }),
    );
    const told = violations.map((v) => since.told(v));
    return judge({
      injected,
      ...ended,
      violations: told,
      kept,
      stock: stockOf(this.machine, reports),
      normals: this.#normal,
    });
  }

  /** Destroyed domains that are still there: whoever refers to their frames keeps them, and nobody else may. */
  #zombies(): GuestReport['violations'] {
    if (!anyZombie()) return [];
    const { found, orphans } = zombies();
    return [
      ...found.map(({ domid, holders }) => {
        const detail = `d${String(domid)} was destroyed and is still there`;
        return { invariant: 'zombie', detail, holders, severity: holders.length > 0 ? 'degraded' : 'leaked' } as const;
      }),
      ...orphans.map((detail) => ({ invariant: 'zombie', detail, holders: [], severity: 'broken' as const })),
    ];
  }
}
