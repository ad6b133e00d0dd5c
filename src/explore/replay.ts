/**
 * Replay: takes the steps and choices of a schedule; continue-from-prefix: goes on with another strategy after them.
 *
 * Invariant: over the same program a replay takes exactly the schedule's steps, and `diverged` stays false. Over another
 * (fewer operations, fewer switches) a step whose actor cannot take it is left out, and `diverged` tells. A choice belongs
 * to the step that it is asked in: one of a step after the prefix is the other strategy's, whatever the schedule says.
 */
import type { Schedule } from './schedule.js';
import { Nondeterminism, READY, readyFrom, type Strategy, type View } from './strategy.js';

export class Replay implements Strategy {
  /** Whether a step of the schedule could not be taken, or a choice was another than the schedule's. */
  diverged = false;
  readonly #picks: Uint8Array;
  readonly #choices = new Map<number, { what: number; value: number }>();
  #at = 0;
  readonly #asked: number[] = [];

  constructor(schedule: Schedule) {
    this.#picks = schedule.picks;
    for (const c of schedule.choices) this.#choices.set(key(c.actor, c.nth), c);
  }

  begin(_view: View): void {
    this.#at = 0;
    this.diverged = false;
    this.#asked.length = 0;
  }

  /** Steps of the schedule that are behind. */
  get position(): number {
    return this.#at;
  }

  pick(view: View, running: number): number {
    while (this.#at < this.#picks.length) {
      const wanted = this.#picks[this.#at++]!;
      if (view.state[wanted] === READY) return wanted;
      this.diverged = true;
    }
    return readyFrom(view, running);
  }

  choose(_view: View, actor: number, what: number, n: number): number {
    const nth = this.#asked[actor] ?? 0;
    this.#asked[actor] = nth + 1;
    const wanted = this.#choices.get(key(actor, nth));
    if (wanted !== undefined && wanted.what === what && wanted.value < n) return wanted.value;
    if (wanted !== undefined) this.diverged = true;
    return 0;
  }

  next(): boolean {
    return false;
  }
}

const key = (actor: number, nth: number): number => nth * 256 + actor;

export const replay = (schedule: Schedule): Replay => new Replay(schedule);

/** What a strategy sees that goes on after `before` steps: they are not counted. */
class Rest implements View {
  readonly actors: number;
  readonly state: Uint8Array;
  readonly address: Int32Array;
  readonly kind: Int32Array;
  readonly words: Int32Array;
  readonly own: Int32Array;
  readonly #whole: View;
  readonly #before: number;

  constructor(whole: View, before: number) {
    const { actors, state, address, kind, words, own } = whole;
    this.actors = actors;
    this.state = state;
    this.address = address;
    this.kind = kind;
    this.words = words;
    this.own = own;
    this.#whole = whole;
    this.#before = before;
  }

  get readyCount(): number {
    return this.#whole.readyCount;
  }

  get steps(): number {
    return Math.max(0, this.#whole.steps - this.#before);
  }
}

/**
 * Every execution begins with the first `steps` steps of `schedule`, all of them unless said, and what was chosen in them,
 * and goes on as `strategy` says. A program that cannot take them is not the schedule's.
 */
export function continueFrom(schedule: Schedule, strategy: Strategy, steps = schedule.picks.length): Strategy {
  const first = new Replay({ picks: schedule.picks.subarray(0, steps), choices: schedule.choices });
  let whole: View | undefined;
  let rest: View | undefined;
  /** The next step, or the one under way, is behind the prefix. */
  let over = false;
  const restOf = (view: View): View => {
    if (rest === undefined || whole !== view) rest = new Rest((whole = view), steps);
    return rest;
  };
  return {
    begin: (view) => {
      over = steps === 0;
      first.begin(view);
      strategy.begin(restOf(view));
    },
    pick: (view, running) => {
      over ||= first.position >= steps;
      if (over) return strategy.pick(restOf(view), running);
      const next = first.pick(view, running);
      if (first.diverged) throw new Nondeterminism(`step ${first.position} of the prefix cannot be taken`);
      return next;
    },
    choose: (view, actor, what, n) => {
      if (over) return strategy.choose(restOf(view), actor, what, n);
      const value = first.choose(view, actor, what, n);
      if (first.diverged)
        throw new Nondeterminism(`another choice was asked for at step ${first.position} of the prefix`);
      return value;
    },
    next: () => strategy.next(),
    ...(strategy.covers === undefined ? {} : { covers: `${strategy.covers}, after a prefix` }),
    ...(strategy.explored === undefined ? {} : { explored: () => strategy.explored!() }),
  };
}
