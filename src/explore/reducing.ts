/**
 * What both reducing strategies share: the depth-first stack beside the history of its steps.
 *
 * Invariant: when a node is made the history holds every step before it; a step is added once it is over, since only
 * then it is known whether it went to sleep.
 */
import { DepthFirst } from './depth-first.js';
import { Footprint, History } from './history.js';
import { Nondeterminism, type View } from './strategy.js';
import { POINT_BLOCKED } from '../sync/schedule.js';

export abstract class Reducing extends DepthFirst {
  protected readonly history = new History();
  protected view!: View;
  /** The step under way, as declared. */
  readonly #step = new Footprint();
  #kind = 0;

  override begin(view: View): void {
    super.begin(view);
    this.view = view;
    this.history.begin(view.actors);
  }

  override pick(view: View, running: number): number {
    const d = this.depth;
    const { history } = this;
    if (d > 0 && history.count === d - 1) this.#over(d - 1);
    const next = super.pick(view, running);
    if (next < 0) return next;
    if (history.count === d) {
      this.#step.pending(view, next);
      this.#kind = view.kind[next]!;
    } else if (history.address[d] !== view.address[next]) {
      throw new Nondeterminism(`step ${d + 1} touches word ${view.address[next]!}, and touched ${history.address[d]!}`);
    }
    return next;
  }

  #over(d: number): void {
    const i = this.chosen[d]!;
    const slept = (this.view.kind[i]! & ~this.#kind & POINT_BLOCKED) !== 0;
    this.#step.settle(this.#kind, slept);
    this.settled(i, this.#step, (this.#kind & POINT_BLOCKED) !== 0);
  }

  /** A step of actor `i` is over; adds it to the history. `woke`: it was the step of a sleeper. */
  protected abstract settled(i: number, step: Footprint, woke: boolean): void;

  override next(): boolean {
    if (this.history.count === this.depth - 1) this.#over(this.depth - 1);
    if (this.history.count === this.depth) this.ended();
    return super.next();
  }

  /** The execution is over, and every step of it is in the history. */
  protected abstract ended(): void;

  protected override cut(d: number): void {
    this.history.truncate(d);
  }
}
