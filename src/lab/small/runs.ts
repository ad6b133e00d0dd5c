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
import type { Picker } from '../../explore/strategy.js';
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
/** Turns that threads wait before they begin, a power of two of them. */
const MAX_DELAY_BITS = 18;
/** Schedules without faults whose ends are normal. */
const NORMAL = 8;

export interface How {
  readonly seed: number;
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

  constructor(plan: ExplorePlan, guests: ExploreGuests) {
    this.#controlFree = plan.small.race.every((list) => list.domain !== '');
    this.inject = new InjectMachine(plan, guests);
    const { machine, aftermath } = this.inject;
    if (build !== 'controlled') this.#threads = new SideThreads(machine, aftermath, plan.design);
    machine.observer = () => {
      if (this.#seen.beside && machine.sides.every(isOutside)) this.#lookAtZombies();
    };
  }

  /** What happens without faults, under several schedules; to be asked first. */
  normal(): void {
    for (let seed = 0; seed < NORMAL; seed++) {
      const began = performance.now();
      const e = this.inject.normal(this.#race({ seed, beside: false }));
      if (e.bug + e.hung !== '') throw new HypervisorBug(`without any fault: ${e.bug}${e.hung}`);
      // Threads are slow the first times.
      this.#normalMs = performance.now() - began;
    }
  }

  /** Occurrences of each site in a run in which nothing fails: `watched` are looked for, the others as they come. */
  points(watched: readonly FaultSpec[]): Execution {
    return this.inject.execute(watched, this.#race({ seed: 0, beside: false }));
  }

  execute(specs: readonly FaultSpec[], how: How): { readonly e: Execution; readonly seen: Seen } {
    this.#seen = nothing();
    const e = this.inject.execute(specs, this.#race(how));
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
    const { seed, beside } = how;
    const delays = Array.from({ length: this.inject.machine.sides.length }, (_, i) =>
      Math.floor(2 ** (((mix(seed, 20 + i) % 1000) / 1000) * MAX_DELAY_BITS)),
    );
    const destroy = how.destroy && { domid: how.destroy.domid, afterMs: how.destroy.part * this.#normalMs };
    const still = (): void => {
      this.#lookAtZombies();
    };
    return () => threads.race({ delays, beside, destroy, still }, this.#seen);
  }

  #coroutines({ seed, beside }: How): Race {
    const slice = SLICES[mix(seed, 4) % SLICES.length] as number;
    const picker = (): Picker => {
      if (slice < 0) return pct(mix(seed, 5), 1 - slice, LENGTH);
      return slice === 0 ? randomWalk(mix(seed, 5)) : roundRobin(slice);
    };
    const comes = beside && this.#controlFree;
    const body = (side: Side): (() => Steps<void>) => {
      if (side.cpu === CONTROL) return side.body;
      const { machine } = this.inject;
      const { domid } = machine.placeOf(side);
      return () => mourned(side, domid, comes ? mix(seed, 8) % 2 : NEVER, machine, this.#seen);
    };
    return { picker, body };
  }
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
