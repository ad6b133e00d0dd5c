/**
 * What is searched, what can be wrong with an execution of it, and how an execution can end.
 *
 * Invariant: `start` brings everything that the bodies and the checks read to the same state every time, so that an
 * execution is a function of its schedule; everything kept between bodies lives in the shared memory.
 * Source: DESIGN sentence 2 and decisions 3, 4.
 */
import type { Steps } from '../sync/steps.js';

/** One thing that is wrong: the rule it breaks (I1, race, deadlock, livelock, bug …), in words, and who is involved. */
export interface Finding {
  readonly rule: string;
  readonly detail: string;
  readonly holders: readonly string[];
  /** What is held, for whoever can say since when; and since when. */
  readonly held?: object;
  readonly since?: string;
}

/** One actor of a deadlock: which word it waits for, and which actors (indices of `cpuAt`) hold it as a lock. */
export interface Wait {
  readonly body: number;
  readonly address: number;
  readonly holders: readonly number[];
}

export interface Counts {
  readonly steps: number;
  readonly switches: number;
  /** Switches away from an actor that could have gone on. */
  readonly preemptions: number;
}

export type Outcome = Counts &
  (
    | { readonly kind: 'done' }
    /** Nobody is ready and somebody waits. */
    | { readonly kind: 'deadlock'; readonly waits: readonly Wait[] }
    /** The step bound was reached: a livelock, or a bound too small. */
    | { readonly kind: 'bound' }
    /** A body threw; the others were dropped where they were. */
    | { readonly kind: 'threw'; readonly body: number; readonly error: unknown }
    /** A check after a step said that something is wrong; the bodies were dropped where they were. */
    | { readonly kind: 'found'; readonly finding: Finding }
    /** The strategy gave the execution up, since what follows is known from others. */
    | { readonly kind: 'abandoned' }
  );

export interface Names {
  actor(i: number): string;
  address(a: number): string;
}

/**
 * What is asked after every step of `actor` (index of its body), which did what it had declared; a finding ends the
 * execution. A lock step that found the lock held is told as the look that it was (POINT_READ | POINT_ONCE | POINT_WAIT),
 * and the later one that takes it carries POINT_BLOCKED. `own` is the own request word of a step that stored another word
 * and then looked at it, else -1.
 */
export type StepCheck = (
  actor: number,
  address: number,
  kind: number,
  words: number,
  own: number,
) => Finding | undefined;

/** The same object serves every execution, of every strategy. */
export interface Program {
  /** Brings everything to its start and answers the bodies, one per actor, fresh each time. */
  start(): readonly (() => Steps<void>)[];
  readonly names: Names;
  step?(actor: number, address: number, kind: number, words: number): Finding | undefined;
  /** Of those who wait at a deadlock, the ones who should not; all unless said. With none of them it is an end like any. */
  stuck?(waits: readonly Wait[]): readonly Wait[];
  /** After the last step, however it came: what is wrong beside the way it ended, which the search itself reports. */
  finish(outcome: Outcome): readonly Finding[];
}
