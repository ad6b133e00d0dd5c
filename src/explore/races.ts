/**
 * Data races: two accesses of a word by different actors, one of them a write, one of them plain, with nothing that orders
 * them.
 *
 * Plain is what carries neither POINT_ONCE nor POINT_ATOMIC nor a lock's or wait's bit. Those synchronise as JavaScript's
 * sequentially consistent atomics do: a read acquires what the write it reads from had seen, a write releases. A look at a
 * held lock takes nothing and only acquires.
 * Invariant: an epoch is clock * 32 + actor, 0 for none; the accesses of a word that matter are its last write and, per
 * actor, its last read since (one epoch while they are ordered). Clocks go on from execution to execution, each of which
 * begins above all that the ones before it reached: what they left in the pages is before everything and need not be cleared.
 * Source: Flanagan, Freund, FastTrack, PLDI 2009; ECMA-262 29 (synchronizes-with).
 */
import { TOTAL_WORDS } from '../ops/memory.js';
import {
  POINT_ATOMIC,
  POINT_LOCK,
  POINT_ONCE,
  POINT_POLL,
  POINT_READ,
  POINT_UNLOCK,
  POINT_WAIT,
  POINT_WRITE,
} from '../sync/schedule.js';
import type { Finding, Names } from './program.js';

const SYNCHRONISES = POINT_ATOMIC | POINT_LOCK | POINT_ONCE | POINT_POLL | POINT_UNLOCK | POINT_WAIT;
const ACTORS = 32;
const PAGE_BITS = 8;
const PAGE = 1 << PAGE_BITS;
/** Per word, see below. */
const FIELDS = 12;
const WRITE = 0;
const WRITE_STEP = 1;
/** Epoch of the last read, or MANY: one per actor, in the word's row of reads. */
const READ = 2;
const READ_STEP = 3;
/** Rows that are the word's for good, from 1 on; 0 until it needs them: read epochs and steps, and the clock it released. */
const READS = 4;
const RELEASED = 5;
/** Atomic writes and atomic reads: epoch or MANY, step, row. */
const A_WRITE = 6;
const A_READ = 9;
const MANY = -1;
/** Clocks stay below 2^26, so that epochs are positive; an execution that begins beyond this clears everything. */
const LAST_CLOCK = 1 << 25;

export class RaceDetector {
  readonly #names: Names;
  /** Clock of actor i at [i * ACTORS ...]. */
  readonly #clocks = new Int32Array(ACTORS * ACTORS);
  readonly #pages: (Int32Array | undefined)[] = new Array<undefined>(TOTAL_WORDS >>> PAGE_BITS).fill(undefined);
  readonly #released = new Rows(ACTORS);
  /** Two numbers per actor, epoch and step. */
  readonly #reads = new Rows(ACTORS * 2);
  #step = 0;
  /** Actors that have taken a step in any execution, at most; nobody has seen anything of the others. */
  #most = 0;

  constructor(names: Names) {
    this.#names = names;
  }

  /** An execution begins; what was before it is ordered before everything in it. */
  begin(): void {
    this.#step = 0;
    let before = 0;
    for (let i = 0; i < ACTORS; i++) before = Math.max(before, this.#clocks[i * ACTORS + i]!);
    if (before > LAST_CLOCK) {
      this.#clear();
      before = 0;
    }
    this.#clocks.fill(before);
    for (let i = 0; i < ACTORS; i++) this.#clocks[i * ACTORS + i] = before + 1;
  }

  #clear(): void {
    this.#pages.fill(undefined);
    this.#released.clear();
    this.#reads.clear();
  }

