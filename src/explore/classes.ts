/**
 * Counts equivalence classes: executions that differ only in the order of steps which do not touch the same words.
 *
 * The class of an execution is a hash, the sum over its steps of a hash of (actor, address, kind, vector clock), in which a
 * step's clock is joined from the conflicting steps before it; steps commute exactly when no clock changes by it.
 * Choices belong to the class. Two sums of 32 bits make 53 bits of a key: 10^6 classes collide with probability 10^-4.
 * Source: Mazurkiewicz traces; Mattern, Virtual Time and Global States of Distributed Systems, 1988.
 */
import { POINT_WRITE } from '../sync/schedule.js';
import type { Chosen } from './loop.js';
import { mix } from './mix.js';
import type { StepCheck } from './program.js';

/** Clocks of the last write and of the reads since, of one word. */
interface Word {
  write: Int32Array;
  reads: Int32Array;
}

function join(to: Int32Array, from: Int32Array): void {
  for (let i = 0; i < to.length; i++) if (from[i]! > to[i]!) to[i] = from[i]!;
}

export class TraceClasses {
  #clocks: Int32Array[] = [];
  readonly #words = new Map<number, Word>();
  readonly #seen = new Set<number>();
  #low = 0;
  #high = 0;

  get size(): number {
    return this.#seen.size;
  }

  begin(actors: number): void {
    this.#words.clear();
    this.#clocks = Array.from({ length: actors }, () => new Int32Array(actors));
    this.#low = this.#high = 0;
  }

  /** The execution is complete; answers its key. */
  end(chosen: readonly Chosen[]): number {
    for (const { actor, step, what, value } of chosen) {
      // A choice's place is its actor's, whatever the others do meanwhile.
      if (step >= 0 && value !== 0) this.#add(mix(mix(mix(7, actor), what), value), this.#clocks[actor]!);
    }
    const key = (this.#low >>> 0) * 2 ** 21 + (this.#high >>> 11);
    this.#seen.add(key);
    return key;
  }

  step(actor: number, address: number, kind: number, n: number, own = -1): void {
    const mine = this.#clocks[actor]!;
    mine[actor]!++;
    const writes = (kind & POINT_WRITE) !== 0;
    for (let a = address; a < address + n; a++) this.#order(a, mine, writes);
    if (own >= 0) this.#order(own, mine, false);
    // After the joins, so that later words of the range count for the earlier ones too.
    for (let a = address; a < address + n; a++) this.#leave(a, mine, writes);
    if (own >= 0) this.#leave(own, mine, false);
    this.#add(mix(mix(mix(3, actor), address), kind), mine);
  }

  #order(a: number, mine: Int32Array, writes: boolean): void {
    const word = this.#words.get(a);
    if (word === undefined) return;
    join(mine, word.write);
    if (writes) join(mine, word.reads);
  }

  #leave(a: number, mine: Int32Array, writes: boolean): void {
    let word = this.#words.get(a);
    if (word === undefined) {
      word = { write: new Int32Array(mine.length), reads: new Int32Array(mine.length) };
      this.#words.set(a, word);
    }
    if (writes) word.write.set(mine);
    else join(word.reads, mine);
  }

  #add(h: number, clock: Int32Array): void {
    let low = h;
    let high = mix(h, 0x1234567);
    for (const c of clock) {
      low = mix(low, c);
      high = mix(high, c + 0x51ed27);
    }
    this.#low = (this.#low + low) | 0;
    this.#high = (this.#high + high) | 0;
  }

  /** `check` with this one's looking on before it. */
  with(check: StepCheck | undefined): StepCheck {
    return (actor, address, kind, n, own) => {
      this.step(actor, address, kind, n, own);
      return check?.(actor, address, kind, n, own);
    };
  }
}
