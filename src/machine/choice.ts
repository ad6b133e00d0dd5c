/**
 * Places where the machine may do one thing or another, and a schedule says which: an entry of the TLB is displaced, a
 * requested flush or an interrupt comes late, a long hypercall is preempted.
 *
 * Invariant: without the place's bit in `header.choices`, and in the parallel build, the machine does what it does by itself.
 * Lock: none; the word is written while the machine is still. Source: DESIGN decision 5.
 */
import { header, type Cpu } from '../sync/actor.js';
import { choose, peek } from '../sync/primitives.js';

/** Whether the machine does here what it would not do by itself. */
export function chosen(cpu: Cpu, what: number): boolean {
  return (peek(header.choices) & (1 << what)) !== 0 && choose(cpu, what, 2) === 1;
}
