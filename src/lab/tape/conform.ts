/**
 * Replays files of recordings in one build or both, over all cores: the reusable part of the command that asks "is this
 * Xen?".
 *
 * Invariant: files are read no faster than they are replayed: never more than a few shares of lines are held, so a file may
 * be larger than memory. What is reported does not depend on which thread was faster.
 * Source: tapes FORMAT.md.
 */
import { availableParallelism } from 'node:os';
import type { BatchResult, BatchTask, ReplayOptions } from './batch.js';
import { inputFiles } from './inputs.js';
import { BUILDS, ReplayPool, type Build } from './pool.js';
import { readLines, type Line } from './reader.js';
import type { ConformReport, PlacedDifference } from './report.js';
import { Tally } from './tally.js';

export type { Build } from './pool.js';
export { BUILDS } from './pool.js';

export interface ConformOptions extends ReplayOptions {
  /** Files, and folders of files; none: the recordings that come with the project. */
  readonly files: readonly string[];
  /** Default: both. */
  readonly builds?: readonly Build[] | undefined;
  /** Threads of each build. Default: as many as there are cores. */
  readonly threads?: number | undefined;
  /** Whether the report shall hold the differences. Default: yes. */
  readonly keep?: boolean | undefined;
  readonly stop?: AbortSignal | undefined;
  readonly onProgress?: ((p: ConformProgress) => void) | undefined;
  readonly onDifferent?: ((d: PlacedDifference) => void) | undefined;
}

export interface ConformProgress {
  readonly tapes: number;
  readonly different: number;
  /** Of the input that could be measured, 0 to 1. */
  readonly part: number;
}

/** A share: this many lines, or as many as reach this many characters. */
const SHARE_LINES = 24;
const SHARE_TEXT = 256 * 1024;
/** Shares that wait in each pool, beside those that its threads work on. */
const WAITING = 2;
const MAX_THREADS = 16;

/** Replays the chosen tapes; rejects with LabError when a file cannot be read or holds something else. */
export async function conform(o: ConformOptions): Promise<ConformReport> {
  const files = inputFiles(o.files);
  const builds = o.builds ?? BUILDS;
  const threads = o.threads ?? Math.min(availableParallelism(), MAX_THREADS);
  const run = new ConformRun(o, builds, threads);
  const total = files.reduce((n, f) => n + f.bytes, 0);
  let before = 0;
  try {
    for (const { file, bytes } of files) {
      await run.file(file, (read) => (total === 0 ? 0 : (before + read) / total));
      before += bytes;
      if (run.ended) break;
    }
    return run.report();
  } finally {
    await run.end();
  }
}

interface Share {
  readonly answers: Promise<BatchResult[]>;
  readonly part: number;
}

class ConformRun {
  readonly #o: ConformOptions;
  readonly #pools: readonly ReplayPool[];
  readonly #tally: Tally;
  readonly #limit: number;
  readonly #stopped = new Int32Array(new SharedArrayBuffer(4));
  /** Handed out, oldest first. */
  readonly #shares: Share[] = [];
  readonly #onStop = (): void => void Atomics.store(this.#stopped, 0, 1);

  constructor(o: ConformOptions, builds: readonly Build[], threads: number) {
    this.#o = o;
    this.#pools = builds.map((b) => new ReplayPool(b, threads));
    this.#tally = new Tally(builds, o);
    this.#limit = threads + WAITING;
    if (o.stop?.aborted === true) this.#onStop();
    o.stop?.addEventListener('abort', this.#onStop);
  }

  get ended(): boolean {
    return this.#tally.ended;
  }

  /** Replays a file; `partOf` says how far the whole input is when so many bytes of this file were read. */
  async file(file: string, partOf: (bytes: number) => number): Promise<void> {
    let lines: Line[] = [];
    let size = 0;
    const flush = async (): Promise<void> => {
      if (lines.length > 0 && !this.ended) await this.#hand(file, lines, partOf(lines.at(-1)?.bytes ?? 0));
      lines = [];
      size = 0;
    };
    try {
      await readLines(file, async (line) => {
        lines.push(line);
        size += line.text.length;
        if (lines.length >= SHARE_LINES || size >= SHARE_TEXT) await flush();
        return !this.ended;
      });
    } finally {
      // Also when the file breaks off: what stands before the break is told first.
      await flush();
      while (this.#shares.length > 0) await this.#takeOldest();
    }
  }

  async #hand(file: string, lines: readonly Line[], part: number): Promise<void> {
    const { tape, quantum, design, stopFirst } = this.#o;
    const texts = lines.map((l) => [l.line, l.text] as const);
    const task: BatchTask = { file, lines: texts, tape, quantum, design, stopFirst, stopped: this.#stopped };
    const answers = Promise.all(this.#pools.map((p) => p.run(task)));
    // A failure is heard when its turn comes.
    answers.catch(() => undefined);
    this.#shares.push({ answers, part });
    while (this.#shares.length >= this.#limit) await this.#takeOldest();
  }

  async #takeOldest(): Promise<void> {
    const share = this.#shares.shift();
    if (share === undefined || this.ended) return;
    try {
      this.#tally.take(await share.answers);
    } catch (e) {
      this.#tally.stop();
      throw e;
    } finally {
      if (this.#tally.ended) this.#onStop();
    }
    const { tapes, different } = this.#tally;
    this.#o.onProgress?.({ tapes, different, part: share.part });
  }

  report(): ConformReport {
    return this.#tally.report();
  }

  async end(): Promise<void> {
    this.#o.stop?.removeEventListener('abort', this.#onStop);
    await Promise.all(this.#pools.map((p) => p.end()));
  }
}
