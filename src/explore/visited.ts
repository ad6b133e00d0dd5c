/**
 * Nodes whose subtrees are behind the search: by what had happened (prefix.ts), with the preemptions that were left there.
 *
 * With each goes what its subtree asked of the nodes above it (escapes.ts): conflicts, and the actors that were to be tried
 * where the node's run of steps began.
 * Invariant: an entry is complete: the subtree below was searched to its end. When the table is full it is emptied.
 */
import type { Escapes } from './escapes.js';

const MOST = 1 << 19;
const MOST_CONFLICTS = 1 << 22;
/** Fields of an entry. */
const FIELDS = 6;
const LOW = 0;
const HIGH = 1;
/** Preemptions left + 1; 0: the slot is empty. */
const LEFT = 2;
const FROM = 3;
const COUNT = 4;
const RUNS = 5;

export class Visited {
  #slots = 1 << 8;
  #table = new Int32Array(this.#slots * FIELDS);
  #conflicts = new Float64Array(256);
  #used = 0;
  #size = 0;

  /** Where the entry with this number is or would be. */
  #at(low: number, high: number): number {
    const t = this.#table;
    for (let s = low ^ (high >>> 7); ; s++) {
      const at = (s & (this.#slots - 1)) * FIELDS;
      if (t[at + LEFT] === 0 || (t[at + LOW] === low && t[at + HIGH] === high)) return at;
    }
  }

  /** The entry with this number and at least `left` preemptions left, or -1. */
  find(low: number, high: number, left: number): number {
    const at = this.#at(low, high);
    return this.#table[at + LEFT]! > left ? at : -1;
  }

  conflicts(entry: number): Float64Array {
    const from = this.#table[entry + FROM]!;
    return this.#conflicts.subarray(from, from + this.#table[entry + COUNT]!);
  }

  /** Actors that were to be tried where the run of steps began that goes on at the node, as a mask. */
  runs(entry: number): number {
    return this.#table[entry + RUNS]!;
  }

  /** Adds what the subtree of node `d`, just over, asked, or puts it in the place of a search with fewer preemptions left. */
  add(low: number, high: number, left: number, d: number, escapes: Escapes): void {
    if (this.#size >= MOST || this.#used >= MOST_CONFLICTS) this.#clear();
    if (2 * this.#size >= this.#slots) this.#grow();
    const at = this.#at(low, high);
    const t = this.#table;
    if (t[at + LEFT] === 0) this.#size++;
    t[at + LOW] = low;
    t[at + HIGH] = high;
    t[at + LEFT] = left + 1;
    t[at + FROM] = this.#used;
    t[at + RUNS] = escapes.of(d, this.#note);
    t[at + COUNT] = this.#used - t[at + FROM]!;
  }

  readonly #note = (what: number): void => {
    if (this.#used === this.#conflicts.length) {
      const more = new Float64Array(2 * this.#used);
      more.set(this.#conflicts);
      this.#conflicts = more;
    }
    this.#conflicts[this.#used++] = what;
  };

  #clear(): void {
    this.#table.fill(0);
    this.#size = this.#used = 0;
  }

  #grow(): void {
    const old = this.#table;
    this.#slots *= 2;
    this.#table = new Int32Array(this.#slots * FIELDS);
    for (let from = 0; from < old.length; from += FIELDS) {
      if (old[from + LEFT] === 0) continue;
      this.#table.set(old.subarray(from, from + FIELDS), this.#at(old[from + LOW]!, old[from + HIGH]!));
    }
  }
}
