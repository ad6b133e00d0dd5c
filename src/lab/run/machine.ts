/**
 * One machine on the host: its memory, its board and its threads, reused from design to design.
 *
 * Invariant: a thread that is asked is alive; one that died is replaced before it is asked again.
 * Lock: none; the main thread only loads, ors and notifies.
 */
import { createMemory } from '../../ops/memory.js';
import { actor, REQ_ABORT, type Cpu } from '../../sync/actor.js';
import { BOARD_ENDED, BOARD_GIVEN_UP, BOARD_GO, BOARD_WORDS, type ThreadData } from './messages.js';
import { Thread, type Entries } from './thread.js';

export class Machine {
  readonly words: Int32Array;
  readonly board = new Int32Array(new SharedArrayBuffer(BOARD_WORDS * 4));
  readonly #data: ThreadData;
  readonly #entries: Entries;
  #control: Thread | undefined;
  readonly #vcpus: Thread[] = [];

  /** A machine of `mib` MiB whose threads start at `entries`. */
  constructor(mib: number, entries: Entries) {
    const memory = createMemory(mib);
    this.words = new Int32Array(memory.buffer);
    this.#data = { memory, board: this.board };
    this.#entries = entries;
  }

  control(): Thread {
    if (this.#control?.alive !== true) this.#control = new Thread(this.#entries.control, this.#data);
    return this.#control;
  }

  /** Threads for `n` vCPUs. */
  vcpus(n: number): Thread[] {
    for (let i = 0; i < n; i++) {
      if (this.#vcpus[i]?.alive !== true) this.#vcpus[i] = new Thread(this.#entries.vcpu, this.#data);
    }
    return this.#vcpus.slice(0, n);
  }

  /** The barrier that the next tasks wait at. */
  nextGo(): number {
    Atomics.store(this.board, BOARD_GIVEN_UP, 0);
    return Atomics.load(this.board, BOARD_GO) + 1;
  }

  /** Opens the barrier `go`. */
  go(go: number): void {
    Atomics.store(this.board, BOARD_GO, go);
    Atomics.notify(this.board, BOARD_GO);
  }

  /** Tells the control thread that the vCPUs which started at `go` have ended. */
  ended(go: number): void {
    Atomics.store(this.board, BOARD_ENDED, go);
    Atomics.notify(this.board, BOARD_ENDED);
  }

  /** Asks every actor at `cpus` to give the machine up: each wait and each poll ends by an exception. */
  giveUp(cpus: readonly number[]): void {
    Atomics.store(this.board, BOARD_GIVEN_UP, 1);
    Atomics.notify(this.board, BOARD_GO);
    for (const cpu of cpus) {
      Atomics.or(this.words, actor.request(cpu as Cpu), REQ_ABORT);
      Atomics.notify(this.words, actor.request(cpu as Cpu));
    }
  }

  /** Ends every thread, wherever it is. */
  async close(): Promise<void> {
    const all = this.#control === undefined ? this.#vcpus : [...this.#vcpus, this.#control];
    await Promise.all(all.map((t) => t.terminate()));
  }
}
