/**
 * The steps of the execution under way, and which earlier ones a step conflicts with.
 *
 * Invariant: step e of the history is what node e of the search took; `truncate` forgets from the end only. A step's
 * clock holds, per actor, how many of its steps happened before it, itself included, in the order of conflicting steps.
 * What conflicts: two steps of different actors that touch a common word, one of them writing. Beside what it declares, a
 * step that goes to sleep or wakes up writes the own request word (REQ_WAITS), and a look that does not sleep reads it, as
 * does a step that stores another word and then looks.
 * A step of many words is filed under each chunk of 32 words it touches, by actor, so that the latest conflict is near.
 */
import { POINT_BLOCKED, POINT_LOCK, POINT_WAIT, POINT_WRITE } from '../sync/schedule.js';
import { longer } from './depth-first.js';
import type { View } from './strategy.js';

/** Steps that may go to sleep, or wake up. */
const SLEEPS = POINT_BLOCKED | POINT_LOCK | POINT_WAIT;
const CHUNK_BITS = 5;
const NONE = -1;

/** What one step touches. */
export class Footprint {
  address = 0;
  words = 0;
  writes = false;
  /** The own request word, or -1, and whether it is written. */
  own = NONE;
  ownWrites = false;

  /** The step of actor `i` that the view shows, not taken yet: it may still go to sleep. */
  pending(view: View, i: number): this {
    this.address = view.address[i]!;
    this.words = view.words[i]!;
    this.writes = (view.kind[i]! & POINT_WRITE) !== 0;
    this.own = view.own[i]!;
    this.ownWrites = (view.kind[i]! & SLEEPS) !== 0;
    return this;
  }

  /** A step declared as `kind` that was taken; `slept`: it was a look, and its actor sleeps now. */
  settle(kind: number, slept: boolean): void {
    if (slept) {
      this.writes = false;
    } else if ((kind & POINT_BLOCKED) === 0 && this.own !== NONE) {
      // A lock that was free is taken without a look at the requests; a wait that does not sleep has read them.
      if ((kind & POINT_LOCK) !== 0) this.own = NONE;
      else this.ownWrites = false;
    }
  }
}

export class History {
  count = 0;
  actors = 0;
  actor = new Uint8Array(256);
  address = new Int32Array(256);
  words = new Int32Array(256);
  /** Bit 0: writes; bit 1: writes its own request word. */
  flags = new Uint8Array(256);
  own = new Int32Array(256);
  /** The how manieth step of its actor it is, from 1. */
  nth = new Int32Array(256);
  clock = new Int32Array(256);
  /** Steps of each actor, in order; valid below `taken`. */
  readonly steps: Int32Array[] = [];
  readonly taken: number[] = [];
  /** Row of each chunk in `#heads`. */
  readonly #rows = new Map<number, number>();
  /** Latest link of (row, actor), or -1. */
  #heads = new Int32Array(1024).fill(NONE);
  #linkStep = new Int32Array(1024);
  #linkBefore = new Int32Array(1024);
  #linkHead = new Int32Array(1024);
  #links = 0;

  begin(actors: number): void {
    if (actors === this.actors) return;
    this.truncate(0);
    this.actors = actors;
    this.clock = new Int32Array(this.actor.length * actors);
    this.#rows.clear();
    this.#heads.fill(NONE);
    for (let i = 0; i < actors; i++) {
      this.steps[i] ??= new Int32Array(64);
      this.taken[i] = 0;
    }
  }

  /** The last step of `i`, or -1. */
  last(i: number): number {
    const n = this.taken[i]!;
    return n === 0 ? NONE : this.steps[i]![n - 1]!;
  }

