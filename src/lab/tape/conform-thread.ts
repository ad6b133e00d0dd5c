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

const here = import.meta.url;
const dist = here.includes('/dist/')
  ? here.slice(0, here.lastIndexOf('/dist/'))
  : new URL('../../..', here).href.replace(/\/$/, '');

/** Replays the files; rejects with LabError for input that cannot be used. Undefined: stopped before its end. */
export function conformInThread(o: ConformThreadOptions): Promise<ConformReport | undefined> {
  const task: ConformTask = { files: o.files, tape: o.tape, stopFirst: o.stopFirst };
  const worker = new Worker(new URL(`${dist}/dist/${o.build}/workers/conform.js`), {
    workerData: task,
    env: { ...process.env, XENOLITH_MEMORY_MIB: String(TAPE_MEMORY_MIB) },
    execArgv: ['--enable-source-maps'],
  });
  return new Promise((resolve, reject) => {
    o.stop?.addEventListener('abort', () => void worker.terminate());
    worker.on('message', (m: FromConform) => {
      if (m.kind === 'progress') o.onProgress?.(m.tapes, m.different);
      else if (m.kind === 'different') o.onDifferent?.(m.difference);
      else if (m.kind === 'report') resolve(m.report);
      else reject(asLabError(m.error));
    });
    worker.on('error', reject);
    worker.on('exit', () => {
      resolve(undefined);
    });
  });
}

function asLabError(e: RefusedInput): LabError {
  return new LabError(e.code, e.message, {
    ...(e.hint === undefined ? {} : { hint: e.hint }),
    ...(e.position === undefined ? {} : { position: e.position }),
  });
}