  /** The check after a step: the race that it makes with an earlier one. `own`: a word that it also looked at, or -1. */
  step(actor: number, address: number, kind: number, n: number, own = -1): Finding | undefined {
    this.#step++;
    if (actor >= this.#most) this.#most = actor + 1;
    if ((kind & SYNCHRONISES) !== 0) {
      const before = own >= 0 ? this.#synchronise(actor, own, POINT_READ, 1) : undefined;
      const other = before ?? this.#synchronise(actor, address, kind, n);
      if (other === undefined) return undefined;
      return this.#finding(actor, other.at, before === undefined && (kind & POINT_WRITE) !== 0, true, other);
    }
    const writes = (kind & POINT_WRITE) !== 0;
    for (let a = address; a < address + n; a++) {
      const other = writes ? this.#write(actor, a) : this.#read(actor, a);
      if (other !== undefined) return this.#finding(actor, a, writes, false, other);
    }
    return undefined;
  }

  #synchronise(actor: number, address: number, kind: number, n: number): Other | undefined {
    let other: Other | undefined;
    const clocks = this.#clocks;
    const base = actor * ACTORS;
    const most = this.#most;
    const writes = (kind & POINT_WRITE) !== 0;
    for (let a = address; a < address + n; a++) {
      const page = this.#page(a);
      const word = (a & (PAGE - 1)) * FIELDS;
      const at = word + RELEASED;
      if (page[at] === 0) {
        if (!writes) {
          other ??= this.#atomic(page, word, actor, a, false);
          continue;
        }
        page[at] = this.#released.add();
      }
      const rows = this.#released.rows;
      const row = page[at]! * ACTORS;
      if ((kind & POINT_READ) !== 0) {
        for (let i = 0; i < most; i++) if (rows[row + i]! > clocks[base + i]!) clocks[base + i] = rows[row + i]!;
      }
      other ??= this.#atomic(page, word, actor, a, writes);
      if (writes) for (let i = 0; i < most; i++) rows[row + i] = clocks[base + i]!;
    }
    if (writes) clocks[base + actor]!++;
    return other;
  }

  /** Notes an atomic access; the earlier plain one that races with it. */
  #atomic(words: Int32Array, at: number, actor: number, a: number, writes: boolean): Other | undefined {
    this.#noteAtomic(words, at + (writes ? A_WRITE : A_READ), actor);
    const write = words[at + WRITE]!;
    if (!this.#before(write, actor)) {
      return { epoch: write, step: words[at + WRITE_STEP]!, writes: true, atomic: false, at: a };
    }
    if (!writes) return undefined;
    const read = words[at + READ]!;
    if (read === MANY) return this.#readIn(words[at + READS]!, actor, a, false);
    if (this.#before(read, actor)) return undefined;
    return { epoch: read, step: words[at + READ_STEP]!, writes: false, atomic: false, at: a };
  }

