/**
 * Locks of one rank, taken in both orders: a deadlock that this schedule did not meet.
 *
 * Ranks order all other locks, and whoever takes one out of order is stopped there (src/sync/held.ts). Of ranks that nest in
 * themselves only the order within the rank is left: when one actor takes A and then B, another B and then A, and no lock
 * that both hold meanwhile keeps them apart, some schedule stops both.
 * Invariant: a function of the execution; what an actor holds is read from its list, which the accessors keep.
 * Source: Havelund, Using runtime analysis to guide model checking (goodlock), SPIN 2000; src/sync/lock-order.ts.
 */
import { words } from '../ops/memory.js';
import { actor, cpuAt, type Cpu } from '../sync/actor.js';
import { POINT_LOCK } from '../sync/schedule.js';
import type { Finding, Names } from './program.js';

/** An actor took `second` while it held `first`, and `others` beside it. */
interface Pair {
  readonly body: number;
  readonly first: number;
  readonly second: number;
  readonly others: readonly number[];
}

const word = (a: number): number => words[a] as number;

export class LockPairs {
  readonly #names: Names;
  #pairs: Pair[] = [];

  constructor(names: Names) {
    this.#names = names;
  }

  begin(): void {
    if (this.#pairs.length !== 0) this.#pairs = [];
  }

  /** The check after a step: the earlier pair that the lock just taken is the reverse of. */
  step(body: number, address: number, kind: number): Finding | undefined {
    if ((kind & POINT_LOCK) === 0 || word(address) === 0) return undefined;
    const cpu = cpuAt(word(address) - 1);
    const last = word(actor.heldCount(cpu)) - 1;
    if (last < 1 || word(actor.heldAddress(cpu, last)) !== address) return undefined;
    return this.#taken(body, cpu, last, address);
  }

  #taken(body: number, cpu: Cpu, last: number, second: number): Finding | undefined {
    const rank = word(actor.heldRank(cpu, last));
    const held = Array.from({ length: last }, (_, i) => word(actor.heldAddress(cpu, i)));
    for (let i = 0; i < last; i++) {
      const first = held[i]!;
      if (word(actor.heldRank(cpu, i)) !== rank) continue;
      const others = held.filter((a) => a !== first);
      const reverse = this.#pairs.find(
        (p) => p.body !== body && p.first === second && p.second === first && !p.others.some((a) => others.includes(a)),
      );
      const pair: Pair = { body, first, second, others };
      if (reverse !== undefined) return this.#finding(reverse, pair);
      if (!this.#pairs.some((p) => p.body === body && p.first === first && p.second === second)) this.#pairs.push(pair);
    }
    return undefined;
  }

  #finding(a: Pair, b: Pair): Finding {
    const says = (p: Pair): string => {
      const [first, second] = [this.#names.address(p.first), this.#names.address(p.second)];
      return `${this.#names.actor(p.body)} takes ${first}, then ${second}`;
    };
    return {
      rule: 'lock-order',
      detail: `${says(a)}, and ${says(b)}: a schedule may stop both`,
      holders: [this.#names.actor(a.body), this.#names.actor(b.body)],
    };
  }
}
