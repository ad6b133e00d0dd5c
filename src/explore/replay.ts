/**
 * Replay: takes the steps and choices of a schedule; continue-from-prefix: goes on with another strategy after them.
 *
 * Invariant: over the same program a replay takes exactly the schedule's steps, and `diverged` stays false. Over another
 * (fewer operations, fewer switches) a step whose actor cannot take it is left out, and `diverged` tells.
 */
import type { Schedule } from './schedule.js';
import { READY, readyFrom, type Picker, type Strategy, type View } from './strategy.js';

export class Replay implements Strategy {
  /** Whether a step of the schedule could not be taken, or a choice was another than the schedule's. */
  diverged = false;
  readonly #picks: Uint8Array;
  readonly #choices = new Map<number, { what: number; value: number }>();
  readonly #then: Picker | undefined;
  #at = 0;
  readonly #asked: number[] = [];

  constructor(schedule: Schedule, then?: Picker) {
    this.#picks = schedule.picks;
    this.#then = then;
    for (const c of schedule.choices) this.#choices.set(key(c.actor, c.nth), c);
  }

  begin(view: View): void {
    this.#at = 0;
    this.diverged = false;
    this.#asked.length = 0;
    this.#then?.begin(view);
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
    if (this.#then !== undefined) return this.#then.pick(view, running);
    return readyFrom(view, running);
  }

  choose(view: View, actor: number, what: number, n: number): number {
    const nth = this.#asked[actor] ?? 0;
    this.#asked[actor] = nth + 1;
    const wanted = this.#choices.get(key(actor, nth));
    if (wanted !== undefined && wanted.what === what && wanted.value < n) return wanted.value;
    if (wanted !== undefined) this.diverged = true;
    // The steps of the schedule are behind, and so are its choices.
    if (this.#at >= this.#picks.length) return this.#then?.choose?.(view, actor, what, n) ?? 0;
    return 0;
  }

  next(): boolean {
    return false;
  }
}

const key = (actor: number, nth: number): number => nth * 256 + actor;

export const replay = (schedule: Schedule): Replay => new Replay(schedule);

/** Every execution begins with the steps of `schedule` and goes on as `strategy` says. */
export function continueFrom(schedule: Schedule, strategy: Strategy): Strategy {
  const first = new Replay(schedule, strategy);
  return {
    begin: (view) => first.begin(view),
    pick: (view, running) => first.pick(view, running),
    choose: (view, actor, what, n) => first.choose(view, actor, what, n),
    next: () => strategy.next(),
    ...(strategy.covers === undefined ? {} : { covers: `${strategy.covers}, after a prefix` }),
    ...(strategy.explored === undefined ? {} : { explored: () => strategy.explored!() }),
  };
}
