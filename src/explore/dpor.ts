/**
 * Dynamic partial-order reduction: at least one schedule of every equivalence class, by source sets and sleep sets.
 *
 * Two steps that conflict and that nothing else orders are a race; at the first of them somebody must also be tried from
 * whom the other order follows. An actor whose step was tried sleeps until something conflicts with that step.
 * Locks: the look at a lock is always enabled and ends in sleep when it is held; the step that takes it later is enabled
 * only while it is free, so its race is with the last step that took the lock away from it. Such steps are looked at also
 * for those who sleep when the execution ends. Waits are the same with any change of the word. Choices are enumerated.
 * Differs: an execution that a finding or the step bound ends leaves what would have followed unexplored.
 * Source: Abdulla, Aronis, Jonsson, Sagonas, Source Sets, JACM 64(4) 2017; Flanagan, Godefroid, POPL 2005; Godefroid 1996.
 */
import { longer, lowestBit, type SavedStack } from './depth-first.js';
import { Footprint } from './history.js';
import { Reducing } from './reducing.js';
import { ABANDON, BLOCKED, ENDED, READY, type View } from './strategy.js';

export class Dpor extends Reducing {
  readonly covers: string = 'every equivalence class of schedules';
  /** Actors asleep when each node was made. */
  #asleep = new Int32Array(256);
  #clock = new Int32Array(0);
  #joined = new Int32Array(0);
  /** Latest conflicting step of each actor. */
  #conflict = new Int32Array(0);
  readonly #other = new Footprint();
  /** Steps that conflict with a sleeper's, latest first. */
  readonly #later: number[] = [];

