/**
 * The stack of a depth-first search over schedules: the nodes of the execution under way, each with the actors that were
 * tried there and that are to be tried, and the choices between them.
 *
 * Invariant: below `length`, `chosen` is what the next execution takes; a choice with `at` = k was asked when k nodes had
 * been picked, so it lies above node k and below node k-1. Whoever is on the stack was enabled there.
 * Actors are bits of a mask, at most 31.
 */
import { TreeSize } from './tree-size.js';
import { Nondeterminism, READY, readyMask, type Strategy, type View } from './strategy.js';

/** A choice on the stack. */
interface ChoiceNode {
  readonly at: number;
  readonly n: number;
  value: number;
}

export interface SavedStack {
  readonly chosen: readonly number[];
  readonly enabled: readonly number[];
  readonly backtrack: readonly number[];
  readonly done: readonly number[];
  readonly choices: readonly { at: number; n: number; value: number }[];
}

const MOST_ACTORS = 31;
export const lowestBit = (mask: number): number => 31 - Math.clz32(mask & -mask);

export function bits(mask: number): number {
  let n = 0;
  for (let m = mask; m !== 0; m &= m - 1) n++;
  return n;
}

export abstract class DepthFirst implements Strategy {
  abstract readonly covers: string;
  protected actors = 0;
  /** Nodes on the stack, and nodes picked in this execution. */
  protected length = 0;
  protected depth = 0;
  protected chosen = new Uint8Array(256);
  protected enabled = new Int32Array(256);
  /** Actors to be tried at a node, tried ones included. */
  protected backtrack = new Int32Array(256);
  /** Actors that need not be tried (again) at a node; the one being tried is not among them. */
  protected done = new Int32Array(256);
  #choices: ChoiceNode[] = [];
  #asked = 0;
  /** Executions that are over, and steps of the last one. */
  #executions = 0;
  #steps = 0;
  /** `#executions` when the alternative being tried at a node was begun, -1 when that is not known. */
  #begun = new Int32Array(256);
  readonly #sizes = new TreeSize();

  begin(view: View): void {
    if (view.actors > MOST_ACTORS) throw new RangeError(`an exhaustive search has at most ${MOST_ACTORS} actors`);
    this.actors = view.actors;
    this.depth = 0;
    this.#asked = 0;
  }

  pick(view: View, running: number): number {
    const d = this.depth++;
    if (d < this.length) {
      const next = this.chosen[d]!;
      if (view.state[next] !== READY)
        throw new Nondeterminism(`actor ${next} was ready at step ${d + 1}, and is not now`);
      return next;
    }
    if (d === this.chosen.length) this.grow();
    this.enabled[d] = readyMask(view);
    this.done[d] = 0;
    this.#begun[d] = this.#executions;
    const next = this.arrive(d, view, running);
    if (next >= 0) {
      this.chosen[d] = next;
      this.length = d + 1;
    } else this.depth--;
    return next;
  }

  /** A new node: sets `backtrack` (and `done`) and answers who goes first, or ABANDON. */
  protected abstract arrive(d: number, view: View, running: number): number;

  choose(_view: View, _actor: number, _what: number, n: number): number {
    const node = this.#choices[this.#asked];
    if (node !== undefined) {
      this.#asked++;
      if (node.n !== n || node.at !== this.depth)
        throw new Nondeterminism(`another choice was asked for at step ${this.depth}`);
      return node.value;
    }
    this.#choices[this.#asked++] = { at: this.depth, n, value: 0 };
    return 0;
  }

  /** Takes the deepest alternative that is left; what lies above it is forgotten. */
  next(): boolean {
    if (this.depth < this.length || this.#asked < this.#choices.length) {
      throw new Nondeterminism(`the execution ended at step ${this.depth}, and went on there before`);
    }
    this.#executions++;
    this.#steps = this.depth;
    for (;;) {
      const choice = this.#choices.at(-1);
      if (choice !== undefined && choice.at >= this.length) {
        if (++choice.value < choice.n) {
          this.cut(Math.max(0, choice.at - 1));
          return true;
        }
        this.#choices.pop();
        continue;
      }
      const d = this.length - 1;
      if (d < 0) return false;
      this.#learn(d);
      this.done[d]! |= 1 << this.chosen[d]!;
      const left = this.left(d);
      if (left !== 0) {
        this.chosen[d] = lowestBit(left);
        this.#begun[d] = this.#executions;
        this.cut(d);
        return true;
      }
      this.over(d);
      this.length = d;
    }
  }

