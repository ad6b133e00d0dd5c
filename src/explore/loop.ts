/**
 * The coroutine loop: runs bodies in one thread, switching where the strategy says.
 *
 * Invariant: between two points exactly one body runs. A sleeper of `block` becomes ready when a word it waits for differs
 * from what it was when it went to sleep, looked at before every choice, so that no change can be missed and undone
 * between; a sleeper of `blockLock` is ready while the lock is free. Bodies run to their first point before the first choice.
 * Lock: none; it is the scheduler of `sync/primitives` and exists in the controlled build only.
 * Source: DESIGN decision 3. A body that is not finished is dropped, never return()ed (decision 9).
 */
import { words } from '../ops/memory.js';
import { actor, cpuAt, MAX_CPUS, REQ_ABORT } from '../sync/actor.js';
import { withScheduler } from '../sync/primitives.js';
import {
  POINT_ATOMIC,
  POINT_BLOCKED,
  POINT_LOCK,
  POINT_ONCE,
  POINT_POLL,
  POINT_READ,
  POINT_WAIT,
  POINT_WRITE,
  type Scheduler,
} from '../sync/schedule.js';
import type { Steps } from '../sync/steps.js';
import type { Counts, Finding, Outcome, StepCheck, Wait } from './program.js';
import { ABANDON, BLOCKED, ENDED, READY, StrategyError, type Picker, type View } from './strategy.js';

export type { Outcome, Wait };

/** A choice as it was taken: in which step (1 is the first) of which actor, which, of how many, and what. */
export interface Chosen {
  readonly step: number;
  readonly actor: number;
  readonly what: number;
  readonly n: number;
  readonly value: number;
}

export const DEFAULT_BOUND = 10_000_000;

const NOBODY = -1;
const LOOK = POINT_READ | POINT_ONCE | POINT_WAIT;
const TAKE = POINT_BLOCKED | POINT_LOCK | POINT_READ | POINT_WRITE | POINT_ATOMIC;
/** How a sleeper wakes: not asleep, at a change, when the lock is free. */
const AWAKE = 0;
const AT_CHANGE = 1;
const WHEN_FREE = 2;
const word = (a: number): number => words[a] as number;

/** Runs executions of programs of `actors` bodies, one after the other. */
export class Loop implements Scheduler, View {
  readonly actors: number;
  readonly state: Uint8Array;
  readonly address: Int32Array;
  readonly kind: Int32Array;
  readonly words: Int32Array;
  readonly own: Int32Array;
  readyCount = 0;
  steps = 0;
  switches = 0;
  /** Switches away from an actor that could have gone on. */
  preemptions = 0;
  /** Who took each step of the last execution; valid below `steps`. */
  picks = new Uint8Array(1024);
  /** The choices of the last execution, in order. */
  chosen: Chosen[] = [];
  #running = 0;
  /** Who goes on after the yield under way; NOBODY when that is still to be chosen, ABANDON when nobody shall. */
  #next = NOBODY;
  #starting = false;
  readonly #sleep: Uint8Array;
  /** What the two words each sleeper waits for held when it went to sleep. */
  readonly #saw: Int32Array;
  readonly #sawOwn: Int32Array;
  #sleepers = 0;
  #strategy!: Picker;
  #bound = 0;
  #check: StepCheck | undefined;
  #found: Finding | undefined;
  readonly #coroutines: Steps<void>[] = [];

  constructor(actors: number) {
    this.actors = actors;
    this.state = new Uint8Array(actors);
    this.address = new Int32Array(actors);
    this.kind = new Int32Array(actors);
    this.words = new Int32Array(actors);
    this.own = new Int32Array(actors);
    this.#sleep = new Uint8Array(actors);
    this.#saw = new Int32Array(actors);
    this.#sawOwn = new Int32Array(actors);
  }

