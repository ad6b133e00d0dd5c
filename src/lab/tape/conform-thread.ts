/**
 * Conformance on a thread of its own, in either build: the caller stays free to show progress and to hear Ctrl-C.
 *
 * Invariant: the core of one build is loaded in one isolate only, so the thread loads all of it, the caller none.
 * Source: DESIGN decision 3 (never both builds in one isolate).
 */
import { Worker } from 'node:worker_threads';
import { LabError, type SourcePosition } from '../../abi/errors.js';
import { TAPE_MEMORY_MIB } from './names.js';
import type { ConformReport, PlacedDifference } from './report.js';

export const BUILDS = ['controlled', 'parallel'] as const;
export type Build = (typeof BUILDS)[number];

/** What the thread is to do. */
export interface ConformTask {
  readonly files: readonly string[];
  readonly tape?: string | undefined;
  readonly stopFirst?: boolean | undefined;
  readonly quantum?: number | undefined;
}

/** The task with a word that is not 0 when the thread shall come to an end. */
export interface ThreadTask extends ConformTask {
  readonly stopped: Int32Array;
}

/** What the thread says while it works and when it ends. */
export type FromConform =
  | { readonly kind: 'progress'; readonly tapes: number; readonly different: number }
  | { readonly kind: 'different'; readonly difference: PlacedDifference }
  | { readonly kind: 'report'; readonly report: ConformReport }
  | { readonly kind: 'refused'; readonly error: RefusedInput };

/** A LabError on its way between isolates. */
export interface RefusedInput {
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
  readonly position: SourcePosition | undefined;
}

export interface ConformThreadOptions extends ConformTask {
  readonly build: Build;
  readonly stop?: AbortSignal | undefined;
  readonly onProgress?: ((tapes: number, different: number) => void) | undefined;
  readonly onDifferent?: ((d: PlacedDifference) => void) | undefined;
}

/** A tape takes milliseconds: a thread that says nothing for so long hangs. */
const STALL_MS = 60_000;
const here = import.meta.url;
const dist = here.includes('/dist/')
  ? here.slice(0, here.lastIndexOf('/dist/'))
  : new URL('../../..', here).href.replace(/\/$/, '');

/** Replays the files; rejects with LabError for input that cannot be used. */
export function conformInThread(o: ConformThreadOptions): Promise<ConformReport> {
  const stopped = new Int32Array(new SharedArrayBuffer(4));
  const task: ThreadTask = { files: o.files, tape: o.tape, stopFirst: o.stopFirst, quantum: o.quantum, stopped };
  const worker = new Worker(new URL(`${dist}/dist/${o.build}/workers/conform.js`), {
    workerData: task,
    env: { ...process.env, XENOLITH_MEMORY_MIB: String(TAPE_MEMORY_MIB) },
    execArgv: ['--enable-source-maps'],
  });
  o.stop?.addEventListener('abort', () => Atomics.store(stopped, 0, 1));
  return outcome(worker, o).finally(() => void worker.terminate());
}

function outcome(worker: Worker, o: ConformThreadOptions): Promise<ConformReport> {
  return new Promise((resolve, reject) => {
    let tapes = 0;
    const stall = setTimeout(() => {
      reject(new Error(`the replay stands still after ${String(tapes)} tapes`));
    }, STALL_MS);
    worker.on('message', (m: FromConform) => {
      stall.refresh();
      if (m.kind === 'progress') {
        tapes = m.tapes;
        o.onProgress?.(m.tapes, m.different);
      } else if (m.kind === 'different') o.onDifferent?.(m.difference);
      else if (m.kind === 'report') resolve(m.report);
      else reject(asLabError(m.error));
    });
    worker.on('error', reject);
    worker.on('exit', (code) => {
      clearTimeout(stall);
      reject(new Error(`the replaying thread ended with code ${String(code)}`));
    });
  });
}

function asLabError(e: RefusedInput): LabError {
  return new LabError(e.code, e.message, {
    ...(e.hint === undefined ? {} : { hint: e.hint }),
    ...(e.position === undefined ? {} : { position: e.position }),
  });
}
