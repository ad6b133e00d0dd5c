/**
 * A machine to be explored: booted, set up and snapshotted once; then the race's bodies, from the snapshot, every time.
 *
 * Invariant: an execution is a function of its schedule: every word is put back before it, the bodies are fresh, and
 * guest objects keep nothing. vCPUs of the race are in guest mode at the snapshot, all others stand aside.
 * Lock: none; one thread runs everything.
 * Source: DESIGN sentence 2, data path "an explored schedule".
 */
import { DEAD_VCPU_WORDS } from '../../machine/cpu-record.js';
import { HypervisorBug, LabError } from '../../abi/errors.js';
import { FAULT_WORDS } from '../../fault/plan.js';
import { hypervisorBoot } from '../../hypervisor/boot.js';
import type { DomainSpec, FaultSpec, Scenario, Small, SmallList, SmallStep } from '../../scenario/scenario.js';
import {
  actor,
  ACTOR_UPPER,
  CONTROL,
  cpuAt,
  cpuIndex,
  header,
  HEADER_BASE,
  HEADER_WORDS,
  HELD_MAX,
  type Cpu,
} from '../../sync/actor.js';
import { CHOICE } from '../../sync/choices.js';
import { poke, run } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { VcpuStopped } from '../../vcpu/stopped.js';
import { decodeTrace, type Trace } from '../../trace/decode.js';
import { traceRegionWords, traceStart, traceStop } from '../../trace/ring.js';
import { reserveArena } from '../run/build-guest.js';
import type { MachinePlan } from '../run/messages.js';
import { controlSteps } from './control-steps.js';
import type { ExploreGuests, SmallDomain, SmallVcpu } from './guests.js';
import { layFaults } from './lay-faults.js';
import { Snapshot, type Range } from './snapshot.js';

/** What is searched, as plain data. */
export interface ExplorePlan extends MachinePlan {
  readonly scenario: MachinePlan['scenario'] & Pick<Scenario, 'checks'>;
  readonly small: Small;
  /** Where faults may be; absent: nowhere. */
  readonly faultPlan?: readonly FaultSpec[];
  /** Whether the step checks and the race detector run, or the audit at the end alone. */
  readonly stepChecks: boolean;
}

interface Placed {
  readonly spec: DomainSpec;
  readonly built: SmallDomain;
}

/** One side of the race. */
export interface Side {
  /** `dom0.1`, or `control`. */
  readonly name: string;
  /** '' for the control plane. */
  readonly domain: string;
  readonly vcpu: number;
  readonly cpu: Cpu;
  readonly steps: readonly SmallStep[];
  readonly body: () => Steps<void>;
}

/** Events that a side's ring keeps. */
export const TRACE_ENTRIES = 1024;

export class ExploreMachine {
  readonly sides: readonly Side[];
  readonly domains: readonly Placed[];
  readonly snapshot: Snapshot;
  readonly vcpus: readonly Cpu[];
  /** What the vCPUs did in the setup; actors are indices of `vcpus`. */
  readonly setupTrace: Trace;
  /** Room for trace rings; only a replay uses it, but it lies where it lies in every execution. */
  readonly traceRegion: number;
  /** Told when a side begins a step of the scenario. */
  observer: ((side: number, text: string) => void) | undefined;

