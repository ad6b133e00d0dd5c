/**
 * What a schedule point declares, and whom it asks: the seam between the core and the explorer.
 *
 * Invariant: what a point declares is what the accessor then does; the two stand in one function.
 * Source: DESIGN decision 3; shuttle (points before the access).
 */

/** Bits of a point's kind. */
export const POINT_READ = 1;
export const POINT_WRITE = 2;
/** One indivisible read-modify-write. */
export const POINT_ATOMIC = 4;
/** An intended race: the accessor's caller says why beside the call. */
export const POINT_ONCE = 8;
export const POINT_LOCK = 16;
export const POINT_UNLOCK = 32;
/** A look at the own request word: gate entry and exit, loop back-edges. */
export const POINT_POLL = 64;

export interface Scheduler {
  /** Asked before the access of `n` words at `a`; true: the running coroutine yields here. */
  point(a: number, kind: number, n: number): boolean;
  /** The running coroutine cannot go on before the word at `a` or at `b` changes; it yields after this call. */
  block(a: number, b: number): void;
}
