/**
 * What has happened so far, as a number: the same for every order of the same steps in which conflicting ones come alike.
 *
 * Two prefixes with one number lead to the same state, for an actor's step does what its own past and the writes that it
 * sees make it do. A step's hash is made of its actor's last step, of what it touches, and of the last write of each word
 * (and, if it writes, of the reads since); a prefix's hash is the sum of its steps'.
 * Invariant: valid for the steps pushed and not truncated; 64 bits in two numbers.
 * Source: Musuvathi, Qadeer, Iterative Context Bounding, PLDI 2007 (the happens-before relation stands for the state);
 * Mazurkiewicz traces. Trusts what accesses declare, as all partial-order reduction does.
 */
import type { Footprint } from './history.js';
import { longer } from './depth-first.js';
import { mix } from './mix.js';

const PAGE_BITS = 8;
const PAGE = 1 << PAGE_BITS;
/** Per word: hash of the last write, sum of the reads since, each in two numbers. */
const FIELDS = 4;
/** Per change of a word: its address, and what the fields were. */
const UNDO = 1 + FIELDS;
const SECOND = 0x2545f491;

export class Prefix {
  /** Hash of all steps before number e, at [2 * e]. */
  #sums = new Int32Array(512);
  #steps = new Int32Array(512);
  /** Where the undo log stood before each step, and who took it. */
  #marks = new Int32Array(256);
  #actors = new Uint8Array(256);
  #last: number[] = [];
  /** The step of the same actor before each step, or -1. */
  #before = new Int32Array(256);
  readonly #pages: (Int32Array | undefined)[] = [];
  #undo = new Int32Array(UNDO * 1024);
  #undone = 0;
  #count = 0;
  #low = 0;
  #high = 0;

  begin(actors: number): void {
    if (this.#last.length !== actors) {
      this.truncate(0);
      this.#last = new Array<number>(actors).fill(-1);
    }
  }

  get low(): number {
    return this.#sums[2 * this.#count]!;
  }

  get high(): number {
    return this.#sums[2 * this.#count + 1]!;
  }

  /** A step of actor `i`; `salt`: what the machine chose in it. */
  push(i: number, f: Footprint, salt: number): void {
    const e = this.#count;
    if (2 * e + 4 > this.#sums.length) this.#grow();
    const last = this.#last[i]!;
    this.#low = mix(last < 0 ? i + 1 : this.#steps[2 * last]!, f.address);
    this.#high = mix(last < 0 ? i + SECOND : this.#steps[2 * last + 1]!, f.address ^ SECOND);
    const said = (salt << 3) | (f.own < 0 ? 0 : f.ownWrites ? 2 : 4) | (f.writes ? 1 : 0);
    this.#low = mix(this.#low, said);
    this.#high = mix(this.#high, said);
    for (let a = f.address; a < f.address + f.words; a++) this.#see(a, f.writes);
    if (f.own >= 0) this.#see(f.own, f.ownWrites);
    this.#marks[e] = this.#undone;
    for (let a = f.address; a < f.address + f.words; a++) this.#leave(a, f.writes);
    if (f.own >= 0) this.#leave(f.own, f.ownWrites);
    this.#steps[2 * e] = this.#low;
    this.#steps[2 * e + 1] = this.#high;
    this.#sums[2 * e + 2] = (this.#sums[2 * e]! + this.#low) | 0;
    this.#sums[2 * e + 3] = (this.#sums[2 * e + 1]! + this.#high) | 0;
    this.#actors[e] = i;
    this.#before[e] = last;
    this.#last[i] = e;
    this.#count = e + 1;
  }

  /** Takes in what others left at the word. */
  #see(a: number, writes: boolean): void {
    const page = this.#pages[a >>> PAGE_BITS];
    if (page === undefined) return;
    const at = (a & (PAGE - 1)) * FIELDS;
    if (page[at] === 0 && page[at + 2] === 0) return;
    this.#low = mix(this.#low, page[at]! + a);
    this.#high = mix(this.#high, page[at + 1]! + a);
    if (!writes) return;
    this.#low = mix(this.#low, page[at + 2]!);
    this.#high = mix(this.#high, page[at + 3]!);
  }

  #leave(a: number, writes: boolean): void {
    const page = (this.#pages[a >>> PAGE_BITS] ??= new Int32Array(PAGE * FIELDS));
    const at = (a & (PAGE - 1)) * FIELDS;
    if (this.#undone + UNDO > this.#undo.length) this.#undo = longer(this.#undo, 2 * this.#undo.length);
    const log = this.#undo;
    const to = this.#undone;
    log[to] = a;
    for (let k = 0; k < FIELDS; k++) log[to + 1 + k] = page[at + k]!;
    this.#undone = to + UNDO;
    if (writes) {
      page[at] = this.#low;
      page[at + 1] = this.#high;
      page[at + 2] = page[at + 3] = 0;
    } else {
      page[at + 2] = (page[at + 2]! + this.#low) | 0;
      page[at + 3] = (page[at + 3]! + this.#high) | 0;
    }
  }

  /** Forgets step `n` and all after it. */
  truncate(n: number): void {
    if (n >= this.#count) return;
    const mark = this.#marks[n]!;
    const log = this.#undo;
    for (let from = this.#undone - UNDO; from >= mark; from -= UNDO) {
      const a = log[from]!;
      const page = this.#pages[a >>> PAGE_BITS]!;
      const at = (a & (PAGE - 1)) * FIELDS;
      for (let k = 0; k < FIELDS; k++) page[at + k] = log[from + 1 + k]!;
    }
    this.#undone = mark;
    for (let e = this.#count - 1; e >= n; e--) this.#last[this.#actors[e]!] = this.#before[e]!;
    this.#count = n;
  }

  #grow(): void {
    const more = 2 * this.#marks.length;
    this.#sums = longer(this.#sums, 2 * more);
    this.#steps = longer(this.#steps, 2 * more);
    this.#marks = longer(this.#marks, more);
    this.#before = longer(this.#before, more);
    const actors = new Uint8Array(more);
    actors.set(this.#actors);
    this.#actors = actors;
  }
}
