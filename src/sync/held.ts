/**
 * The list of locks an actor holds, kept in its record: checked against the order, read when a vCPU stops answering.
 *
 * Lock: none; only the owner writes its list.
 */
import { HypervisorBug, RuleBroken } from '../abi/errors.js';
import { words } from '../ops/memory.js';
import { actor, cpuIndex, HELD_MAX, type Cpu } from './actor.js';
import { EQUAL_OK, rankName } from './lock-order.js';

const word = (a: number): number => words[a] as number;

/** Throws when taking `rank` now would break the order. */
export function checkOrder(cpu: Cpu, a: number, rank: number): void {
  const n = word(actor.heldCount(cpu));
  if (n !== 0) checkHeld(cpu, a, rank, n);
}

function checkHeld(cpu: Cpu, a: number, rank: number, n: number): void {
  for (let i = 0; i < n; i++) {
    const has = word(actor.heldRank(cpu, i));
    if (has > rank || (has === rank && !EQUAL_OK.has(rank)) || word(actor.heldAddress(cpu, i)) === a) {
      throw new RuleBroken(
        'lock-order',
        `lock order: actor ${String(cpuIndex(cpu))} takes ${rankName(rank)} while holding ${rankName(has)}`,
      );
    }
  }
}

export { ruleOfError } from '../abi/errors.js';

export function pushHeld(cpu: Cpu, a: number, rank: number): void {
  const n = word(actor.heldCount(cpu));
  if (n >= HELD_MAX) throw new HypervisorBug(`actor ${String(cpuIndex(cpu))} holds too many locks`);
  words[actor.heldAddress(cpu, n)] = a;
  words[actor.heldRank(cpu, n)] = rank;
  words[actor.heldCount(cpu)] = n + 1;
}

/** Takes `a` off the list; locks may be released in any order, most are in the opposite one. */
export function popHeld(cpu: Cpu, a: number): void {
  const last = word(actor.heldCount(cpu)) - 1;
  if (last < 0 || word(actor.heldAddress(cpu, last)) !== a) popFrom(cpu, a, last);
  words[actor.heldCount(cpu)] = last;
}

/** Closes the gap that `a` leaves. */
function popFrom(cpu: Cpu, a: number, last: number): void {
  let i = last;
  while (i >= 0 && word(actor.heldAddress(cpu, i)) !== a) i--;
  if (i < 0) throw new HypervisorBug(`actor ${String(cpuIndex(cpu))} releases a lock it does not hold`);
  for (; i < last; i++) {
    words[actor.heldAddress(cpu, i)] = word(actor.heldAddress(cpu, i + 1));
    words[actor.heldRank(cpu, i)] = word(actor.heldRank(cpu, i + 1));
  }
}