  /** Runs the bodies to their end, interleaved as `strategy` picks, in at most `bound` steps, with `check` after each. */
  execute(bodies: readonly (() => Steps<void>)[], strategy: Picker, bound = DEFAULT_BOUND, check?: StepCheck): Outcome {
    if (bodies.length !== this.actors) throw new RangeError(`a loop of ${this.actors} for ${bodies.length} bodies`);
    this.#reset(strategy, bound, check);
    strategy.begin(this);
    return withScheduler(this, () => this.#run(bodies));
  }

  #reset(strategy: Picker, bound: number, check: StepCheck | undefined): void {
    this.#strategy = strategy;
    this.#bound = bound;
    this.#check = check;
    this.#found = undefined;
    this.state.fill(READY);
    this.kind.fill(0);
    this.own.fill(-1);
    this.#sleep.fill(AWAKE);
    this.readyCount = this.actors;
    this.steps = this.switches = this.preemptions = this.#sleepers = 0;
    this.#running = 0;
    this.#next = NOBODY;
    if (this.chosen.length !== 0) this.chosen = [];
    this.#coroutines.length = 0;
  }

  point(a: number, kind: number, n: number): boolean {
    const me = this.#running;
    if (this.#check !== undefined && this.#failed(me)) return true;
    this.address[me] = a;
    this.kind[me] = kind;
    this.words[me] = n;
    this.own[me] = -1;
    return this.#leave(me);
  }

  waitPoint(a: number, kind: number, own: number): boolean {
    const me = this.#running;
    if (this.#check !== undefined && this.#failed(me)) return true;
    this.address[me] = a;
    this.kind[me] = kind;
    this.words[me] = 1;
    this.own[me] = own;
    return this.#leave(me);
  }

  /** Whether the running coroutine has to yield at the point it declared. */
  #leave(me: number): boolean {
    if (this.#starting) return true;
    const next = this.#pick();
    if (next === me) return false;
    if (next >= 0) this.preemptions++;
    this.#next = next;
    return true;
  }

  block(a: number, own: number): void {
    this.#fallAsleep(a, own, AT_CHANGE, LOOK | POINT_BLOCKED);
  }

  blockLock(a: number, own: number): void {
    this.#fallAsleep(a, own, WHEN_FREE, TAKE);
  }

  #fallAsleep(a: number, own: number, how: number, kind: number): void {
    const me = this.#running;
    if (this.#check !== undefined) {
      // What was a look at a held lock is told as that: it took nothing.
      if (how === WHEN_FREE) this.kind[me] = LOOK;
      this.#failed(me);
    }
    this.address[me] = a;
    this.kind[me] = kind;
    this.words[me] = 1;
    this.own[me] = own;
    this.#saw[me] = word(a);
    this.#sawOwn[me] = word(own);
    this.#sleep[me] = how;
    this.#sleepers++;
    this.state[me] = BLOCKED;
    this.readyCount--;
  }

  choose(what: number, n: number): number {
    const actor = this.#running;
    const value = this.#strategy.choose?.(this, actor, what, n) ?? 0;
    if (!(value >= 0 && value < n)) throw new StrategyError(`strategy chose ${value} of ${n}`);
    this.chosen.push({ step: this.steps, actor, what, n, value });
    return value;
  }

  /** Tells the check of the step that `me` has taken; true when it found something. */
  #failed(me: number): boolean {
    if (this.#starting || this.#found !== undefined) return this.#found !== undefined;
    const kind = this.kind[me]!;
    const own = (kind & POINT_POLL) !== 0 ? this.own[me]! : -1;
    this.#found = this.#check?.(me, this.address[me]!, kind, this.words[me]!, own);
    if (this.#found === undefined) return false;
    this.#next = ABANDON;
    return true;
  }

  /** Asks the strategy; NOBODY when no actor is ready, ABANDON when the execution ends here. */
  #pick(): number {
    if (this.#sleepers !== 0) this.#lookAtSleepers();
    if (this.readyCount === 0) return NOBODY;
    if (this.steps >= this.#bound) return ABANDON;
    const at = this.steps++;
    const next = this.#strategy.pick(this, this.#running);
    if (this.state[next] !== READY) {
      this.steps--;
      if (next === ABANDON) return ABANDON;
      throw new StrategyError(`strategy picked actor ${next}, not ready`);
    }
    if (at === this.picks.length) this.#grow();
    this.picks[at] = next;
    return next;
  }

  #grow(): void {
    const more = new Uint8Array(this.picks.length * 2);
    more.set(this.picks);
    this.picks = more;
  }

  #lookAtSleepers(): void {
    for (let i = 0; i < this.actors; i++) {
      const how = this.#sleep[i];
      if (how === AWAKE) continue;
      const ready = how === AT_CHANGE ? this.state[i] === READY || this.#changed(i) : this.#free(i);
      if (ready === (this.state[i] === READY)) continue;
      this.state[i] = ready ? READY : BLOCKED;
      this.readyCount += ready ? 1 : -1;
    }
  }

  #changed(i: number): boolean {
    return word(this.address[i]!) !== this.#saw[i] || word(this.own[i]!) !== this.#sawOwn[i];
  }

