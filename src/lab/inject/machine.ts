/**
 * A small scenario's machine in which faults are injected: one execution after the other, from the snapshot, in one fixed
 * order, with the control plane taking over whatever dies.
 *
 * Invariant: an execution is a function of the plan of faults; sides run one after the other as far as they can, so that
 * the n-th occurrence of a site is the same place every time. Nothing of an execution is left in the next one.
 * Lock: none; one thread runs everything.
 * Source: DESIGN decision 9.
 */
import { ERESTART } from '../../abi/errno.js';
import { HypervisorBug, MachineLost } from '../../abi/errors.js';
import type { GuestReport } from '../../abi/guest.js';
import { auditMachine } from '../../audit/index.js';
import { Loop, formatWaits, type Outcome } from '../../explore/loop.js';
import { roundRobin } from '../../explore/round-robin.js';
import type { Picker } from '../../explore/strategy.js';
import { faultAdd, faultCounts, faultInit, FAULT_WORDS, ruleCounts } from '../../fault/plan.js';
import { SITES, type SiteName } from '../../fault/sites.js';
import { domain, findDomain, vcpuDead, vcpuOf, type DomainRef } from '../../hypervisor/domain.js';
import { destroyDomain } from '../../hypervisor/domctl.js';
import { reapDomains } from '../../hypervisor/reap.js';
import { actor, CONTROL, cpuIndex, MODE_GUEST, MODE_OFF } from '../../sync/actor.js';
import { peek, run } from '../../sync/primitives.js';
import type { DomainSpec, FaultSpec } from '../../scenario/scenario.js';
import type { Steps } from '../../sync/steps.js';
import { haltVcpu } from '../../vcpu/border.js';
import { VcpuStopped } from '../../vcpu/stopped.js';
import type { ExploreGuests, SmallDomain, SmallVcpu } from '../explore/guests.js';
import { ExploreMachine, type ExplorePlan, type Side } from '../explore/machine.js';
import { reserveArena } from '../run/build-guest.js';
import { crash, isWhole, warnings } from '../run/life.js';
import type { MachinePlan } from '../run/messages.js';
import { judge, type Judged, type PageStock } from './outcome.js';
import { ruleOf } from './spec.js';

/** A side runs until it waits. */
const WHOLE = 2 ** 30;
/** Parts in which a domain may be destroyed. */
const PARTS = 100_000;

/** How the sides of an execution run: who goes on at each point, and what stands for the body of a side. */
export interface Race {
  readonly picker: () => Picker;
  readonly body: (side: Side) => () => Steps<void>;
}
const FIXED: Race = { picker: () => roundRobin(WHOLE), body: (side) => side.body };

export interface Execution extends Judged {
  /** Of each planned fault: occurrences that concerned it, and how often it was injected. */
  readonly faults: readonly { readonly seen: number; readonly hits: number }[];
  /** Occurrences of every site that was reached. */
  readonly reached: Readonly<Partial<Record<SiteName, number>>>;
  /** Domains that were destroyed because they, or a vCPU of theirs, died. */
  readonly deaths: readonly string[];
}

export class InjectMachine {
  readonly #plan: ExplorePlan;
  readonly #guests: ExploreGuests;
  readonly #machine: ExploreMachine;
  readonly #loop: Loop;
  /** Where the fault table lies: reserved before the snapshot, so that nobody else has it afterwards. */
  #table = 0;
  #normal: readonly PageStock[] = [];

  constructor(plan: ExplorePlan, guests: ExploreGuests) {
    this.#plan = plan;
    this.#guests = guests;
    this.#machine = new ExploreMachine(plan, this.#withRoom());
    this.#loop = new Loop(this.#machine.sides.length);
  }

  /** What happens without faults; to be asked first. */
  normal(): Execution {
    const e = this.execute([]);
    this.#normal = this.#stock(this.#reports());
    return e;
  }

  /** One execution with these faults, in the fixed order or under `race`. */
  execute(specs: readonly FaultSpec[], race: Race = FIXED): Execution {
    this.#machine.reset();
    faultInit(this.#table);
    const rules = specs.map((s) =>
      faultAdd(
        s.site,
        ruleOf(s, (d, v) => this.#actorsOf(d, v), true),
      ),
    );
    const ended = this.#race(race);
    const faults = (): { seen: number; hits: number }[] => rules.map((r) => ruleCounts(r));
    const deaths: string[] = [];
    const late = ended.bug === '' ? this.#aftermath(deaths) : '';
    const reached = Object.fromEntries(SITES.map((s) => [s, faultCounts(s).seen] as const).filter(([, n]) => n > 0));
    return { ...this.#judged(ended, late, faults()), faults: faults(), reached, deaths };
  }

  #withRoom(): ExploreGuests {
    const guests = this.#guests;
    const keep = (at: number): void => {
      this.#table = at;
    };
    function* build(plan: MachinePlan, d: DomainSpec): Steps<SmallDomain> {
      if (d === plan.scenario.domains[0]) keep(yield* reserveArena(FAULT_WORDS));
      return yield* guests.build(plan, d);
    }
    return { ...guests, build };
  }

  #actorsOf(name: string | undefined, vcpu: number | undefined): number[] {
    return this.#machine.domains
      .filter((d) => name === undefined || d.spec.name === name)
      .flatMap((d) => d.built.vcpus.filter((_, i) => vcpu === undefined || i === vcpu))
      .map((v) => cpuIndex(v.cpu));
  }

  #race(race: Race): { hung: string; bug: string } {
    const bodies = this.#machine.sides.map((s) => race.body(s));
    const o: Outcome = this.#loop.execute(bodies, race.picker(), this.#plan.small.bound);
    if (o.kind === 'threw') return { hung: '', bug: o.error instanceof Error ? o.error.message : String(o.error) };
    if (o.kind === 'bound') return { hung: `not over after ${String(o.steps)} steps`, bug: '' };
    return { hung: o.kind === 'deadlock' ? this.#waits(o) : '', bug: '' };
  }

  /** A deadlock, unless everybody who waits is of a domain that dies: then its waiters die with it. */
  #waits(o: Extract<Outcome, { kind: 'deadlock' }>): string {
    const dying = new Set(this.#machine.domains.filter((d) => this.#dies(d.built.words.domid)).map((d) => d.spec.name));
    const alive = o.waits.filter((w) => {
      const side = this.#machine.sides[w.body];
      return side === undefined || ![...dying].some((name) => side.name.startsWith(`${name}.`));
    });
    return alive.length === 0 ? '' : formatWaits(alive);
  }

  /** Asked to be destroyed, or one of its vCPUs is dead while others may wait for it. */
  #dies(domid: number): boolean {
    const d = run(() => findDomain(domid));
    if (d === 0 || peek(domain.shuttingDown(d)) !== 0) return false;
    if (peek(domain.destroyAsked(d)) !== 0) return true;
    return this.#vcpusOf(domid).some((v) => vcpuDead(v.cpu));
  }

