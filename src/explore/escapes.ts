/**
 * What subtrees under way have asked of the nodes above them: `visited.ts` keeps it once they are over.
 *
 * A note says that something found after so many steps (its depth) has to be tried at an earlier node, `step`: it concerns
 * the nodes between the two, whose subtrees it lies in and which it is above. It is about a conflict (a step that `p` may take
 * next met one of `q`), or about the beginning of a run of steps that lasted until some node.
 * Invariant: notes are in the order of their depths; those of nodes that are over are handed on to the node above them.
 */
import { longer } from './depth-first.js';
import type { Footprint } from './history.js';

const MOST_WORDS = 65_536;
/** Own request words that one actor may have; the first stands for none. */
const OWNS = 8;

export class Escapes {
  #depth = new Int32Array(256);
  #step = new Int32Array(256);
  #until = new Int32Array(256);
  #what = new Float64Array(256);
  #count = 0;
  /** Notes of nodes that are over: where each stands, and below that the notes themselves. */
  readonly #index = new Map<number, number>();
  #overStep: number[] = [];
  #overUntil: number[] = [];
  #overWhat: number[] = [];
  #owns: number[][] = [];
  #actors = 0;

  begin(actors: number): void {
    if (actors === this.#actors) return;
    this.#actors = actors;
    this.#owns = Array.from({ length: actors }, () => [-1]);
    this.#count = 0;
  }

  /** A number for a step of `p` with this footprint, not taken yet, that met one of `q`. */
  conflict(p: number, f: Footprint, q: number): number {
    const owns = this.#owns[p]!;
    let own = owns.indexOf(f.own);
    if (own < 0) own = owns.push(f.own) - 1;
    if (own >= OWNS || f.words >= MOST_WORDS) throw new RangeError(`a step of ${f.words} words, own word ${own}`);
    const who = (p * this.#actors + q) * OWNS + own;
    return ((f.address * MOST_WORDS + f.words) * 2 + (f.writes ? 1 : 0)) * this.#actors * this.#actors * OWNS + who;
  }

  /** The other way: sets `f`; answers p * actors + q. */
  footprint(what: number, f: Footprint): number {
    const each = this.#actors * this.#actors * OWNS;
    let rest = Math.floor(what / each);
    const who = what - rest * each;
    const pair = Math.floor(who / OWNS);
    f.own = this.#owns[Math.floor(pair / this.#actors)]![who % OWNS]!;
    f.ownWrites = true;
    f.writes = rest % 2 === 1;
    rest = Math.floor(rest / 2);
    f.words = rest % MOST_WORDS;
    f.address = Math.floor(rest / MOST_WORDS);
    return pair;
  }

  /** A conflict found after step `depth` is to be tried at `step`. */
  note(depth: number, step: number, what: number): void {
    if (step < depth) this.#add(depth, step, depth, what);
  }

  /** Found after step `depth`: actor `p` is to be tried at `start`, where the run of steps began that went on to `until`. */
  noteRun(depth: number, start: number, until: number, p: number): void {
    if (start < until) this.#add(depth, start, until, -1 - p);
  }

  #add(depth: number, step: number, until: number, what: number): void {
    const k = this.#count++;
    if (k === this.#depth.length) {
      this.#depth = longer(this.#depth, 2 * k);
      this.#step = longer(this.#step, 2 * k);
      this.#until = longer(this.#until, 2 * k);
      const whats = new Float64Array(2 * k);
      whats.set(this.#what);
      this.#what = whats;
    }
    this.#depth[k] = depth;
    this.#step[k] = step;
    this.#until[k] = until;
    this.#what[k] = what;
  }

  /** Node `d` is over, as are all below it; then `of` has what its subtree asked. */
  over(d: number): void {
    while (this.#count > 0 && this.#depth[this.#count - 1]! >= d) {
      const k = --this.#count;
      this.#keep(this.#step[k]!, this.#what[k]! < 0 ? this.#until[k]! : d, this.#what[k]!);
    }
  }

  #keep(step: number, until: number, what: number): void {
    const at = this.#index.get(what);
    if (at === undefined) {
      this.#index.set(what, this.#overWhat.length);
      this.#overStep.push(step);
      this.#overUntil.push(until);
      this.#overWhat.push(what);
    } else {
      if (step < this.#overStep[at]!) this.#overStep[at] = step;
      if (until > this.#overUntil[at]!) this.#overUntil[at] = until;
    }
  }

  /** Tells what the subtree of node `d`, just over, asked of nodes above: conflicts, and (as a mask) for its run's beginning. */
  of(d: number, conflict: (what: number) => void): number {
    let runs = 0;
    for (let k = 0; k < this.#overWhat.length; k++) {
      if (this.#overStep[k]! >= d) continue;
      const what = this.#overWhat[k]!;
      if (what >= 0) conflict(what);
      else if (d <= this.#overUntil[k]!) runs |= 1 << (-1 - what);
    }
    return runs;
  }

  /** The search goes on below node `d`: hands on to it what those that are over asked of nodes above it. */
  handOn(d: number): void {
    for (let k = 0; k < this.#overWhat.length; k++) {
      const step = this.#overStep[k]!;
      const what = this.#overWhat[k]!;
      if (step < d) this.#add(d, step, what < 0 ? this.#overUntil[k]! : d, what);
    }
    this.#index.clear();
    this.#overStep.length = this.#overUntil.length = this.#overWhat.length = 0;
  }
}
