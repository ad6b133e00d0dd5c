/**
 * The interface of a strategy: asked at every point by a plain call, it says which actor goes on.
 *
 * Invariant: `pick` is a function of the strategy's seed and of what it was shown; no clock, no other randomness.
 * Source: shuttle's Scheduler; DESIGN decision 3 (a coroutine yields only when the strategy switches).
 */

export const READY = 0;
export const BLOCKED = 1;
export const ENDED = 2;

/**
 * What a strategy sees: per actor (index of its body) its state and its next step, declared but not taken yet.
 *
 * Choosing an actor takes exactly the step shown here: the access of `words[i]` words at `address[i]`, as POINT_* bits in
 * `kind[i]` say; kind 0 is the start of a body, which touches nothing. A blocked actor's step is the one it waits in.
 */
export interface View {
  readonly actors: number;
  /** READY, BLOCKED or ENDED. */
  readonly state: Uint8Array;
  readonly address: Int32Array;
  readonly kind: Int32Array;
  readonly words: Int32Array;
  /** Actors in state READY; never 0 when a strategy is asked. */
  readonly readyCount: number;
  /** Choices made so far in this execution. */
  readonly steps: number;
}

export interface Strategy {
  /** An execution begins; the view is valid for its whole length. */
  begin(view: View): void;
  /** Which READY actor takes its step; `running` is the one that took the last, and need not be ready any more. */
  pick(view: View, running: number): number;
}

/** The first READY actor at or after `from`, going round. */
export function readyFrom(view: View, from: number): number {
  let i = from;
  for (;;) {
    if (i >= view.actors) i = 0;
    if (view.state[i] === READY) return i;
    i++;
  }
}
