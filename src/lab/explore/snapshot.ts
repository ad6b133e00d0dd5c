/**
 * The boot snapshot of a machine under exploration: taken once, put back before every execution.
 *
 * Invariant: after `restore` every word is what it was at the snapshot; a test compares the whole memory. Only chunks
 * that the ops logged are looked at, and the ranges that are written past the ops (`unlogged`).
 * Lock: none; one thread.
 */
import {
  clearDirty,
  dirtyChunks,
  dirtyCount,
  dirtyOverflow,
  DIRTY_SHIFT,
  DIRTY_WORDS,
  isDirty,
} from '../../ops/dirty.js';
import { TOTAL_WORDS, words } from '../../ops/memory.js';
import { BUILD } from '../../sync/primitives.js';

/** Words from `from` on. */
export interface Range {
  readonly from: number;
  readonly words: number;
}

/** The parallel build's ops write no log. */
const build: string = BUILD;
const UNLOGGED = build !== 'controlled';

/** Number of the snapshot whose machine is in the memory: another one's is put back whole. */
let present = 0;
let made = 0;

export class Snapshot {
  readonly #id: number;
  readonly #base: Int32Array;
  readonly #unlogged: readonly Range[];
  readonly volatile: readonly Range[];

  /** Of the memory as it is now. `volatile` words are dead at rest: they count for no fingerprint; `unlogged` are whole chunks. */
  constructor(unlogged: readonly Range[], volatile: readonly Range[]) {
    this.#base = new Int32Array(TOTAL_WORDS);
    this.#base.set(words);
    this.#unlogged = unlogged;
    this.volatile = volatile;
    this.#id = ++made;
    present = this.#id;
    clearDirty();
  }

  restore(): void {
    const base = this.#base;
    if (UNLOGGED || dirtyOverflow() || present !== this.#id) words.set(base);
    else {
      const n = dirtyCount();
      for (let i = 0; i < n; i++) {
        const from = (dirtyChunks[i] as number) << DIRTY_SHIFT;
        for (let a = from; a < from + DIRTY_WORDS; a++) words[a] = base[a] as number;
      }
      for (const r of this.#unlogged) for (let a = r.from; a < r.from + r.words; a++) words[a] = base[a] as number;
    }
    present = this.#id;
    clearDirty();
  }

  /**
   * A number that two states share only if they are equal, as far as 53 bits can tell: the sum over all words that differ
   * from the snapshot, so it does not depend on the order of the log. Volatile words are put back first: nobody who asks
   * afterwards can depend on them.
   */
  fingerprint(): number {
    for (const r of this.volatile) {
      for (let a = r.from; a < r.from + r.words; a++) words[a] = this.#base[a] as number;
    }
    const n = dirtyCount();
    const sum = new Sum(this.#base);
    if (dirtyOverflow()) sum.range(0, TOTAL_WORDS);
    else {
      for (let i = 0; i < n; i++) sum.range((dirtyChunks[i] as number) << DIRTY_SHIFT, DIRTY_WORDS);
      for (const r of this.#unlogged) this.#addUnlogged(sum, r);
    }
    return sum.value();
  }

  /** Chunks of words that are written past the log, but for those that it has. */
  #addUnlogged(sum: Sum, r: Range): void {
    for (let a = r.from; a < r.from + r.words; a += DIRTY_WORDS) if (!isDirty(a)) sum.range(a, DIRTY_WORDS);
  }

  /** Addresses that differ from the snapshot, found by comparing everything. */
  differences(): number[] {
    const out: number[] = [];
    for (let a = 0; a < TOTAL_WORDS; a++) if (words[a] !== this.#base[a]) out.push(a);
    return out;
  }
}

/** Adds up two independent hashes of (address, value) for every word that differs from `base`. */
class Sum {
  #one = 0;
  #two = 0;
  readonly #base: Int32Array;

  constructor(base: Int32Array) {
    this.#base = base;
  }

  range(from: number, n: number): void {
    for (let a = from; a < from + n; a++) {
      const v = words[a] as number;
      if (v === this.#base[a]) continue;
      let h = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(v, 0xc2b2ae35);
      h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
      h ^= h >>> 13;
      this.#one = (this.#one + h) | 0;
      this.#two = (this.#two + Math.imul(h ^ a, 0x297a2d39)) | 0;
    }
  }

  value(): number {
    return (this.#one >>> 0) * 0x200000 + (this.#two >>> 11);
  }
}