  override begin(view: View): void {
    super.begin(view);
    if (this.#clock.length === view.actors) return;
    this.#clock = new Int32Array(view.actors);
    this.#joined = new Int32Array(view.actors);
    this.#conflict = new Int32Array(view.actors);
  }

  protected arrive(d: number, view: View, running: number): number {
    const asleep = d === 0 ? 0 : this.#stillAsleep(d - 1, view);
    this.#asleep[d] = asleep;
    const able = this.enabled[d]! & ~asleep;
    if (able === 0) return ABANDON;
    const next = (able & (1 << running)) !== 0 ? running : lowestBit(able);
    this.backtrack[d] = 1 << next;
    return next;
  }

  /** Who slept at node `d` or was tried there, and does not conflict with the step taken. */
  #stillAsleep(d: number, view: View): number {
    let asleep = (this.#asleep[d]! | this.done[d]!) & ~(1 << this.chosen[d]!);
    for (let left = asleep; left !== 0; left &= left - 1) {
      const q = lowestBit(left);
      if (this.history.conflicts(d, this.#other.pending(view, q))) asleep &= ~(1 << q);
    }
    return asleep;
  }

  protected override left(d: number): number {
    return super.left(d) & ~this.#asleep[d]!;
  }

  protected settled(i: number, step: Footprint, woke: boolean): void {
    this.#order(i, step, woke);
    this.history.push(i, step, this.#clock);
  }

  protected ended(): void {
    const abandoned = this.view.readyCount > 0 && this.length > 0 && this.#allAsleep();
    for (let i = 0; i < this.actors; i++) {
      const state = this.view.state[i];
      if (state === ENDED || (state === READY && abandoned)) continue;
      this.#order(i, this.#other.pending(this.view, i), state === BLOCKED);
    }
  }

  /** Whether the execution was given up because every ready actor sleeps. */
  #allAsleep(): boolean {
    const d = this.length - 1;
    const asleep = this.#stillAsleep(d, this.view);
    for (let i = 0; i < this.actors; i++) if (this.view.state[i] === READY && (asleep & (1 << i)) === 0) return false;
    return true;
  }

  /** Sets `#clock` to what happened before a step of `i` that comes now, and notes the races that it makes. */
  #order(i: number, step: Footprint, woke: boolean): void {
    const { history } = this;
    const clock = this.#clock;
    const last = history.last(i);
    if (last < 0) clock.fill(0);
    else clock.set(history.clock.subarray(last * this.actors, (last + 1) * this.actors));
    if (woke) this.#racesOfSleeper(i, step, last);
    let any = false;
    for (let r = 0; r < this.actors; r++) {
      const e = r === i ? -1 : history.latest(r, step, clock[r]!);
      this.#conflict[r] = e;
      if (e >= 0) any = true;
    }
    if (any) this.#join(i, clock, !woke);
  }

  /** Joins the clocks of the conflicting steps, latest first; one that is in already is no race. */
  #join(i: number, clock: Int32Array, races: boolean): void {
    const { history, actors } = this;
    for (;;) {
      let e = -1;
      for (let r = 0; r < actors; r++) if (this.#conflict[r]! > e) e = this.#conflict[r]!;
      if (e < 0) return;
      const r = history.actor[e]!;
      this.#conflict[r] = -1;
      if (clock[r]! >= history.nth[e]!) continue;
      if (races) this.#race(e, i, clock, false);
      this.#add(clock, e);
    }
  }

  /**
   * A sleeper's step races with the conflicting steps since it fell asleep that it could come before: it was enabled
   * there, or one that may have enabled it does not depend on them and could come before them too.
   */
  #racesOfSleeper(i: number, step: Footprint, asleepSince: number): void {
    const { history } = this;
    const joined = this.#joined;
    joined.set(this.#clock);
    const later = this.#later;
    later.length = 0;
    for (let e = history.count - 1; e > asleepSince; e--) {
      if (!history.conflicts(e, step)) continue;
      const r = history.actor[e]!;
      const could = (this.enabled[e]! & (1 << i)) !== 0 || later.some((g) => !history.before(e, g));
      later.push(e);
      if (!could || joined[r]! >= history.nth[e]!) continue;
      this.#race(e, i, joined, true);
      this.#add(joined, e);
    }
  }

  #add(clock: Int32Array, e: number): void {
    const at = e * this.actors;
    for (let k = 0; k < this.actors; k++) {
      const t = this.history.clock[at + k]!;
      if (t > clock[k]!) clock[k] = t;
    }
  }

  /**
   * Step `e` races with a step of `p` that comes now and has `clock` without it. Of those with whom the steps after `e`
   * that do not depend on it, and then p's, can begin, one must be tried at node `e`.
   */
  #race(e: number, p: number, clock: Int32Array, sleeper: boolean): void {
    const initials = this.#initials(e, p, clock, sleeper);
    if ((initials & (this.backtrack[e]! | this.#asleep[e]!)) !== 0) return;
    const able = initials & this.enabled[e]!;
    const one = (able & (1 << p)) !== 0 ? p : lowestBit(able);
    this.backtrack[e] = able === 0 ? this.enabled[e]! : this.backtrack[e]! | (1 << one);
  }

  #initials(e: number, p: number, clock: Int32Array, sleeper: boolean): number {
    const { history, actors } = this;
    let initials = 0;
    let pWaits = false;
    for (let q = 0; q < actors; q++) {
      const f = this.#firstApart(q, e);
      if (f < 0) continue;
      if (q !== p && (sleeper || clock[q]! >= history.nth[f]!)) pWaits = true;
      if (this.#isFirst(f, q, e)) initials |= 1 << q;
    }
    // p itself, when its step is its first one after e and nothing of the others must come before it.
    if (!pWaits && this.#firstApart(p, e) < 0) initials |= 1 << p;
    return initials;
  }

  /** The first step of `q` after `e`, if it does not depend on `e`; else -1. */
  #firstApart(q: number, e: number): number {
    const f = this.history.firstAfter(q, e);
    return f < 0 || this.history.before(e, f) ? -1 : f;
  }

  /** Whether no other actor's step after `e` (and apart from it) must come before `f`, the first of `q`. */
  #isFirst(f: number, q: number, e: number): boolean {
    for (let r = 0; r < this.actors; r++) {
      if (r === q) continue;
      const g = this.#firstApart(r, e);
      if (g >= 0 && this.history.before(g, f)) return false;
    }
    return true;
  }

  protected override grow(): void {
    super.grow();
    this.#asleep = longer(this.#asleep, this.chosen.length);
  }

  override save(): SavedStack & { asleep: number[] } {
    return { ...super.save(), asleep: [...this.#asleep.subarray(0, this.length)] };
  }

  override load(saved: unknown): void {
    super.load(saved);
    this.#asleep.set((saved as { asleep: number[] }).asleep);
  }
}

/** One schedule at least of every equivalence class. */
export const dpor = (): Dpor => new Dpor();
