/** Addresses of 48 bits in two words of a record, low word first. Lock: the record's. */
import type { Va } from '../../src/abi/frames.js';
import { peek, poke, touch } from '../../src/sync/primitives.js';
import { POINT_READ, POINT_WRITE } from '../../src/sync/schedule.js';
import type { Steps } from '../../src/sync/steps.js';

const TWO32 = 4294967296;

/** Of words that are setup or guarded by a lock that is held and declared otherwise. */
export const peekVa = (a: number): Va => ((peek(a + 1) >>> 0) * TWO32 + (peek(a) >>> 0)) as Va;
export const pokeVa = (a: number, va: Va): void => {
  poke(a, (va % TWO32) | 0);
  poke(a + 1, Math.floor(va / TWO32));
};
/** The key of an ordered map for `va`: high word, low word. */
export const keyHi = (va: Va): number => Math.floor(va / TWO32);
export const keyLo = (va: Va): number => (va % TWO32) | 0;

export function* ldVa(a: number): Steps<Va> {
  yield* touch(a, 2, POINT_READ);
  return peekVa(a);
}
export function* stVa(a: number, va: Va): Steps<void> {
  yield* touch(a, 2, POINT_WRITE);
  pokeVa(a, va);
}
