/** Sets of vCPUs: two words, bit n of which says vCPU n is in. Lock: none; members are or-ed in and and-ed out. */
import { and, ldOnce, or } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';

/** vCPUs a domain can have. */
export const MAX_VCPUS = 64;
export const CPU_SET_WORDS = 2;

const bit = (id: number): number => 1 << (id & 31);
/** Whether `id` is in the set whose words are (lo, hi). */
export const inSet = (id: number, lo: number, hi: number): boolean => ((id < 32 ? lo : hi) & bit(id)) !== 0;
/** Word `n` of the set of `id` alone. */
export const ownWord = (id: number, n: number): number => (id >> 5 === n ? bit(id) : 0);

export function* joinSet(a: number, id: number): Steps<void> {
  yield* or(a + (id >> 5), bit(id));
}
export function* leaveSet(a: number, id: number): Steps<void> {
  yield* and(a + (id >> 5), ~bit(id));
}
/** Whether `id` is in the set at `a` at this moment. */
export function* isMember(a: number, id: number): Steps<boolean> {
  return ((yield* ldOnce(a + (id >> 5))) & bit(id)) !== 0; // raced on purpose: members come and go
}
