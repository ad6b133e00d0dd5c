/**
 * A campaign of episodes, seen from the main thread: it starts the threads of either build and sums up what they say.
 *
 * Invariant: the core of one build is loaded in one isolate only: the threads load it, the caller need not.
 * A campaign ends at its first failure, for what came after it would not be trusted.
 */
import { Worker } from 'node:worker_threads';
import { createMemory } from '../../ops/memory.js';
import type { FuzzKind, FuzzReport } from './report.js';
import { FUZZ_MAX_VCPUS, FUZZ_MEMORY_MIB, type FuzzFixed } from './plan.js';
import type { EpisodeResult } from './result.js';
import type { FromFuzz, FuzzTask } from './serve.js';
import { FUZZ_BOARD_WORDS, stopFuzzThreads } from './threads.js';

export const FUZZ_BUILDS = ['controlled', 'parallel'] as const;
export type FuzzBuild = (typeof FUZZ_BUILDS)[number];

export interface FuzzOptions extends FuzzFixed {
  readonly build: FuzzBuild;
  /** At least so many hypercalls, from the episode of this seed on. */
  readonly calls: number;
  readonly seed: number;
  readonly stop?: AbortSignal | undefined;
  readonly onProgress?: ((r: FuzzReport, last: EpisodeResult) => void) | undefined;
}

/** Longer than an episode may take before its own control plane calls it hung. */
const SILENCE_MS = 300_000;
const here = import.meta.url;
const dist = here.includes('/dist/')
  ? here.slice(0, here.lastIndexOf('/dist/'))
  : new URL('../../..', here).href.replace(/\/$/, '');

/** Runs the campaign; rejects when a thread dies. */
export async function fuzz(o: FuzzOptions): Promise<FuzzReport> {
  const campaign = new Campaign(o);
  try {
    return await campaign.run();
  } finally {
    await campaign.close();
  }
}

class Campaign {
  readonly #o: FuzzOptions;
  readonly #board = new Int32Array(new SharedArrayBuffer(FUZZ_BOARD_WORDS * 4));
  readonly #stopped = new Int32Array(new SharedArrayBuffer(4));
  readonly #workers: Worker[] = [];
  readonly #memory = createMemory(FUZZ_MEMORY_MIB);
  readonly #thrown: string[] = [];
  readonly #kinds = new Map<string, FuzzKind>();
  #failure: FuzzReport['failure'];
  #episodes = 0;
  #calls = 0;
  #overlaps = 0;
  #forgotten = 0;
  #endless = 0;
  #complete = true;

  constructor(o: FuzzOptions) {
    this.#o = o;
  }

  run(): Promise<FuzzReport> {
    const { seed, calls, build } = this.#o;
    const fixed: FuzzFixed = { vcpus: this.#o.vcpus, wild: this.#o.wild, churns: this.#o.churns };
    const common = { stopped: this.#stopped, fixed };
    const abort = (): void => {
      this.#complete = false;
      Atomics.store(this.#stopped, 0, 1);
    };
    if (this.#o.stop?.aborted === true) abort();
    this.#o.stop?.addEventListener('abort', abort);
    return new Promise((resolve, reject) => {
      const silent = setTimeout(() => {
        reject(new Error(`the fuzzer says nothing since the episode of seed ${String(seed + this.#episodes)}`));
      }, SILENCE_MS);
      const hear = (m: FromFuzz): void => {
        silent.refresh();
        if (m.kind === 'threw') this.#thrown.push(m.text);
        else if (m.kind === 'episode') this.#count(m.result);
        else {
          clearTimeout(silent);
          // What a failing vCPU thread said may still be under way.
          setTimeout(
            () => {
              resolve(this.#report());
            },
            this.#failure === undefined ? 0 : 100,
          );
        }
      };
      const start = (task: FuzzTask): void => {
        this.#start(task, hear, reject);
      };
      if (build === 'controlled') start({ ...common, role: 'controlled', seed, calls });
      else {
        start({ ...common, role: 'control', seed, calls, board: this.#board });
        const vcpus = this.#o.vcpus ?? FUZZ_MAX_VCPUS;
        for (let index = 0; index < vcpus; index++) start({ ...common, role: 'vcpu', index, board: this.#board });
      }
    });
  }

  #start(task: FuzzTask, hear: (m: FromFuzz) => void, failed: (e: unknown) => void): void {
    const worker = new Worker(new URL(`${dist}/dist/${this.#o.build}/workers/fuzz.js`), {
      workerData: { memory: this.#memory, task },
      execArgv: ['--enable-source-maps'],
    });
    worker.on('message', hear);
    worker.on('error', failed);
    this.#workers.push(worker);
  }

  #count(r: EpisodeResult): void {
    this.#episodes++;
    this.#calls += r.calls;
    this.#overlaps += r.overlaps;
    this.#forgotten += r.forgotten ? 1 : 0;
    this.#endless += r.endless;
    for (const k of r.byKind) {
      const sum = this.#kinds.get(k.name) ?? { name: k.name, steps: 0, effects: 0 };
      this.#kinds.set(k.name, { name: k.name, steps: sum.steps + k.steps, effects: sum.effects + k.effects });
    }
    if (r.wrong.length > 0) this.#failure = { plan: r.plan, wrong: r.wrong };
    this.#o.onProgress?.(this.#report(), r);
  }

  #report(): FuzzReport {
    const f = this.#failure;
    return {
      build: this.#o.build,
      seed: this.#o.seed,
      nextSeed: this.#o.seed + this.#episodes,
      complete: this.#complete && f === undefined,
      episodes: this.#episodes,
      calls: this.#calls,
      overlaps: this.#overlaps,
      forgotten: this.#forgotten,
      endless: this.#endless,
      kinds: [...this.#kinds.values()],
      failure: f === undefined ? undefined : { plan: f.plan, wrong: [...f.wrong, ...this.#thrown] },
    };
  }

  async close(): Promise<void> {
    stopFuzzThreads(this.#board);
    await Promise.all(this.#workers.map((w) => w.terminate()));
  }
}