  #vcpusOf(domid: number): readonly SmallVcpu[] {
    return this.#machine.domains.find((d) => d.built.words.domid === domid)?.built.vcpus ?? [];
  }

  /** The control plane destroys what died; the others do what was put off. Answers what did not end. */
  #aftermath(deaths: string[]): string {
    try {
      for (let round = 0; round < 2; round++) {
        for (const d of this.#machine.domains) this.#bury(d.spec.name, d.built.words.domid, deaths);
        for (const d of this.#machine.domains) {
          if (isWhole(d.built.words) && !this.#dies(d.built.words.domid)) d.built.vcpus.forEach(settled);
        }
      }
      run(() => reapDomains(CONTROL));
      return '';
    } catch (e) {
      if (e instanceof HypervisorBug || e instanceof MachineLost) return e.message;
      throw e;
    }
  }

  #bury(name: string, domid: number, deaths: string[]): void {
    if (!this.#dies(domid)) return;
    const d = run<DomainRef>(() => findDomain(domid));
    deaths.push(name);
    this.#vcpusOf(domid).forEach((_, i) => {
      const cpu = vcpuOf(d, i);
      const mode = peek(actor.mode(cpu));
      // Its coroutine was dropped where it waited, in guest code: there a vCPU may die anywhere.
      if (mode !== MODE_OFF && (mode !== MODE_GUEST || peek(actor.doing(cpu)) === 0)) run(() => haltVcpu(cpu));
    });
    for (let part = 0; part < PARTS; part++) {
      const rc = run(() => destroyDomain(CONTROL, d));
      if (rc === 0) return;
      if (rc !== -ERESTART) throw new HypervisorBug(`destroying ${name}: ${String(rc)}`);
    }
    throw new HypervisorBug(`${name} is not destroyed after ${String(PARTS)} parts`);
  }

  #reports(): readonly GuestReport[] {
    const whole = this.#machine.domains.map((d) => d.built.words).filter(isWhole);
    return this.#guests.reports(whole.map((w) => w.domid));
  }

  #stock(reports: readonly GuestReport[]): PageStock[] {
    return reports.flatMap((r) => {
      const name = this.#machine.domains.find((d) => d.built.words.domid === r.domid)?.spec.name ?? '';
      const d = run(() => findDomain(r.domid));
      if (r.stock === undefined || d === 0) return [];
      const { framed, ...stock } = r.stock;
      return [{ domain: name, ...stock, unknown: peek(domain.totPages(d)) - framed }];
    });
  }

  #judged(ended: { hung: string; bug: string }, late: string, faults: readonly { hits: number }[]): Judged {
    const injected = faults.every((f) => f.hits > 0);
    if (ended.bug !== '' || late !== '') {
      const bug = ended.bug === '' ? late : ended.bug;
      return judge({ injected, hung: '', bug, violations: [], kept: [], stock: [], normal: [] });
    }
    const reports = this.#reports();
    const all = this.#machine.domains.map((d) => d.built.words);
    const violations = [
      ...auditMachine(this.#plan.scenario.checks, reports),
      ...all.flatMap(crash),
      ...all.filter(isWhole).flatMap(warnings),
      ...this.#zombies(),
    ];
    const kept = reports.flatMap((r) => r.handles.filter((h) => h.willRelease).map((h) => h.who));
    return judge({ injected, ...ended, violations, kept, stock: this.#stock(reports), normal: this.#normal });
  }

  /** A destroyed domain that still has frames although nobody has a handle on any. */
  #zombies(): GuestReport['violations'] {
    return this.#machine.domains.flatMap(({ spec, built }) => {
      const d = run(() => findDomain(built.words.domid));
      if (d === 0 || isWhole(built.words) || peek(domain.shuttingDown(d)) !== 0) return [];
      const left = peek(domain.totPages(d));
      const detail = `${spec.name} was destroyed and still has ${String(left)} frames`;
      return [{ invariant: 'zombie', detail, holders: [], severity: 'leaked' as const }];
    });
  }
}

/** Deferred work as far as it can be done; a death there is one like any other. */
function settled(v: SmallVcpu): void {
  if (!v.unsettled() || vcpuDead(v.cpu)) return;
  const body = function* (): Steps<void> {
    yield* v.start();
    yield* v.settle();
    yield* v.park();
  };
  try {
    run(body);
  } catch (e) {
    if (!(e instanceof VcpuStopped)) throw e;
  }
}
