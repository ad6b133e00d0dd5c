/**
 * The interface of a strategy: asked at every point by a plain call, it says which actor goes on.
 *
 * Invariant: an answer is a function of the strategy's seed and of what it was shown; no clock, no other randomness.
 * Source: shuttle's Scheduler; DESIGN decision 3 (a coroutine yields only when the strategy switches).
 */

export const READY = 0;
export const BLOCKED = 1;
export const ENDED = 2;

/** What `pick` answers to give the execution up. */
export const ABANDON = -2;

/**
 * What a strategy sees: per actor (index of its body) its state and its next step, declared but not taken yet.
 *
 * Choosing an actor takes exactly the step shown here: the access of `words[i]` words at `address[i]`, as POINT_* bits in
 * `kind[i]` say. Bodies stand before their first step when a strategy is asked for the first time. The step of a sleeper
 * carries POINT_BLOCKED: it reads the word slept on (takes it, if that is a lock) and writes the own request word.
 */
export interface View {
  readonly actors: number;
  /** READY, BLOCKED or ENDED. */
  readonly state: Uint8Array;
  readonly address: Int32Array;
  readonly kind: Int32Array;
  readonly words: Int32Array;
  /** The own request word of a step that sleeps or may go to sleep, else -1. */
  readonly own: Int32Array;
  /** Actors in state READY; never 0 when a strategy is asked. */
  readonly readyCount: number;
  /** Steps picked so far in this execution, the one that is asked for included. */
  readonly steps: number;
}

/** The least a strategy does; without `choose` every choice is 0. */
export interface Picker {
  /** An execution begins; the view is its for the whole length, and says something from the first `pick` on. */
  begin(view: View): void;
  /** Which READY actor takes its step, or ABANDON; `running` took the last one, and need not be ready any more. */
  pick(view: View, running: number): number;
  /** Which of `n` things the machine does in the step of `actor` under way: the answer of `choose(cpu, what, n)`. */
  choose?(view: View, actor: number, what: number, n: number): number;
}

/** A strategy that a search can be made with. */
export interface Strategy extends Picker {
  choose(view: View, actor: number, what: number, n: number): number;
  /** The execution is over (the view still shows how): is there another one? False: all that were to be tried are. */
  next(): boolean;
  /** What it covers when `next` says no more, in words; without it, that is no proof of anything. */
  readonly covers?: string;
  /** The part of its tree that is behind it, 0 to 1: an estimate, made at the end of an execution. */
  explored?(): number;
  /** Where it stands, as plain data, asked between `next` and the next execution; `load` goes on from there. */
  save?(): unknown;
  load?(saved: unknown): void;
}

/** A strategy answered what it must not; never taken for an error of a body. */
export class StrategyError extends Error {
  override readonly name: string = 'StrategyError';
}

/** The program did something else under the same schedule: it reads a clock, a random number or an earlier execution. */
export class Nondeterminism extends StrategyError {
  override readonly name = 'Nondeterminism';
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

/** The READY actors as a mask. */
export function readyMask(view: View): number {
  let mask = 0;
  for (let i = 0; i < view.actors; i++) if (view.state[i] === READY) mask |= 1 << i;
  return mask;
}

/** The ready actor that has `k` ready ones before it. */
export function nthReady(view: View, k: number): number {
  let left = k;
  for (let i = 0; ; i++) {
    if (view.state[i] === READY && left-- === 0) return i;
  }
}
