/**
 * The machine as the explorer sees it: bodies to interleave, and what is wrong at the end of an execution.
 *
 * Invariant: a state that was judged once is not judged again: at rest the verdict is a function of the memory alone.
 * Lock: none.
 */
import { ruleOfError } from '../../abi/errors.js';
import type { GuestLook, GuestReport, MachineView, Violation } from '../../abi/guest.js';
import { auditMachine } from '../../audit/index.js';
import { makeStepChecks, type StepChecks } from '../../audit/step.js';
import { interleave } from '../../explore/loop.js';
import type { Finding, Names, Outcome, Program, Wait } from '../../explore/program.js';
import { isTableType, PGT_count_mask, PGT_validated, typeInfo } from '../../machine/frame.js';
import { ARENA, FRAME_TABLE, FRAMES } from '../../machine/layout.js';
import { randomWalk } from '../../explore/random-walk.js';
import type { View } from '../../explore/strategy.js';
import { roundRobin } from '../../explore/round-robin.js';
import { actor, cpuIndex } from '../../sync/actor.js';
import { peek } from '../../sync/primitives.js';
import type { FaultSpec } from '../../scenario/scenario.js';
import { POINT_WRITE } from '../../sync/schedule.js';
import type { Steps } from '../../sync/steps.js';
import { besidesRefusals } from '../run/faults.js';
import { lost, type PageStock } from '../inject/outcome.js';
import { crash, isWhole, lifeOf, warnings } from '../run/life.js';
import { Aftermath, settled } from './aftermath.js';
import type { ExploreGuests } from './guests.js';
import type { ExploreMachine, ExplorePlan } from './machine.js';
import { reportsOf, stockOf } from './stock.js';

/** A side runs until it waits. */
const WHOLE = 2 ** 30;

export class ExploreProgram implements Program {
  readonly names: Names;
  readonly #plan: ExplorePlan;
  readonly #machine: ExploreMachine;
  readonly #guests: ExploreGuests;
  readonly #bodies: readonly (() => Steps<void>)[];
  readonly #checks: StepChecks | undefined;
  readonly #look: GuestLook | undefined;
  /** The actor record of each side, by index. */
  readonly #cpus: readonly number[];
  readonly #judged = new Map<number, readonly Finding[]>();
  /** Where something may die; then the control plane comes for it in the end. */
  readonly #aftermath: Aftermath | undefined;
  readonly #faults: readonly FaultSpec[];
  /** Where the pages are when nothing failed, in several schedules; nothing when no faults are planned. */
  readonly #normals: readonly (readonly PageStock[])[];

  constructor(plan: ExplorePlan, machine: ExploreMachine, guests: ExploreGuests, names: Names) {
    this.#plan = plan;
    this.#machine = machine;
    this.#guests = guests;
    this.#bodies = machine.sides.map((s) => s.body);
    this.names = names;
    this.#cpus = machine.sides.map((s) => cpuIndex(s.cpu));
    this.#faults = plan.faultPlan ?? [];
    this.#aftermath = this.#faults.length === 0 ? undefined : new Aftermath(machine);
    this.#checks = plan.stepChecks ? makeStepChecks() : undefined;
    if (this.#checks !== undefined) {
      const checks = this.#checks;
      // A kernel that was refused something on purpose keeps what it could not change, until somebody tries again.
      const look = (this.#look = this.#faults.length === 0 ? guests.look(machineView) : undefined);
      const cpus = this.#cpus;
      this.step = (side, address, kind, words) => {
        const index = cpus[side] ?? 0;
        const wrong = checks.step(index, address, kind, words);
        if (wrong !== undefined || look === undefined || (kind & POINT_WRITE) === 0) return wrong;
        const guest = look.step(index, address, kind, words);
        return guest === undefined ? undefined : findingOf(guest);
      };
    }
    this.#normals = this.#unharmed();
  }

  /** Checks on what a step changed, when they are wanted. */
  readonly step?: (side: number, address: number, kind: number, words: number) => Finding | undefined;

  start(): readonly (() => Steps<void>)[] {
    this.#machine.reset();
    this.#checks?.reset();
    this.#look?.reset();
    return this.#bodies;
  }

  /** States at rest that executions ended in. */
  get states(): number {
    return this.#judged.size;
  }

  /** Rules that executions broke so far. */
  readonly broken = new Set<string>();

  stuck(waits: readonly Wait[]): readonly Wait[] {
    return this.#aftermath?.stuck(waits) ?? waits;
  }

  finish(outcome: Outcome): readonly Finding[] {
    const stuck = outcome.kind === 'deadlock' && this.stuck(outcome.waits).length > 0;
    const found = outcome.kind === 'done' || (outcome.kind === 'deadlock' && !stuck) ? this.#atRest() : [];
    for (const f of found) this.broken.add(f.rule);
    if (stuck) this.broken.add('deadlock');
    else if (outcome.kind === 'bound') this.broken.add('livelock');
    else if (outcome.kind === 'threw') this.broken.add(ruleOfError(outcome.error));
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

  /** Nobody who is done holds a lock; one whose domain is taken away dies where it stands. */
  #locksHeld(): Violation[] {
    return this.#machine.sides.flatMap(({ name, cpu }) => {
      const n = peek(actor.heldCount(cpu));
      if (n === 0 || !this.#isWhole(name)) return [];
      return [
        {
          invariant: 'lock-held',
          detail: `${name} is done and holds ${String(n)} locks`,
          holders: [name],
          severity: 'broken',
        } as const,
      ];
    });
  }

