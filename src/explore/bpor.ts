/**
 * Bounded partial-order reduction: every outcome that schedules of at most so many preemptions have, with fewer of them.
 *
 * Where a step conflicts with an earlier one, its actor is to be tried there, and also where the run of steps began in
 * which the earlier one lies: a switch there costs no more than the one that was made, while a switch at the conflict may
 * be over the bound. No sleep sets, and no pruning by what happened before: under a bound the schedule that would make
 * another one superfluous may itself be out of bounds.
 * A node where the same has happened as at one that is behind, with no more preemptions left, is not gone into again: its
 * subtree would be the same, and what that asked of the nodes above is asked of those above it now.
 * Source: Coons, Musuvathi, McKinley, Bounded Partial-Order Reduction, OOPSLA 2013; Musuvathi, Qadeer, PLDI 2007 (a table of
 * what has happened); Yang, Chen, Gopalakrishnan, Kirby, Efficient Stateful DPOR, SPIN 2008 (what a subtree asks for).
 */
import { longer, lowestBit } from './depth-first.js';
import { Escapes } from './escapes.js';
import { Footprint } from './history.js';
import { mix } from './mix.js';
import { Prefix } from './prefix.js';
import { Reducing } from './reducing.js';
import { ABANDON, ENDED, READY, type View } from './strategy.js';
import { Visited } from './visited.js';

/** Of so many nodes one is kept, by its number: prefixes that lead to the same meet a few steps later. A power of two. */
const ONE_OF = 8;

export class Bpor extends Reducing {
  readonly covers: string;
  readonly #most: number;
  readonly #oneOf: number;
  /** Preemptions before each node; the node at which the run of one actor's steps began that each step is in. */
  #spent = new Int32Array(256);
  #start = new Int32Array(256);
  #clock = new Int32Array(0);
  readonly #other = new Footprint();
  readonly #prefix = new Prefix();
  readonly #escapes = new Escapes();
  readonly #visited = new Visited();
  /** The number of each node in `#visited`; both 0 when it is not to be kept there. */
  #low = new Int32Array(256);
  #high = new Int32Array(256);

  /** What the machine chose before the first step. */
  #began = 0;

  constructor(preemptions: number, oneOf = ONE_OF) {
    super();
    this.#oneOf = oneOf;
    this.#most = preemptions;
    this.covers = `every outcome of schedules of at most ${preemptions} preemptions`;
  }

  override begin(view: View): void {
    super.begin(view);
    this.#prefix.begin(view.actors);
    this.#escapes.begin(view.actors);
    if (this.#clock.length !== view.actors) this.#clock = new Int32Array(view.actors);
  }

  protected arrive(d: number, view: View, running: number): number {
    this.#spent[d] = d === 0 ? 0 : this.#spent[d - 1]! + this.#cost(d - 1, this.chosen[d - 1]!);
    if (d === 0) this.#began = this.choicesAt(0);
    else if (this.#isBehind(d)) return ABANDON;
    const next = view.state[running] === READY ? running : lowestBit(this.enabled[d]!);
    this.backtrack[d] = 1 << next;
    return next;
  }

  /** Numbers node `d`; whether one like it is behind: then what that asked of the nodes above is asked again. */
  #isBehind(d: number): boolean {
    const { view } = this;
    let low = mix(this.#prefix.low, this.chosen[d - 1]!);
    let high = mix(this.#prefix.high, this.#began);
    for (let i = 0; i < this.actors; i++) {
      low = mix(low, view.address[i]! ^ (view.kind[i]! << 20));
      high = mix(high, view.address[i]! * 4 + view.state[i]!);
    }
    const kept = (low & (this.#oneOf - 1)) === 0;
    this.#low[d] = kept ? low : 0;
    this.#high[d] = kept ? high : 0;
    if (!kept) return false;
    const slot = this.#visited.find(low, high, this.#most - this.#spent[d]!);
    if (slot < 0) return false;
    const f = this.#other;
    for (const what of this.#visited.conflicts(slot)) {
      const pair = this.#escapes.footprint(what, f);
      const p = Math.floor(pair / this.actors);
      const e = this.history.latest(pair % this.actors, f, 0);
      if (e < 0) continue;
      this.#escapes.note(d - 1, e, what);
      this.#try(d - 1, e, p);
    }
    for (let left = this.#visited.runs(slot); left !== 0; left &= left - 1) this.#tryRun(d - 1, d - 1, lowestBit(left));
    return true;
  }

  protected override over(d: number): void {
    this.#escapes.over(d);
    if (this.#low[d] === 0 && this.#high[d] === 0) return;
    this.#visited.add(this.#low[d]!, this.#high[d]!, this.#most - this.#spent[d]!, d, this.#escapes);
  }

  protected override cut(d: number): void {
    super.cut(d);
    this.#prefix.truncate(d);
    this.#escapes.handOn(d);
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
    this.#prefix.push(i, step, this.choicesAt(d + 1));
    this.#start[d] = d > 0 && this.chosen[d - 1] === i ? this.#start[d - 1]! : d;
    for (let p = 0; p < this.actors; p++) {
      if (this.view.state[p] === ENDED) continue;
      const next = this.#other.pending(this.view, p);
      if (p === i) this.#conflicts(i, next);
      else if (this.history.conflicts(d, next)) this.#try(d, d, p);
    }
  }

  protected ended(): void {
    return;
  }

  /** The latest conflict of a step of `p` with each other actor's steps. */
  #conflicts(p: number, step: Footprint): void {
    const depth = this.history.count - 1;
    for (let q = 0; q < this.actors; q++) {
      if (q === p) continue;
      const e = this.history.latest(q, step, 0);
      if (e < 0) continue;
      this.#escapes.note(depth, e, this.#escapes.conflict(p, step, q));
      this.#try(depth, e, p);
    }
  }

  /** Found after step `depth`: `p` is to be tried at `e`, and where the run began that `e` lies in. */
  #try(depth: number, e: number, p: number): void {
    this.#add(e, p);
    this.#tryRun(depth, e, p);
  }

  #tryRun(depth: number, e: number, p: number): void {
    const start = this.#start[e]!;
    if (start === e) return;
    this.#add(start, p);
    this.#escapes.noteRun(depth, start, e, p);
  }

  #add(d: number, p: number): void {
    const able = this.enabled[d]!;
    this.backtrack[d]! |= (able & (1 << p)) !== 0 ? 1 << p : able;
  }

  protected override grow(): void {
    super.grow();
    this.#spent = longer(this.#spent, this.chosen.length);
    this.#start = longer(this.#start, this.chosen.length);
    this.#low = longer(this.#low, this.chosen.length);
    this.#high = longer(this.#high, this.chosen.length);
  }

  override load(saved: unknown): void {
    super.load(saved);
    for (let d = 0; d < this.length; d++) {
      this.#spent[d] = d === 0 ? 0 : this.#spent[d - 1]! + this.#cost(d - 1, this.chosen[d - 1]!);
      // What their subtrees asked before they were saved is not known.
      this.#low[d] = this.#high[d] = 0;
    }
  }
}

/** The outcomes of at most `preemptions`; of `oneOf` nodes one is kept, all of them with 1. */
export const bpor = (preemptions: number, oneOf?: number): Bpor => new Bpor(preemptions, oneOf);
