/**
 * Executions of a small scenario as their seeds say: coroutines under a random schedule in the controlled build, threads in
 * the parallel one; what dies is taken away while the others run, or when they stand.
 *
 * Invariant: in the controlled build an execution is a function of its seed and faults. A dead vCPU's coroutine is dropped
 * where it is, guest locks held; inside the hypervisor a death waits for the next preemption check or exit. The control
 * plane has one coroutine at a time. Once a domain was taken away, zombies are looked at before every step of who is left.
 * Lock: none.
 * Source: DESIGN decision 9.
 */
import { ERESTART } from '../../abi/errno.js';
import { HypervisorBug } from '../../abi/errors.js';
import { pct } from '../../explore/pct.js';
import { randomWalk } from '../../explore/random-walk.js';
import { roundRobin } from '../../explore/round-robin.js';
import { READY, type Picker } from '../../explore/strategy.js';
import { faultPlan } from '../../fault/plan.js';
import { SITES } from '../../fault/sites.js';
import { findDomain, vcpuCountOf, vcpuDead, type DomainRef } from '../../hypervisor/domain.js';
import { destroyDomain } from '../../hypervisor/domctl.js';
import { globals } from '../../hypervisor/globals.js';
import { vcpu } from '../../machine/cpu-record.js';
import type { FaultSpec } from '../../scenario/scenario.js';
import { actor, CONTROL, MODE_ACCESS, MODE_HYPERVISOR } from '../../sync/actor.js';
import { BUILD, peek, poke, run } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import type { ExploreGuests } from '../explore/guests.js';
import type { ExploreMachine, ExplorePlan, Side } from '../explore/machine.js';
import { mix } from '../fuzz/plan.js';
import { InjectMachine, type Execution, type Race, type Runner } from '../inject/machine.js';
import { takeAllDown } from '../reclaim.js';
import { anyZombie, zombieSentences } from '../zombies.js';
import { SideThreads, type Buried } from './threads.js';

/** Steps a side runs on before the next one does; 0: anyone goes on at every point; below: that many falls of priority. */
const SLICES = [0, 0, -2, -4, 1, 7, 60, 500, 2 ** 30];
/** Steps of a small scenario's execution, about. */
const LENGTH = 2_000;
/** Schedules without faults whose ends are normal. */
const NORMAL = 8;

export interface How {
  readonly seed: number;
  /** Each side begins when those before it have begun all their steps; else as the seed says. */
  readonly inTurn?: boolean;
  /** The control plane comes for the dead while others run. */
  readonly beside: boolean;
  /** Threads only: a domain that the control plane destroys on its own, after this part of a run's length. */
  readonly destroy?: { readonly domid: number; readonly part: number } | undefined;
}

/** What was seen of the dead of an execution, and what is wrong with it besides its outcome. */
export interface Seen extends Buried {
  /** Looks at which there was a zombie. */
  zombies: number;
  readonly wrong: string[];
}

const build: string = BUILD;

export class SmallRuns {
  readonly inject: InjectMachine;
  readonly #controlFree: boolean;
  readonly #threads: SideThreads | undefined;
  #seen: Seen = nothing();
  #normalMs = 1;
  /** Steps that the sides of the running execution have begun. */
  #begun = 0;

