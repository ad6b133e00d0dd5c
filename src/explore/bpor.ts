/**
 * Bounded partial-order reduction: every outcome that schedules of at most so many preemptions have, with fewer of them.
 *
 * Where a step conflicts with an earlier one, its actor is to be tried there, and also where the run of steps began in
 * which the earlier one lies: a switch there costs no more than the one that was made, while a switch at the conflict may
 * be over the bound. No sleep sets, and no pruning by what happened before: under a bound the schedule that would make
 * another one superfluous may itself be out of bounds.
 * Source: Coons, Musuvathi, McKinley, Bounded Partial-Order Reduction, OOPSLA 2013.
 */
import { longer, lowestBit } from './depth-first.js';
import { Footprint } from './history.js';
import { Reducing } from './reducing.js';
import { ENDED, READY, type View } from './strategy.js';

export class Bpor extends Reducing {
  readonly covers: string;
  readonly #most: number;
  /** Preemptions before each node, and the node at which its run of one actor's steps began. */
  #spent = new Int32Array(256);
  #clock = new Int32Array(0);
  readonly #other = new Footprint();

  constructor(preemptions: number) {
    super();
    this.#most = preemptions;
    this.covers = `every outcome of schedules of at most ${preemptions} preemptions`;
  }

  override begin(view: View): void {
    super.begin(view);
    if (this.#clock.length !== view.actors) this.#clock = new Int32Array(view.actors);
  }

  protected arrive(d: number, view: View, running: number): number {
    this.#spent[d] = d === 0 ? 0 : this.#spent[d - 1]! + this.#cost(d - 1, this.chosen[d - 1]!);
    const next = view.state[running] === READY ? running : lowestBit(this.enabled[d]!);
    this.todo[d] = 1 << next;
    return next;
  }

  /** 1 when `next` preempts at node `d`. */
  #cost(d: number, next: number): number {
    if (d === 0) return 0;
    const before = this.chosen[d - 1]!;
    return before !== next && (this.enabled[d]! & (1 << before)) !== 0 ? 1 : 0;
  }

  protected override level(d: number, actor: number): number {
    return Math.max(0, this.#most - this.#spent[d]! - this.#cost(d, actor));
  }

  /** Who is still to be tried and may be: at the bound only the one that ran, unless it cannot go on. */
  protected override left(d: number): number {
    const left = super.left(d);
    if (d === 0 || this.#spent[d]! < this.#most) return left;
    const ran = 1 << this.chosen[d - 1]!;
    return (this.enabled[d]! & ran) !== 0 ? left & ran : left;
  }

  /**
   * A next step is looked at against all before it when it becomes its actor's next one, and against each that comes
   * until it is taken, so nothing is left to do for the step that was taken but to meet the others' next ones.
   */
  protected settled(i: number, step: Footprint): void {
    const d = this.history.count;
    this.history.push(i, step, this.#clock);
    for (let p = 0; p < this.actors; p++) {
      if (this.view.state[p] === ENDED) continue;
      const next = this.#other.pending(this.view, p);
      if (p === i) this.#conflicts(i, next);
      else if (this.history.conflicts(d, next)) this.#backtrack(d, p);
    }
  }

  protected ended(): void {
    return;
  }

  /** The latest conflict of a step of `p` with each other actor's steps. */
  #conflicts(p: number, step: Footprint): void {
    for (let q = 0; q < this.actors; q++) {
      if (q === p) continue;
      const e = this.history.latest(q, step, 0);
      if (e >= 0) this.#backtrack(e, p);
    }
  }

  #backtrack(e: number, p: number): void {
    this.#add(e, p);
    let start = e;
    while (start > 0 && this.chosen[start - 1] === this.chosen[e]) start--;
    if (start !== e) this.#add(start, p);
  }

  #add(d: number, p: number): void {
    const able = this.enabled[d]!;
    this.todo[d]! |= (able & (1 << p)) !== 0 ? 1 << p : able;
  }

  protected override grow(): void {
    super.grow();
    this.#spent = longer(this.#spent, this.chosen.length);
  }

  override load(saved: unknown): void {
    super.load(saved);
    for (let d = 0; d < this.length; d++) {
      this.#spent[d] = d === 0 ? 0 : this.#spent[d - 1]! + this.#cost(d - 1, this.chosen[d - 1]!);
    }
  }
}

/** The outcomes of at most `preemptions`. */
export const bpor = (preemptions: number): Bpor => new Bpor(preemptions);