  #isWhole(side: string): boolean {
    const d = this.#machine.domains.find(({ spec }) => side.startsWith(`${spec.name}.`));
    return d === undefined || isWhole(d.built.words);
  }

  /** Pages that faults took out of use for good. */
  #lost(reports: readonly GuestReport[]): Violation[] {
    if (this.#normals.length === 0) return [];
    return lost(stockOf(this.#machine, reports), this.#normals).flatMap(([outcome, detail]) =>
      outcome === 'leaked' ? [{ invariant: 'leak', detail, holders: [], severity: 'leaked' } as const] : [],
    );
  }

  /** Executions without faults, for what an unharmed machine has where: each side first once, then some at random. */
  #unharmed(): (readonly PageStock[])[] {
    const { sides } = this.#machine;
    if (this.#aftermath === undefined) return [];
    const inOrder = sides.map((_, i) => roundRobin(WHOLE, i));
    return [...inOrder, randomWalk(1), randomWalk(2)].flatMap((s) => {
      // Without a say in choices: nothing fails.
      const picker = { begin: (v: View) => s.begin(v), pick: (v: View, running: number) => s.pick(v, running) };
      const outcome = interleave(this.start(), picker, this.#plan.small.bound);
      if (outcome.kind !== 'done' || this.#aftermath?.clear([]) !== '') return [];
      return [stockOf(this.#machine, reportsOf(this.#machine, this.#guests))];
    });
  }

  #judge(): readonly Finding[] {
    const all = this.#machine.domains.map((d) => d.built);
    const late = this.#aftermath?.clear([]) ?? '';
    if (late !== '') return [{ rule: 'bug', detail: late, holders: [] }];
    if (this.#aftermath === undefined) for (const d of all) if (isWhole(d.words)) d.vcpus.forEach(settled);
    const whole = all.map((d) => d.words).filter(isWhole);
    const reports = this.#guests.reports(whole.map((w) => w.domid));
    const violations: Violation[] = [
      ...auditMachine(this.#plan.scenario.checks, reports),
      ...all.flatMap((d) => crash(d.words)),
      ...this.#locksHeld(),
      ...whole.flatMap(warnings),
      ...this.#lost(reports),
    ];
    // Where faults are planned, a kernel may say that it was refused something, and keep what it will try again.
    const wrong =
      this.#aftermath === undefined ? violations : besidesRefusals(violations.filter(isUnheld), this.#faults);
    return wrong.map(findingOf);
  }
}

const isUnheld = (v: Violation): boolean => v.severity !== 'degraded';

const findingOf = ({ invariant, detail, holders, held }: Violation): Finding => ({
  rule: invariant,
  detail,
  holders,
  ...(held === undefined ? {} : { held }),
});

/** The machine as the look at guests needs it. */
export const machineView: MachineView = {
  frames: FRAMES,
  frameTable: FRAME_TABLE,
  arena: ARENA,
  typed: (mfn) => {
    const t = peek(typeInfo(mfn));
    return isTableType(t) && (t & PGT_validated) !== 0 && (t & PGT_count_mask) !== 0;
  },
  lives: (domid) => lifeOf(domid) === '',
};