  /** The first step of `i` after step `e`, or -1. */
  firstAfter(i: number, e: number): number {
    const steps = this.steps[i]!;
    let low = 0;
    let high = this.taken[i]!;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (steps[middle]! > e) high = middle;
      else low = middle + 1;
    }
    return low === this.taken[i] ? NONE : steps[low]!;
  }

  /** Whether step `e` is at or before step `f`, in the order of conflicts. */
  before(e: number, f: number): boolean {
    return this.clock[f * this.actors + this.actor[e]!]! >= this.nth[e]!;
  }

  /** Adds a step of `i`, with what it touched and its clock but for its own count. */
  push(i: number, f: Footprint, clock: Int32Array): void {
    const e = this.count;
    if (e === this.actor.length) this.#grow();
    this.actor[e] = i;
    this.address[e] = f.address;
    this.words[e] = f.words;
    this.flags[e] = (f.writes ? 1 : 0) | (f.ownWrites ? 2 : 0);
    this.own[e] = f.own;
    const n = this.taken[i]!;
    let steps = this.steps[i]!;
    if (n === steps.length) this.steps[i] = steps = longer(steps, 2 * n);
    steps[n] = e;
    this.taken[i] = this.nth[e] = n + 1;
    clock[i] = n + 1;
    this.clock.set(clock, e * this.actors);
    this.count++;
    this.#file(e, i, f.address, f.words);
    if (f.own !== NONE) this.#file(e, i, f.own, 1);
  }

  /** Forgets step `n` and all after it. */
  truncate(n: number): void {
    if (n >= this.count) return;
    while (this.#links > 0 && this.#linkStep[this.#links - 1]! >= n) {
      const l = --this.#links;
      this.#heads[this.#linkHead[l]!] = this.#linkBefore[l]!;
    }
    for (let e = this.count - 1; e >= n; e--) this.taken[this.actor[e]!]!--;
    this.count = n;
  }

  /** Whether step `e` conflicts with `f`, a step of another actor. */
  conflicts(e: number, f: Footprint): boolean {
    const flags = this.flags[e]!;
    const a = this.address[e]!;
    const end = a + this.words[e]!;
    const writes = (flags & 1) !== 0;
    if ((writes || f.writes) && a < f.address + f.words && f.address < end) return true;
    if (f.own !== NONE && (writes || f.ownWrites) && a <= f.own && f.own < end) return true;
    const own = this.own[e]!;
    if (own === NONE) return false;
    const ownWrites = (flags & 2) !== 0;
    if ((ownWrites || f.writes) && f.address <= own && own < f.address + f.words) return true;
    return own === f.own && (ownWrites || f.ownWrites);
  }

  /** The latest step of `r` that conflicts with `f`, after its `floor`th one, or -1. */
  latest(r: number, f: Footprint, floor: number): number {
    if (this.taken[r]! <= floor) return NONE;
    let best = NONE;
    const last = (f.address + f.words - 1) >>> CHUNK_BITS;
    for (let c = f.address >>> CHUNK_BITS; c <= last; c++) best = this.#latestIn(c, r, f, floor, best);
    if (f.own !== NONE) best = this.#latestIn(f.own >>> CHUNK_BITS, r, f, floor, best);
    return best;
  }

  #latestIn(chunk: number, r: number, f: Footprint, floor: number, best: number): number {
    const row = this.#rows.get(chunk);
    if (row === undefined) return best;
    for (let l = this.#heads[row * this.actors + r]!; l >= 0; l = this.#linkBefore[l]!) {
      const e = this.#linkStep[l]!;
      if (e <= best || this.nth[e]! <= floor) break;
      if (this.conflicts(e, f)) return e;
    }
    return best;
  }

  #file(e: number, i: number, a: number, n: number): void {
    const last = (a + n - 1) >>> CHUNK_BITS;
    for (let c = a >>> CHUNK_BITS; c <= last; c++) {
      const head = this.#row(c) * this.actors + i;
      const l = this.#links++;
      if (l === this.#linkStep.length) this.#growLinks();
      this.#linkStep[l] = e;
      this.#linkBefore[l] = this.#heads[head]!;
      this.#linkHead[l] = head;
      this.#heads[head] = l;
    }
  }

  #row(chunk: number): number {
    let row = this.#rows.get(chunk);
    if (row !== undefined) return row;
    row = this.#rows.size;
    this.#rows.set(chunk, row);
    const size = this.#heads.length;
    if ((row + 1) * this.actors > size) this.#heads = longer(this.#heads, 2 * size).fill(NONE, size);
    return row;
  }

  #growLinks(): void {
    const more = 2 * this.#linkStep.length;
    this.#linkStep = longer(this.#linkStep, more);
    this.#linkBefore = longer(this.#linkBefore, more);
    this.#linkHead = longer(this.#linkHead, more);
  }

  #grow(): void {
    const more = 2 * this.actor.length;
    const bytes = (a: Uint8Array): Uint8Array<ArrayBuffer> => {
      const b = new Uint8Array(more);
      b.set(a);
      return b;
    };
    this.actor = bytes(this.actor);
    this.flags = bytes(this.flags);
    this.address = longer(this.address, more);
    this.words = longer(this.words, more);
    this.own = longer(this.own, more);
    this.nth = longer(this.nth, more);
    this.clock = longer(this.clock, more * this.actors);
  }
}
