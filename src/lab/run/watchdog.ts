/**
 * Finds vCPUs that stopped answering, from their records alone.
 *
 * Invariant: reads only, takes no lock and never waits, so that it works whatever the vCPUs hold.
 * Lock: none. Words may be torn between two reads: what it says of a vCPU that still moves is a guess, of one that
 * stands still it is exact.
 *
 * A vCPU stands still when neither its heartbeat nor what it is doing or waiting for has changed for `boundMs` of
 * *observed* time: a gap between two looks (the whole process was stopped) does not count.
 */
import { actor, type Cpu } from '../../sync/actor.js';
import type { VcpuPlace } from './messages.js';

interface Watched {
  signature: string;
  stillMs: number;
}

export class Watchdog {
  readonly #words: Int32Array;
  readonly #boundMs: number;
  readonly #maxGapMs: number;
  readonly #watched = new Map<number, Watched>();
  #last: number | undefined;

  constructor(words: Int32Array, boundMs: number, lookEveryMs: number) {
    this.#words = words;
    this.#boundMs = boundMs;
    this.#maxGapMs = lookEveryMs * 3;
  }

  /** Looks at `running` once, at the time `nowMs`; answers those that have stood still for longer than the bound. */
  look(nowMs: number, running: readonly VcpuPlace[]): VcpuPlace[] {
    const step = this.#last === undefined ? 0 : Math.min(nowMs - this.#last, this.#maxGapMs);
    this.#last = nowMs;
    return running.filter((place) => {
      const signature = this.#signature(place.cpu as Cpu);
      const before = this.#watched.get(place.cpu);
      const stillMs = signature === before?.signature ? before.stillMs + step : 0;
      this.#watched.set(place.cpu, { signature, stillMs });
      return stillMs > this.#boundMs;
    });
  }

  #signature(cpu: Cpu): string {
    const at = (a: number): string => String(Atomics.load(this.#words, a));
    return `${at(actor.beat(cpu))} ${at(actor.doing(cpu))} ${at(actor.waiting(cpu))}`;
  }
}
