/**
 * Data races: two accesses of a word by different actors, one of them a write, both plain, with nothing that orders them.
 *
 * Plain is what carries neither POINT_ONCE nor POINT_ATOMIC nor a lock's or wait's bit. Those synchronise as JavaScript's
 * sequentially consistent atomics do: a read acquires what the write it reads from had seen, a write releases. A look at a
 * held lock takes nothing and only acquires.
 * Invariant: an epoch is clock * 32 + actor, 0 for none; the accesses of a word that matter are its last write and, per
 * actor, its last read since (one epoch while they are ordered).
 * Source: Flanagan, Freund, FastTrack, PLDI 2009; ECMA-262 29 (synchronizes-with).
 */
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
/** Per word: epoch of the last write, its step, epoch of the last read or -1 - index of a row of epochs, its step. */
const FIELDS = 4;

interface Page {
  execution: number;
  readonly words: Int32Array;
}

export class RaceDetector {
  readonly #names: Names;
  /** Clock of actor i at [i * ACTORS ...]. */
  readonly #clocks = new Int32Array(ACTORS * ACTORS);
  readonly #released = new Map<number, Int32Array>();
  #spare: Int32Array[] = [];
  readonly #pages = new Map<number, Page>();
  /** Rows of read epochs and steps, two numbers per actor, for words read by several. */
  #rows = new Int32Array(ACTORS * 2 * 16);
  #rowCount = 0;
  #execution = 0;
  #step = 0;
  /** Actors that have taken a step, at most; the clocks of the others are 0 in everybody else. */
  #most = 0;

  constructor(names: Names) {
    this.#names = names;
  }

  /** An execution begins; what was before it is ordered before everything in it. */
  begin(): void {
    this.#execution++;
    this.#step = this.#rowCount = this.#most = 0;
    this.#clocks.fill(0);
    for (let i = 0; i < ACTORS; i++) this.#clocks[i * ACTORS + i] = 1;
    for (const clock of this.#released.values()) this.#spare.push(clock);
    this.#released.clear();
  }

  /** The check after a step: the race that it makes with an earlier one. */
  step(actor: number, address: number, kind: number, n: number): Finding | undefined {
    this.#step++;
    if (actor >= this.#most) this.#most = actor + 1;
    if ((kind & SYNCHRONISES) !== 0) {
      this.#synchronise(actor, address, kind, n);
      return undefined;
    }
    const writes = (kind & POINT_WRITE) !== 0;
    for (let a = address; a < address + n; a++) {
      const other = writes ? this.#write(actor, a) : this.#read(actor, a);
      if (other !== undefined) return this.#finding(actor, a, writes, other);
    }
    return undefined;
  }

  #synchronise(actor: number, address: number, kind: number, n: number): void {
    const base = actor * ACTORS;
    for (let a = address; a < address + n; a++) {
      let clock = this.#released.get(a);
      if ((kind & POINT_READ) !== 0 && clock !== undefined) {
        for (let i = 0; i < this.#most; i++)
          if (clock[i]! > this.#clocks[base + i]!) this.#clocks[base + i] = clock[i]!;
      }
      if ((kind & POINT_WRITE) === 0) continue;
      if (clock === undefined) this.#released.set(a, (clock = this.#spare.pop() ?? new Int32Array(ACTORS)));
      clock.set(this.#clocks.subarray(base, base + ACTORS));
    }
    if ((kind & POINT_WRITE) !== 0) this.#clocks[base + actor]!++;
  }

  /** Whether the access of epoch `e` happened before what `actor` does now. */
  #before(e: number, actor: number): boolean {
    return e >>> 5 <= this.#clocks[actor * ACTORS + (e & 31)]!;
  }

  #epoch(actor: number): number {
    return (this.#clocks[actor * ACTORS + actor]! << 5) | actor;
  }

  #page(a: number): Int32Array {
    let page = this.#pages.get(a >>> PAGE_BITS);
    if (page === undefined) {
      page = { execution: this.#execution, words: new Int32Array(PAGE * FIELDS) };
      this.#pages.set(a >>> PAGE_BITS, page);
    } else if (page.execution !== this.#execution) {
      page.execution = this.#execution;
      page.words.fill(0);
    }
    return page.words;
  }

  /** Notes a plain read; the earlier write that races with it. */
  #read(actor: number, a: number): Other | undefined {
    const words = this.#page(a);
    const at = (a & (PAGE - 1)) * FIELDS;
    const write = words[at]!;
    if (write !== 0 && !this.#before(write, actor)) return { epoch: write, step: words[at + 1]!, writes: true };
    const epoch = this.#epoch(actor);
    const last = words[at + 2]!;
    if (last < 0) this.#note(-1 - last, actor, epoch);
    else if (last === 0 || this.#before(last, actor)) {
      words[at + 2] = epoch;
      words[at + 3] = this.#step;
    } else {
      const row = this.#newRow();
      this.#note(row, last & 31, last, words[at + 3]);
      this.#note(row, actor, epoch);
      words[at + 2] = -1 - row;
    }
    return undefined;
  }

  #write(actor: number, a: number): Other | undefined {
    const words = this.#page(a);
    const at = (a & (PAGE - 1)) * FIELDS;
    const write = words[at]!;
    if (write !== 0 && !this.#before(write, actor)) return { epoch: write, step: words[at + 1]!, writes: true };
    const read = words[at + 2]!;
    if (read > 0 && !this.#before(read, actor)) return { epoch: read, step: words[at + 3]!, writes: false };
    if (read < 0) {
      const other = this.#readIn(-1 - read, actor);
      if (other !== undefined) return other;
    }
    words[at] = this.#epoch(actor);
    words[at + 1] = this.#step;
    words[at + 2] = 0;
    return undefined;
  }

  #newRow(): number {
    if ((this.#rowCount + 1) * ACTORS * 2 > this.#rows.length) {
      const more = new Int32Array(this.#rows.length * 2);
      more.set(this.#rows);
      this.#rows = more;
    }
    const row = this.#rowCount++;
    this.#rows.fill(0, row * ACTORS * 2, (row + 1) * ACTORS * 2);
    return row;
  }

  #note(row: number, actor: number, epoch: number, step = this.#step): void {
    this.#rows[(row * ACTORS + actor) * 2] = epoch;
    this.#rows[(row * ACTORS + actor) * 2 + 1] = step;
  }

  /** A read of the row that is not before what `actor` does now. */
  #readIn(row: number, actor: number): Other | undefined {
    for (let i = 0; i < ACTORS; i++) {
      const epoch = this.#rows[(row * ACTORS + i) * 2]!;
      if (epoch === 0 || this.#before(epoch, actor)) continue;
      return { epoch, step: this.#rows[(row * ACTORS + i) * 2 + 1]!, writes: false };
    }
    return undefined;
  }

  #finding(actor: number, a: number, writes: boolean, other: Other): Finding {
    const who = [this.#names.actor(other.epoch & 31), this.#names.actor(actor)];
    const says = (i: number, w: boolean, step: number): string =>
      `${who[i]!} ${w ? 'writes' : 'reads'} it at step ${step}`;
    return {
      rule: 'race',
      detail: `${this.#names.address(a)}: ${says(0, other.writes, other.step)}, ${says(1, writes, this.#step)}, and nothing orders the two`,
      holders: who,
    };
  }
}

/** The earlier access of a race. */
interface Other {
  readonly epoch: number;
  readonly step: number;
  readonly writes: boolean;
}
