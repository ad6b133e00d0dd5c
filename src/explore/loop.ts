/**
 * The coroutine loop: runs bodies in one thread, switching where the strategy says.
 *
 * Invariant: between two points exactly one body runs; a blocked actor becomes ready when a word it waits for differs
 * from what it was when it blocked, looked at before every choice, so that no change can be missed and undone between.
 * Lock: none; it is the scheduler of `sync/primitives` and exists in the controlled build only.
 * Source: DESIGN decision 3. A body that is not finished is dropped, never return()ed (decision 9).
 */
import { words } from '../ops/memory.js';
import { actor, cpuAt, MAX_CPUS } from '../sync/actor.js';
import { withScheduler } from '../sync/primitives.js';
import type { Scheduler } from '../sync/schedule.js';
import type { Steps } from '../sync/steps.js';
import { BLOCKED, ENDED, READY, type Strategy, type View } from './strategy.js';

/** One actor of a deadlock: which word it waits for, and which actors (indices of `cpuAt`) hold it as a lock. */
export interface Wait {
  readonly body: number;
  readonly address: number;
  readonly holders: readonly number[];
}

export type Outcome = { readonly steps: number; readonly switches: number } & (
  | { readonly kind: 'done' }
  /** Nobody is ready and somebody waits. */
  | { readonly kind: 'deadlock'; readonly waits: readonly Wait[] }
  /** The step bound was reached: a livelock, or a bound too small. */
  | { readonly kind: 'bound' }
  /** A body threw; the others were dropped where they were. */
  | { readonly kind: 'threw'; readonly body: number; readonly error: unknown }
);

const NOBODY = -1;
const word = (a: number): number => words[a] as number;

class Loop implements Scheduler, View {
  readonly actors: number;
  readonly state: Uint8Array;
  readonly address: Int32Array;
  readonly kind: Int32Array;
  readonly words: Int32Array;
  readyCount: number;
  steps = 0;
  switches = 0;
  running = 0;
  /** Who goes on after the yield under way; NOBODY when that is still to be chosen. */
  chosen = NOBODY;
  /** The two words each blocked actor waits for, and what they held. */
  readonly #waitsFor: Int32Array;
  readonly #saw: Int32Array;
  #blocked = 0;
  readonly #strategy: Strategy;
  readonly #bound: number;

  constructor(actors: number, strategy: Strategy, bound: number) {
    this.actors = actors;
    this.readyCount = actors;
    this.state = new Uint8Array(actors);
    this.address = new Int32Array(actors);
    this.kind = new Int32Array(actors);
    this.words = new Int32Array(actors);
    this.#waitsFor = new Int32Array(2 * actors);
    this.#saw = new Int32Array(2 * actors);
    this.#strategy = strategy;
    this.#bound = bound;
    strategy.begin(this);
  }

  get exhausted(): boolean {
    return this.steps >= this.#bound;
  }

  point(a: number, kind: number, n: number): boolean {
    const me = this.running;
    this.address[me] = a;
    this.kind[me] = kind;
    this.words[me] = n;
    if (this.exhausted) return true;
    const next = this.choose();
    if (next === me) return false;
    this.chosen = next;
    return true;
  }

  block(a: number, b: number): void {
    const me = this.running;
    this.#waitsFor[2 * me] = a;
    this.#waitsFor[2 * me + 1] = b;
    this.#saw[2 * me] = word(a);
    this.#saw[2 * me + 1] = word(b);
    this.state[me] = BLOCKED;
    this.readyCount--;
    this.#blocked++;
  }

  end(): void {
    this.state[this.running] = ENDED;
    this.readyCount--;
  }

  /** Asks the strategy; NOBODY when no actor is ready. */
  choose(): number {
    if (this.#blocked !== 0) this.#wakeChanged();
    if (this.readyCount === 0) return NOBODY;
    this.steps++;
    const next = this.#strategy.pick(this, this.running);
    if (this.state[next] !== READY) throw new RangeError(`strategy picked actor ${String(next)}, not ready`);
    return next;
  }

  #wakeChanged(): void {
    for (let i = 0; i < this.actors; i++) {
      if (this.state[i] !== BLOCKED || !(this.#changed(2 * i) || this.#changed(2 * i + 1))) continue;
      this.state[i] = READY;
      this.readyCount++;
      this.#blocked--;
    }
  }

  #changed(slot: number): boolean {
    return word(this.#waitsFor[slot] as number) !== this.#saw[slot];
  }

  waits(): Wait[] {
    const found: Wait[] = [];
    this.state.forEach((s, body) => {
      if (s !== BLOCKED) return;
      const address = this.#waitsFor[2 * body] as number;
      found.push({ body, address, holders: holdersOf(address) });
    });
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
export function interleave(bodies: readonly (() => Steps<void>)[], strategy: Strategy, bound = 10_000_000): Outcome {
  const loop = new Loop(bodies.length, strategy, bound);
  return withScheduler(loop, () => drive(loop, bodies));
}

function drive(loop: Loop, bodies: readonly (() => Steps<void>)[]): Outcome {
  const coroutines: Steps<void>[] = [];
  for (const [i, body] of bodies.entries()) coroutines[i] = body();
  for (;;) {
    const next = loop.chosen === NOBODY ? loop.choose() : loop.chosen;
    loop.chosen = NOBODY;
    const { steps, switches } = loop;
    if (next === NOBODY) {
      const waits = loop.waits();
      return waits.length === 0 ? { kind: 'done', steps, switches } : { kind: 'deadlock', waits, steps, switches };
    }
    if (next !== loop.running) loop.switches++;
    loop.running = next;
    try {
      if ((coroutines[next] as Steps<void>).next().done === true) loop.end();
    } catch (error) {
      return { kind: 'threw', body: next, error, steps: loop.steps, switches: loop.switches };
    }
    if (loop.exhausted && loop.readyCount !== 0 && loop.chosen === NOBODY) {
      return { kind: 'bound', steps: loop.steps, switches: loop.switches };
    }
  }
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
