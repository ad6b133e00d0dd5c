/**
 * Exhaustive search without reduction: every schedule, or every one with at most so many preemptions.
 *
 * The oracle of the reducing strategies, and for programs of a few steps. A preemption is a switch away from an actor that
 * could have gone on; switches at a wait or an end are free (Musuvathi, Qadeer, Iterative Context Bounding, PLDI 2007).
 */
import { DepthFirst, longer, lowestBit } from './depth-first.js';
import { READY, type View } from './strategy.js';

export class Exhaustive extends DepthFirst {
  readonly covers: string;
  readonly #most: number;
  /** Preemptions before each node. */
  #spent = new Int32Array(256);

  constructor(preemptions = Infinity) {
    super();
    this.#most = preemptions;
    this.covers = preemptions === Infinity ? 'every schedule' : `every schedule of at most ${preemptions} preemptions`;
  }

  protected arrive(d: number, view: View, running: number): number {
    const could = d > 0 && view.state[running] === READY;
    const spent = d === 0 ? 0 : this.#spent[d - 1]! + this.#cost(d - 1, this.chosen[d - 1]!);
    this.#spent[d] = spent;
    this.backtrack[d] = could && spent >= this.#most ? 1 << running : this.enabled[d]!;
    return view.state[running] === READY ? running : lowestBit(this.enabled[d]!);
  }

  /** 1 when `next` preempts at node `d`. */
  #cost(d: number, next: number): number {
    if (d === 0) return 0;
    const before = this.chosen[d - 1]!;
    return before !== next && (this.enabled[d]! & (1 << before)) !== 0 ? 1 : 0;
  }

  protected override level(d: number, actor: number): number {
    return this.#most === Infinity ? -1 : Math.max(0, this.#most - this.#spent[d]! - this.#cost(d, actor));
  }

  protected override grow(): void {
    super.grow();
    this.#spent = longer(this.#spent, this.chosen.length);
  }

  override load(saved: unknown): void {
    super.load(saved);
    for (let d = 0; d < this.length; d++)
      this.#spent[d] = d === 0 ? 0 : this.#spent[d - 1]! + this.#cost(d - 1, this.chosen[d - 1]!);
  }
}

/** Every schedule, of at most `preemptions` of them if given. */
export const exhaustive = (preemptions?: number): Exhaustive => new Exhaustive(preemptions);
