/**
 * The list of locks an actor holds, kept in its record: checked against the order, read when a vCPU stops answering.
 *
 * Lock: none; only the owner writes its list.
 */
import { HypervisorBug } from '../abi/errors.js';
import { words } from '../ops/memory.js';
import { actor, cpuIndex, HELD_MAX, type Cpu } from './actor.js';
import { EQUAL_OK, rankName } from './lock-order.js';

const word = (a: number): number => words[a] as number;

/** Throws when taking `rank` now would break the order. */
export function checkOrder(cpu: Cpu, a: number, rank: number): void {
  const n = word(actor.heldCount(cpu));
  for (let i = 0; i < n; i++) {
    const has = word(actor.heldRank(cpu, i));
    if (has > rank || (has === rank && !EQUAL_OK.has(rank)) || word(actor.heldAddress(cpu, i)) === a) {
      throw new HypervisorBug(
        `lock order: actor ${String(cpuIndex(cpu))} takes ${rankName(rank)} while holding ${rankName(has)}`,
      );
    }
  }
}

export function pushHeld(cpu: Cpu, a: number, rank: number): void {
  const n = word(actor.heldCount(cpu));
  if (n >= HELD_MAX) throw new HypervisorBug(`actor ${String(cpuIndex(cpu))} holds too many locks`);
  words[actor.heldAddress(cpu, n)] = a;
  words[actor.heldRank(cpu, n)] = rank;
  words[actor.heldCount(cpu)] = n + 1;
}

/** Takes `a` off the list; locks may be released in any order. */
export function popHeld(cpu: Cpu, a: number): void {
  const n = word(actor.heldCount(cpu));
  for (let i = n - 1; i >= 0; i--) {
    if (word(actor.heldAddress(cpu, i)) !== a) continue;
    for (let k = i; k < n - 1; k++) {
      words[actor.heldAddress(cpu, k)] = word(actor.heldAddress(cpu, k + 1));
      words[actor.heldRank(cpu, k)] = word(actor.heldRank(cpu, k + 1));
    }
    words[actor.heldCount(cpu)] = n - 1;
    return;
  }
  throw new HypervisorBug(`actor ${String(cpuIndex(cpu))} releases a lock it does not hold`);
}
