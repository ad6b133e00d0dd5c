/**
 * Real threads for tests: compiles a test module as the parallel build would, and runs its functions in workers that
 * share this isolate's memory.
 *
 * The output lies in `dist/parallel`, where its imports resolve, as `.mjs`, which the build does not prune.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import ts from 'typescript';
import { erase } from '../../build/erase.mjs';
import { memory } from '../../src/ops/memory.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const WORKER = new URL('thread-worker.mjs', import.meta.url);

export interface Thread {
  /** What the function returned; rejects with what it threw, or when the thread died. */
  readonly result: Promise<unknown>;
  readonly terminate: () => Promise<number>;
}

/** Compiles `file` (relative to the tree, `test/….ts`) and answers the URL to import. */
export function compileForThreads(file: string): string {
  const erased = erase(readFileSync(join(ROOT, file), 'utf8'), file).code;
  const { outputText } = ts.transpileModule(erased, {
    fileName: file,
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true },
  });
  const target = join(ROOT, 'dist/parallel', `${file.slice(0, -3)}.mjs`);
  const temporary = `${target}.${String(process.pid)}`;
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(temporary, outputText);
  renameSync(temporary, target);
  return pathToFileURL(target).href;
}

/** Starts `name(...args)` of a compiled module in a thread of its own. */
export function startThread(module: string, name: string, args: readonly number[]): Thread {
  const worker = new Worker(WORKER, { workerData: { memory, module, name, args } });
  const result = new Promise<unknown>((resolve, reject) => {
    worker.on('message', (m: { value: unknown } | { error: string }) => {
      if ('error' in m) reject(new Error(m.error));
      else resolve(m.value);
    });
    worker.on('error', reject);
    worker.on('exit', (code) => {
      reject(new Error(`the thread ended with code ${String(code)} and no result`));
    });
  });
  return { result, terminate: () => worker.terminate() };
}

/** Runs one thread per argument list and answers what each returned; none outlives the call. */
export async function runThreads(
  module: string,
  name: string,
  args: readonly (readonly number[])[],
): Promise<unknown[]> {
  const threads = args.map((a) => startThread(module, name, a));
  try {
    return await Promise.all(threads.map((t) => t.result));
  } finally {
    await Promise.all(threads.map((t) => t.terminate()));
  }
}
