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
/** A look at the own request word, alone (gate entry and exit, loop back-edges) or right after the store of another. */
export const POINT_POLL = 64;
/** The look with which a wait begins; it goes to sleep unless what it waits for has come already. */
export const POINT_WAIT = 128;
/** The step with which a sleeper goes on; it is enabled only once what it waited for has come. */
export const POINT_BLOCKED = 256;

export interface Scheduler {
  /** Asked before the access of `n` words at `a`; true: the running coroutine yields here. */
  point(a: number, kind: number, n: number): boolean;
  /** The same for a step that also reads the own request word `own`, or sleeps, which is written there. */
  waitPoint(a: number, kind: number, own: number): boolean;
  /** The running coroutine sleeps until the word at `a` or at `own` has changed once; it yields after this call. */
  block(a: number, own: number): void;
  /** The running coroutine sleeps while the lock at `a` is held, unless `own` has REQ_ABORT; it yields after this call. */
  blockLock(a: number, own: number): void;
  /** The running coroutine asks which of `n` things the machine does here: 0 to n-1, 0 being what it does by itself. */
  choose(what: number, n: number): number;
}