  /** Boots and sets up; a setup that does not work is a LabError. */
  constructor(plan: ExplorePlan, guests: ExploreGuests) {
    const { hypervisor, domains } = plan.scenario;
    hypervisorBoot({ debug: hypervisor.build === 'debug', quantum: hypervisor.quantum, twin: hypervisor.twin });
    const vcpus = domains.reduce((n, d) => n + d.vcpus, 0);
    this.traceRegion = run(() => reserveArena(traceRegionWords(vcpus + 1, TRACE_ENTRIES)));
    const faults = plan.faultPlan ?? [];
    const planned = faults.length > 0;
    const table = planned ? run(() => reserveArena(FAULT_WORDS)) : 0;
    this.domains = domains.map((spec) => ({ spec, built: run(() => guests.build(plan, spec)) }));
    for (const d of this.domains) d.built.vcpus.forEach((v) => run(() => bootAside(d.spec.name, v)));
    this.vcpus = this.domains.flatMap((d) => d.built.vcpus.map((v) => v.cpu));
    traceStart(this.traceRegion, this.vcpus, TRACE_ENTRIES);
    for (const list of plan.small.setup) this.#setUp(list);
    this.setupTrace = decodeTrace(this.vcpus);
    traceStop(this.vcpus);
    this.sides = plan.small.race.map((list, i) => this.#side(list, i, plan.small.race));
    for (const side of plan.small.race) {
      if (side.domain !== '') run(() => this.#vcpu(side).start());
    }
    if (planned) layFaults(table, faults, this.sides);
    const choices = planned ? [...plan.small.choices, 'fault' as const] : plan.small.choices;
    poke(
      header.choices,
      choices.reduce((mask, name) => mask | (1 << CHOICE[name]), 0),
    );
    // What a rule has counted decides nothing once no schedule runs.
    const counters: Range[] = planned ? [{ from: table, words: FAULT_WORDS }] : [];
    this.snapshot = new Snapshot(this.#unlogged(), [...this.#volatile(), ...counters]);
  }

  /** The actor record with that index, as the scenario calls it. */
  actorName(index: number): string {
    if (index === 0) return 'control';
    for (const d of this.domains) {
      const id = d.built.vcpus.findIndex((v) => cpuIndex(v.cpu) === index);
      if (id >= 0) return `${d.spec.name}.${String(id)}`;
    }
    return `actor ${String(index)}`;
  }

  /** Which vCPU a side is, and what a thread of its own is told of its domain. */
  placeOf(side: Side): { domain: string; domid: number; id: number; start: unknown } {
    for (const { spec, built } of this.domains) {
      const id = built.vcpus.findIndex((v) => v.cpu === side.cpu);
      if (id >= 0) return { domain: spec.name, domid: built.words.domid, id, start: built.start };
    }
    throw new HypervisorBug(`${side.name} is no vCPU`);
  }

  /** The start of an execution. */
  reset(): void {
    this.snapshot.restore();
  }

  #vcpu(list: SmallList): SmallVcpu {
    const v = this.domains.find((d) => d.spec.name === list.domain)?.built.vcpus[list.vcpu];
    if (v === undefined) throw new HypervisorBug(`no vCPU ${nameOf(list)}`);
    return v;
  }

  #setUp(list: SmallList): void {
    if (list.domain === '') {
      run(() => controlSteps(list.steps, () => undefined));
      return;
    }
    const v = this.#vcpu(list);
    run(() => v.start());
    for (const step of list.steps) {
      if (v.needsProcess(step) && !v.hasProcess()) throw refused(list, step, 'no process runs there');
      const answer = alone(list, step, () => v.step(step));
      if (answer !== 0) throw refused(list, step, `it was refused with ${String(answer)}`);
    }
    run(() => v.park());
  }

  #side(list: SmallList, index: number, race: readonly SmallList[]): Side {
    const name = nameOf(list);
    const note = (text: string): void => this.observer?.(index, text);
    if (list.domain === '') {
      const body = (): Steps<void> => controlSteps(list.steps, note);
      return { name, domain: '', vcpu: 0, cpu: CONTROL, steps: list.steps, body };
    }
    const v = this.#vcpu(list);
    const [first] = list.steps;
    if (first !== undefined && v.needsProcess(first) && !v.hasProcess()) {
      throw refused(list, first, 'no process runs there when the race begins');
    }
    const others = race.filter((o) => o.domain === list.domain && o.vcpu !== list.vcpu).map((o) => o.vcpu);
    const body = v.race(list.steps, others, note);
    const { domain, vcpu, steps } = list;
    return { name, domain, vcpu, cpu: v.cpu, steps, body: () => untilStopped(body) };
  }

  /** Lock lists and fault words are written past the ops. */
  #unlogged(): Range[] {
    return [
      ...this.#cpus().map((cpu) => ({ from: cpu, words: ACTOR_UPPER })),
      { from: HEADER_BASE, words: HEADER_WORDS },
    ];
  }

  /** Counters, registers and buffers of calls that are over; which locks an actor held (how many is no such word). */
  #volatile(): Range[] {
    const dead = this.#cpus().flatMap((cpu): Range[] => [
      { from: actor.beat(cpu), words: 1 },
      { from: actor.contended(cpu), words: 1 },
      { from: actor.heldAddress(cpu, 0), words: 2 * HELD_MAX },
      ...DEAD_VCPU_WORDS.map(([from, n]) => ({ from: cpu + ACTOR_UPPER + from, words: n })),
    ]);
    const counters = this.domains.flatMap(({ built }) =>
      Object.entries(built.words.counters)
        .filter(([name]) => !name.startsWith('warning.'))
        .map(([, from]) => ({ from, words: 1 })),
    );
    return [...dead, ...counters];
  }

  #cpus(): Cpu[] {
    const vcpus = this.domains.reduce((n, d) => n + d.built.vcpus.length, 0);
    return Array.from({ length: vcpus + 1 }, (_, i) => cpuAt(i));
  }
}

const nameOf = (list: SmallList): string => (list.domain === '' ? 'control' : `${list.domain}.${String(list.vcpu)}`);

function* bootAside(domain: string, v: SmallVcpu): Steps<void> {
  yield* v.start();
  if (!(yield* v.boot())) throw new HypervisorBug(`${domain} did not boot`);
  yield* v.park();
}

/** A vCPU whose domain dies leaves by an exception; that is an end like any other. */
function* untilStopped(body: () => Steps<void>): Steps<void> {
  try {
    yield* body();
  } catch (e) {
    if (!(e instanceof VcpuStopped)) throw e;
  }
}

const refused = (list: SmallList, step: SmallStep, why: string): LabError =>
  new LabError('SMALL_SETUP', `${nameOf(list)}: step '${step.text}': ${why}`, {
    hint: "the setup's steps run one after the other, in the order of the file",
  });

/** Runs a step of the setup alone; one that waits for another vCPU cannot stand in a setup. */
function alone(list: SmallList, step: SmallStep, body: () => Steps<number>): number {
  try {
    return run(body);
  } catch (e) {
    if (e instanceof HypervisorBug && e.message.startsWith('a lone actor waits')) {
      throw refused(list, step, 'it waits for another vCPU, and none runs during the setup');
    }
    throw e;
  }
}