  constructor(plan: ExplorePlan, guests: ExploreGuests) {
    this.#controlFree = plan.small.race.every((list) => list.domain !== '');
    this.inject = new InjectMachine(plan, guests);
    const { machine, aftermath } = this.inject;
    if (build !== 'controlled') this.#threads = new SideThreads(machine, aftermath, plan.design);
    machine.observer = () => {
      this.#begun++;
      if (this.#seen.beside && machine.sides.every(isOutside)) this.#lookAtZombies();
    };
  }

  /** What happens without faults, under several schedules; to be asked first. */
  normal(): void {
    for (let seed = 0; seed < NORMAL; seed++) {
      const began = performance.now();
      const e = this.inject.normal(this.#race({ seed, beside: false, inTurn: seed === 0 }));
      if (e.bug + e.hung !== '') throw new HypervisorBug(`without any fault: ${e.bug}${e.hung}`);
      // Threads are slow the first times.
      this.#normalMs = performance.now() - began;
    }
  }

  /** Occurrences of each site in a run in which nothing fails: `watched` are looked for, the others as they come. */
  points(watched: readonly FaultSpec[]): Execution {
    return this.inject.execute(watched, this.#race({ seed: 0, beside: false, inTurn: true }));
  }

  /** `any`: one of the faults must be injected, instead of all. */
  execute(specs: readonly FaultSpec[], how: How, any = false): { readonly e: Execution; readonly seen: Seen } {
    this.#seen = nothing();
    const e = this.inject.execute(specs, this.#race(how), any);
    return { e, seen: this.#seen };
  }

  /** Everything destroyed, in an order that the seed decides; sentences about what is wrong or left. */
  takeDown(seed: number): string[] {
    for (const name of SITES) faultPlan(name, null);
    return takeAllDown(seed, this.inject.stock, () => this.#seen.zombies++);
  }

  close(): void {
    this.#threads?.close();
  }

  #lookAtZombies(): void {
    if (!anyZombie()) return;
    this.#seen.zombies++;
    this.#seen.wrong.push(...zombieSentences('while the others went on'));
  }

  #race(how: How): Race | Runner {
    const threads = this.#threads;
    if (threads === undefined) return this.#coroutines(how);
    const { beside } = how;
    const starts = this.#starts(how);
    const destroy = how.destroy && { domid: how.destroy.domid, afterMs: how.destroy.part * this.#normalMs };
    const still = (): void => {
      this.#lookAtZombies();
    };
    return () => threads.race({ starts, beside, destroy, still }, this.#seen);
  }

  /**
   * Of each side: steps that all sides have begun before it does. One schedule in two lets them begin at once; one in
   * four has each begin somewhere in the course of those before it, as who revokes comes after who maps.
   */
  #starts({ seed, inTurn }: How): number[] {
    let before = 0;
    return this.inject.machine.sides.map((side, i) => {
      const own = before;
      before += side.steps.length;
      if (inTurn === true || mix(seed, 9) % 4 === 0) return own;
      return mix(seed, 9) % 4 === 1 ? mix(seed, 20 + i) % (own + 1) : 0;
    });
  }

  #coroutines(how: How): Race {
    const { seed, beside } = how;
    const starts = this.#starts(how);
    const slice = SLICES[mix(seed, 4) % SLICES.length] as number;
    const inner = (): Picker => {
      if (slice < 0) return pct(mix(seed, 5), 1 - slice, LENGTH);
      return slice === 0 ? randomWalk(mix(seed, 5)) : roundRobin(slice);
    };
    const picker = (): Picker => begun(inner(), starts, () => this.#begun);
    const comes = beside && this.#controlFree;
    const body = (side: Side): (() => Steps<void>) => {
      if (side.cpu === CONTROL) return side.body;
      const { machine } = this.inject;
      const { domid } = machine.placeOf(side);
      return () => mourned(side, domid, comes ? mix(seed, 8) % 2 : NEVER, machine, this.#seen);
    };
    this.#begun = 0;
    return { picker, body };
  }
}

/** As `inner`, but a side does nothing before `starts` steps were begun, unless nobody else can go on. */
function begun(inner: Picker, starts: readonly number[], steps: () => number): Picker {
  if (starts.every((s) => s === 0)) return inner;
  const early = (i: number): boolean => (starts[i] ?? 0) > steps();
  return {
    ...inner,
    pick: (view, running) => {
      const next = inner.pick(view, running);
      if (next < 0 || !early(next)) return next;
      for (let i = 0; i < view.actors; i++) if (view.state[i] === READY && !early(i)) return i;
      return next;
    },
  };
}

const nothing = (): Seen => ({ asked: false, beside: false, lockHeld: false, zombies: 0, wrong: [] });

/** No hypercall, trap or destruction is under way there. */
function isOutside(side: Side): boolean {
  const mode = peek(actor.mode(side.cpu));
  return peek(actor.doing(side.cpu)) === 0 && mode !== MODE_HYPERVISOR && mode !== MODE_ACCESS;
}

/** When the control plane comes for the dead: never before all is over; in one go where it can; step by step with the others. */
const NEVER = -1;
const AT_ONCE = 1;

/** The side as it is; when it ended by its death, the control plane comes for its domain. */
function* mourned(side: Side, domid: number, comes: number, machine: ExploreMachine, seen: Seen): Steps<void> {
  yield* side.body();
  const d = yield* findDomain(domid);
  if (d === 0 || !vcpuDead(side.cpu)) return;
  seen.lockHeld ||= peek(actor.heldCount(side.cpu)) > 0;
  if (comes === NEVER || seen.asked) return;
  seen.asked = true;
  if (comes === AT_ONCE && vcpuCountOf(d) === 1 && machine.sides.every((s) => s === side || isOutside(s))) {
    run(() => destroyed(d, side.name));
  } else yield* destroyed(d, side.name);
  seen.beside = true;
}

function* destroyed(d: DomainRef, name: string): Steps<void> {
  for (;;) {
    poke(vcpu.quantumLeft(CONTROL), peek(globals.quantum));
    const rc = yield* destroyDomain(CONTROL, d);
    if (rc === 0) return;
    if (rc !== -ERESTART) throw new HypervisorBug(`destroying ${name}: ${String(rc)}`);
  }
}