  /** Nothing is left to be tried at node `d`, nor below it. */
  protected over(_d: number): void {
    return;
  }

  /** What the machine chose in the step after which `at` nodes had been picked; 0 when it was asked nothing. */
  protected choicesAt(at: number): number {
    let sum = 0;
    for (let k = this.#asked - 1; k >= 0 && this.#choices[k]!.at === at; k--)
      sum = sum * 31 + this.#choices[k]!.value + 1;
    return sum;
  }

  /** Preemptions that are left once `actor` has been tried at node `d`, under a bound; -1 without one. */
  protected level(_d: number, _actor: number): number {
    return -1;
  }

  /** The alternative being tried at node `d` has been tried. */
  #learn(d: number): void {
    const k = this.level(d, this.chosen[d]!);
    if (k >= 0 && this.#begun[d]! >= 0) this.#sizes.add(k, this.#steps - d, this.#executions - this.#begun[d]!);
  }

  /** Who is still to be tried at node `d`. */
  protected left(d: number): number {
    return this.backtrack[d]! & ~this.done[d]!;
  }

  /** What the steps from number `d` (0 is the first) on did is no longer what they did. */
  protected cut(_d: number): void {
    return;
  }

  protected grow(): void {
    const more = this.chosen.length * 2;
    const chosen = new Uint8Array(more);
    chosen.set(this.chosen);
    this.chosen = chosen;
    this.#begun = longer(this.#begun, more);
    this.enabled = longer(this.enabled, more);
    this.backtrack = longer(this.backtrack, more);
    this.done = longer(this.done, more);
  }

  explored(): number {
    return this.length > 0 && this.level(0, this.chosen[0]!) >= 0 ? this.#exploredByLevel() : this.#exploredByParts();
  }

  /** Under a bound alternatives differ much in size, and the sizes are learned. */
  #exploredByLevel(): number {
    let alternatives = 0;
    for (let d = 0; d < this.length; d++) alternatives += bits(this.backtrack[d]!) - 1;
    const density = Math.max(0.01, alternatives / Math.max(1, this.length));
    let rest = 0;
    for (let d = 0; d < this.length; d++) {
      for (let left = this.left(d) & ~(1 << this.chosen[d]!); left !== 0; left &= left - 1) {
        rest += this.#sizes.guess(this.level(d, lowestBit(left)), Math.max(1, this.#steps - d), density);
      }
    }
    return this.#executions / Math.max(1, this.#executions + rest);
  }

  /**
   * Each alternative of a node counts as an equal part of the node's: what is behind, from the root on.
   * Source: Kilby, Slaney, Thiébaux, Walsh, Estimating Search Tree Size, AAAI 2006 (after Knuth 1975).
   */
  #exploredByParts(): number {
    let sum = 0;
    let part = 1;
    let c = 0;
    for (let d = 0; d <= this.length; d++) {
      for (; this.#choices[c]?.at === d; c++) {
        const { value, n } = this.#choices[c]!;
        part /= n;
        sum += part * value;
      }
      if (d === this.length) break;
      const behind = bits(this.backtrack[d]! & this.done[d]!);
      part /= Math.max(1, behind + bits(this.left(d) | (1 << this.chosen[d]!)));
      sum += part * behind;
    }
    return Math.min(1, sum);
  }

  save(): SavedStack {
    const part = (a: Int32Array | Uint8Array): number[] => [...a.subarray(0, this.length)];
    return {
      chosen: part(this.chosen),
      enabled: part(this.enabled),
      backtrack: part(this.backtrack),
      done: part(this.done),
      choices: this.#choices.map((c) => ({ ...c })),
    };
  }

  load(saved: unknown): void {
    const s = saved as SavedStack;
    this.length = s.chosen.length;
    while (this.chosen.length <= this.length) this.grow();
    this.chosen.set(s.chosen);
    this.enabled.set(s.enabled);
    this.backtrack.set(s.backtrack);
    this.done.set(s.done);
    this.#choices = s.choices.map((c) => ({ ...c }));
    this.#begun.fill(-1, 0, this.length);
    this.cut(0);
  }
}

export function longer(a: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const b = new Int32Array(length);
  b.set(a);
  return b;
}
