/**
 * The board at which the threads of a small scenario's machine meet: words beside the machine, so that no address in it
 * depends on them.
 *
 * Invariant: between two executions every side's thread waits for GO; it touches the machine only from there until it has
 * counted itself DONE. NEWS changes whenever a side did one or the other, so that the control plane sleeps meanwhile.
 * Lock: none; every wait is bounded.
 */

/** Number of the execution; every side runs when it changes. */
export const GO = 0;
/** Not 0: the threads shall end. */
export const STOP = 1;
/** Sides that have ended. */
export const DONE = 2;
/** Place of a side that threw what should never be thrown, from 1. */
export const THREW = 3;
/** 0, or a number at whose first sight a side stops before its next step, until the number is another one. */
export const STILL = 4;
/** Sides that stopped there. */
export const STOPPED = 5;
export const NEWS = 6;
/** Steps of their lists that the sides have begun, all together. */
export const STEPS = 7;
/** So many of them have begun before a side does. */
export const STARTS = 8;
export const MAX_SIDES = 16;
export const SMALL_BOARD_WORDS = STARTS + MAX_SIDES;

/** Longest sleep of a thread without a look; longest wait for the steps of others, who may be dead. */
export const WAIT_MS = 50;
const START_MS = 20;

/** Waits until the others have begun `steps` steps, or for a bounded while. */
export function awaitSteps(board: Int32Array, steps: number): void {
  const end = performance.now() + START_MS;
  for (;;) {
    const begun = Atomics.load(board, STEPS);
    if (begun >= steps || performance.now() > end) return;
    Atomics.wait(board, STEPS, begun, 1);
  }
}

export function stepBegins(board: Int32Array): void {
  Atomics.add(board, STEPS, 1);
  Atomics.notify(board, STEPS);
}

export const makeBoard = (): Int32Array => new Int32Array(new SharedArrayBuffer(SMALL_BOARD_WORDS * 4));

export function news(board: Int32Array): void {
  Atomics.add(board, NEWS, 1);
  Atomics.notify(board, NEWS);
}
