/**
 * Threads of one build that replay shares of a conformance run: the caller stays free to show progress and hear Ctrl-C.
 *
 * Invariant: the core of one build is loaded in one isolate only, so every build has a pool of its own and the caller
 * loads no core at all; a share that takes far longer than any tape can is told as a hang, with the lines it is about.
 * Source: DESIGN decision 3 (never both builds in one isolate).
 */
import { Piscina } from 'piscina';
import type { BatchResult, BatchTask } from './batch.js';
import { TAPE_MEMORY_MIB } from './names.js';

export const BUILDS = ['parallel', 'controlled'] as const;
export type Build = (typeof BUILDS)[number];

/** A tape takes milliseconds. */
const STALL_MS = 120_000;
/** A thread costs more to start than to keep. */
const IDLE_MS = 60_000;
const here = import.meta.url;
const root = here.includes('/dist/')
  ? here.slice(0, here.lastIndexOf('/dist/'))
  : new URL('../../..', here).href.replace(/\/$/, '');

export class ReplayPool {
  readonly build: Build;
  readonly #pool: Piscina<BatchTask, BatchResult>;
  #ended = false;

  constructor(build: Build, threads: number) {
    this.build = build;
    this.#pool = new Piscina<BatchTask, BatchResult>({
      filename: `${root}/dist/${build}/workers/conform.js`,
      minThreads: 1,
      maxThreads: threads,
      idleTimeout: IDLE_MS,
      env: { ...process.env, XENOLITH_MEMORY_MIB: String(TAPE_MEMORY_MIB) },
      execArgv: ['--enable-source-maps'],
      recordTiming: false,
    });
    this.#pool.on('error', (e: Error) => {
      // An answer that was on its way when the threads were ended is nobody's.
      if (!this.#ended) throw e;
    });
  }

  async run(task: BatchTask): Promise<BatchResult> {
    const late = new AbortController();
    const clock = setTimeout(() => {
      late.abort();
    }, STALL_MS);
    try {
      return await this.#pool.run(task, { signal: late.signal });
    } catch (e) {
      if (!late.signal.aborted) throw e;
      const lines = `${task.file}:${String(task.lines[0]?.[0])} to ${String(task.lines.at(-1)?.[0])}`;
      throw new Error(`the replay of ${lines} in the ${this.build} build stands still`, { cause: e });
    } finally {
      clearTimeout(clock);
    }
  }

  /** Ends the threads, wherever they are. */
  async end(): Promise<void> {
    this.#ended = true;
    await this.#pool.destroy();
  }
}
