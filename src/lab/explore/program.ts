/**
 * The machine as the explorer sees it: bodies to interleave, and what is wrong at the end of an execution.
 *
 * Invariant: a state that was judged once is not judged again: at rest the verdict is a function of the memory alone.
 * Lock: none.
 */
import { auditMachine } from '../../audit/index.js';
import type { Finding, Names, Outcome, Program } from '../../explore/program.js';
import { run } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { VcpuStopped } from '../../vcpu/stopped.js';
import { crash, isWhole, warnings } from '../run/life.js';
import type { ExploreGuests, SmallVcpu } from './guests.js';
import type { ExploreMachine, ExplorePlan } from './machine.js';

export class ExploreProgram implements Program {
  readonly names: Names;
  readonly #plan: ExplorePlan;
  readonly #machine: ExploreMachine;
  readonly #guests: ExploreGuests;
  readonly #bodies: readonly (() => Steps<void>)[];
  readonly #judged = new Map<number, readonly Finding[]>();

  constructor(plan: ExplorePlan, machine: ExploreMachine, guests: ExploreGuests, names: Names) {
    this.#plan = plan;
    this.#machine = machine;
    this.#guests = guests;
    this.#bodies = machine.sides.map((s) => s.body);
    this.names = names;
  }

  start(): readonly (() => Steps<void>)[] {
    this.#machine.reset();
    return this.#bodies;
  }

  /** States at rest that executions ended in. */
  get states(): number {
    return this.#judged.size;
  }

  /** Rules that executions broke so far. */
  readonly broken = new Set<string>();

  finish(outcome: Outcome): readonly Finding[] {
    const found = outcome.kind === 'done' ? this.#atRest() : [];
    for (const f of found) this.broken.add(f.rule);
    if (outcome.kind === 'deadlock') this.broken.add('deadlock');
    else if (outcome.kind === 'bound') this.broken.add('livelock');
    else if (outcome.kind === 'threw') this.broken.add('bug');
    else if (outcome.kind === 'found') this.broken.add(outcome.finding.rule);
    return found;
  }

  #atRest(): readonly Finding[] {
    const state = this.#machine.snapshot.fingerprint();
    const known = this.#judged.get(state);
    if (known !== undefined) return known;
    const found = this.#judge();
    this.#judged.set(state, found);
    return found;
  }

  #judge(): readonly Finding[] {
    const all = this.#machine.domains.map((d) => d.built);
    for (const d of all) if (isWhole(d.words)) d.vcpus.forEach(settled);
    const whole = all.map((d) => d.words).filter(isWhole);
    const reports = this.#guests.reports(whole.map((w) => w.domid));
    const violations = [
      ...auditMachine(this.#plan.scenario.checks, reports),
      ...all.flatMap((d) => crash(d.words)),
      ...whole.flatMap(warnings),
    ];
    return violations.map(({ invariant, detail, holders }) => ({ rule: invariant, detail, holders }));
  }
}

function settled(v: SmallVcpu): void {
  if (!v.unsettled()) return;
  try {
    run(function* () {
      yield* v.start();
      yield* v.settle();
      yield* v.park();
    });
  } catch (e) {
    if (!(e instanceof VcpuStopped)) throw e;
  }
}