  #free(i: number): boolean {
    return word(this.address[i]!) === 0 || (word(this.own[i]!) & REQ_ABORT) !== 0;
  }

  #run(bodies: readonly (() => Steps<void>)[]): Outcome {
    const failed = this.#start(bodies);
    if (failed !== undefined) return failed;
    for (;;) {
      const next = this.#next === NOBODY ? this.#pick() : this.#next;
      this.#next = NOBODY;
      if (next < 0) return this.#end(next);
      if (next !== this.#running) {
        this.switches++;
        this.#running = next;
      }
      if (this.#sleep[next] !== AWAKE) {
        this.#sleep[next] = AWAKE;
        this.#sleepers--;
      }
      const failed = this.#resume(next);
      if (failed !== undefined) return failed;
    }
  }

  /** Makes the coroutines and brings each to its first point. */
  #start(bodies: readonly (() => Steps<void>)[]): Outcome | undefined {
    this.#starting = true;
    for (let i = 0; i < this.actors; i++) {
      this.#running = i;
      this.#coroutines[i] = bodies[i]!();
      const failed = this.#resume(i);
      if (failed !== undefined) return failed;
    }
    this.#running = 0;
    this.#starting = false;
    return undefined;
  }

  #resume(i: number): Outcome | undefined {
    try {
      if (this.#coroutines[i]!.next().done !== true) return undefined;
    } catch (error) {
      if (error instanceof StrategyError) throw error;
      this.#ended(i);
      return { kind: 'threw', body: i, error, ...this.#counts() };
    }
    if (this.#check !== undefined) this.#failed(i);
    this.#ended(i);
    return undefined;
  }

  #ended(i: number): void {
    this.state[i] = ENDED;
    this.readyCount--;
  }

  #end(next: number): Outcome {
    const counts = this.#counts();
    if (this.#found !== undefined) return { kind: 'found', finding: this.#found, ...counts };
    if (next === ABANDON) return { kind: this.steps >= this.#bound ? 'bound' : 'abandoned', ...counts };
    const waits = this.#waits();
    return waits.length === 0 ? { kind: 'done', ...counts } : { kind: 'deadlock', waits, ...counts };
  }

  #counts(): Counts {
    return { steps: this.steps, switches: this.switches, preemptions: this.preemptions };
  }

  #waits(): Wait[] {
    const found: Wait[] = [];
    for (let body = 0; body < this.actors; body++) {
      if (this.state[body] !== BLOCKED) continue;
      const address = this.address[body]!;
      found.push({ body, address, holders: holdersOf(address) });
    }
    return found;
  }
}

/** Actors whose list of held locks has `address`. */
function holdersOf(address: number): number[] {
  const found: number[] = [];
  for (let i = 0; i < MAX_CPUS; i++) {
    const cpu = cpuAt(i);
    for (let k = 0; k < word(actor.heldCount(cpu)); k++) {
      if (word(actor.heldAddress(cpu, k)) === address) found.push(i);
    }
  }
  return found;
}

/** Runs the bodies to their end, interleaved as `strategy` picks, in at most `bound` steps. */
export function interleave(
  bodies: readonly (() => Steps<void>)[],
  strategy: Picker,
  bound = DEFAULT_BOUND,
  check?: StepCheck,
): Outcome {
  return new Loop(bodies.length).execute(bodies, strategy, bound, check);
}

/** The waits of a deadlock as lines for people. */
export function formatWaits(waits: readonly Wait[]): string {
  return waits
    .map(({ body, address, holders }) => {
      const by = holders.length === 0 ? 'nobody holds' : `held by actor ${holders.join(', ')}`;
      return `body ${String(body)} waits for word ${String(address)}, ${by}`;
    })
    .join('\n');
}