  /** At `f` an epoch, its step, a row: one epoch while such accesses are ordered, then one per actor. */
  #noteAtomic(words: Int32Array, f: number, actor: number): void {
    const epoch = this.#epoch(actor);
    const last = words[f]!;
    if (last === MANY) this.#note(words[f + 2]!, actor, epoch, this.#step);
    else if (this.#before(last, actor)) {
      words[f] = epoch;
      words[f + 1] = this.#step;
    } else {
      if (words[f + 2] === 0) words[f + 2] = this.#reads.add();
      const row = words[f + 2]!;
      this.#note(row, last & 31, last, words[f + 1]!);
      this.#note(row, actor, epoch, this.#step);
      words[f] = MANY;
    }
  }

  /** The atomic access that races with a plain one. */
  #atomicBefore(words: Int32Array, at: number, actor: number, a: number, writes: boolean): Other | undefined {
    const other = this.#atomicIn(words, at + A_WRITE, actor, a, true);
    return other !== undefined || !writes ? other : this.#atomicIn(words, at + A_READ, actor, a, false);
  }

  #atomicIn(words: Int32Array, f: number, actor: number, a: number, writes: boolean): Other | undefined {
    const last = words[f]!;
    if (last !== MANY) {
      if (this.#before(last, actor)) return undefined;
      return { epoch: last, step: words[f + 1]!, writes, atomic: true, at: a };
    }
    const other = this.#readIn(words[f + 2]!, actor, a, true);
    return other === undefined ? undefined : { ...other, writes };
  }

  /** Whether the access of epoch `e` happened before what `actor` does now. */
  #before(e: number, actor: number): boolean {
    return e >>> 5 <= this.#clocks[actor * ACTORS + (e & 31)]!;
  }

  #epoch(actor: number): number {
    return (this.#clocks[actor * ACTORS + actor]! << 5) | actor;
  }

  #page(a: number): Int32Array {
    return this.#pages[a >>> PAGE_BITS] ?? (this.#pages[a >>> PAGE_BITS] = new Int32Array(PAGE * FIELDS));
  }

  /** Notes a plain read; the earlier write that races with it. */
  #read(actor: number, a: number): Other | undefined {
    const words = this.#page(a);
    const at = (a & (PAGE - 1)) * FIELDS;
    const write = words[at + WRITE]!;
    if (!this.#before(write, actor)) {
      return { epoch: write, step: words[at + WRITE_STEP]!, writes: true, atomic: false, at: a };
    }
    const atomic = this.#atomicBefore(words, at, actor, a, false);
    if (atomic !== undefined) return atomic;
    const epoch = this.#epoch(actor);
    const last = words[at + READ]!;
    if (last === MANY) this.#note(words[at + READS]!, actor, epoch, this.#step);
    else if (this.#before(last, actor)) {
      words[at + READ] = epoch;
      words[at + READ_STEP] = this.#step;
    } else {
      if (words[at + READS] === 0) words[at + READS] = this.#reads.add();
      const row = words[at + READS]!;
      this.#reads.rows.fill(0, row * ACTORS * 2, (row + 1) * ACTORS * 2);
      this.#note(row, last & 31, last, words[at + READ_STEP]!);
      this.#note(row, actor, epoch, this.#step);
      words[at + READ] = MANY;
    }
    return undefined;
  }

  #write(actor: number, a: number): Other | undefined {
    const words = this.#page(a);
    const at = (a & (PAGE - 1)) * FIELDS;
    const write = words[at + WRITE]!;
    if (!this.#before(write, actor)) {
      return { epoch: write, step: words[at + WRITE_STEP]!, writes: true, atomic: false, at: a };
    }
    const atomic = this.#atomicBefore(words, at, actor, a, true);
    if (atomic !== undefined) return atomic;
    const read = words[at + READ]!;
    if (read === MANY) {
      const other = this.#readIn(words[at + READS]!, actor, a, false);
      if (other !== undefined) return other;
    } else if (!this.#before(read, actor)) {
      return { epoch: read, step: words[at + READ_STEP]!, writes: false, atomic: false, at: a };
    }
    words[at + WRITE] = this.#epoch(actor);
    words[at + WRITE_STEP] = this.#step;
    words[at + READ] = 0;
    return undefined;
  }

  #note(row: number, actor: number, epoch: number, step: number): void {
    this.#reads.rows[(row * ACTORS + actor) * 2] = epoch;
    this.#reads.rows[(row * ACTORS + actor) * 2 + 1] = step;
  }

  /** A read of the row that is not before what `actor` does now. */
  #readIn(row: number, actor: number, a: number, atomic: boolean): Other | undefined {
    const rows = this.#reads.rows;
    for (let i = 0; i < this.#most; i++) {
      const epoch = rows[(row * ACTORS + i) * 2]!;
      if (!this.#before(epoch, actor)) {
        return { epoch, step: rows[(row * ACTORS + i) * 2 + 1]!, writes: false, atomic, at: a };
      }
    }
    return undefined;
  }

  #finding(actor: number, a: number, writes: boolean, atomic: boolean, other: Other): Finding {
    const who = [this.#names.actor(other.epoch & 31), this.#names.actor(actor)];
    const says = (i: number, w: boolean, at: boolean, step: number): string =>
      `${who[i]!} ${w ? 'writes' : 'reads'} it ${at ? 'atomically ' : ''}at step ${step}`;
    return {
      rule: 'race',
      detail: `${this.#names.address(a)}: ${says(0, other.writes, other.atomic, other.step)}, ${says(1, writes, atomic, this.#step)}, and nothing orders the two`,
      holders: who,
    };
  }
}

/** The earlier access of a race. */
interface Other {
  readonly epoch: number;
  readonly step: number;
  readonly writes: boolean;
  readonly atomic: boolean;
  /** The word. */
  readonly at: number;
}

/** Rows of numbers, zero when they are added; the first is number 1. */
class Rows {
  rows: Int32Array;
  readonly #width: number;
  #count = 0;

  constructor(width: number) {
    this.#width = width;
    this.rows = new Int32Array(width * 64);
  }

  add(): number {
    const row = ++this.#count;
    if ((row + 1) * this.#width > this.rows.length) {
      const more = new Int32Array(this.rows.length * 2);
      more.set(this.rows);
      this.rows = more;
    }
    return row;
  }

  clear(): void {
    this.#count = 0;
    this.rows.fill(0);
  }
}
