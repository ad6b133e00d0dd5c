/**
 * One worker thread of a machine, seen from the main thread: given a task, it answers once.
 *
 * Invariant: at most one task is under way; a thread that dies answers its task with `failed`.
 * Lock: none; the main thread never waits, it hears messages.
 */
import { Worker } from 'node:worker_threads';
import type { FromThread, Reply, Task, ThreadData } from './messages.js';

export type Role = 'vcpu' | 'control';

/** Where the two kinds of thread start. */
export type Entries = Readonly<Record<Role, URL>>;

const built = import.meta.url.endsWith('.js');
const entry = (role: Role): URL =>
  new URL(`${built ? '../../../workers/' : '../../../dist/parallel/workers/'}${role}.js`, import.meta.url);
/** The shipped entries: of the parallel build only, whether this file runs from the sources or from it. */
export const ENTRIES: Entries = { vcpu: entry('vcpu'), control: entry('control') };

interface Pending {
  readonly onReady: () => void;
  readonly resolve: (reply: Reply) => void;
}

export class Thread {
  readonly #worker: Worker;
  #pending: Pending | undefined;
  #dead = false;

  constructor(entryUrl: URL, data: ThreadData) {
    this.#worker = new Worker(entryUrl, { workerData: data, execArgv: ['--enable-source-maps'] });
    this.#worker.on('message', (m: FromThread) => {
      if (m.kind === 'ready') this.#pending?.onReady();
      else this.#settle(m);
    });
    this.#worker.on('error', (e: unknown) => {
      this.#die(e instanceof Error ? e.message : String(e), e instanceof Error ? (e.stack ?? '') : '');
    });
    this.#worker.on('exit', (code) => {
      this.#die(`the thread ended with code ${String(code)}`, '');
    });
  }

  get alive(): boolean {
    return !this.#dead;
  }

  /** Hands the thread a task; `onReady` is called when it has reached the barrier. */
  ask(task: Task, onReady: () => void = () => undefined): Promise<Reply> {
    if (this.#dead) return Promise.resolve({ kind: 'failed', error: 'the thread has ended', stack: '' });
    if (this.#pending !== undefined) throw new Error('a thread was given a second task');
    return new Promise((resolve) => {
      this.#pending = { onReady, resolve };
      this.#worker.postMessage(task);
    });
  }

  /** Ends the thread wherever it is; its task is answered with `lost`. */
  async terminate(): Promise<void> {
    this.#dead = true;
    await this.#worker.terminate();
    this.#settle({ kind: 'lost' });
  }

  #settle(reply: Reply): void {
    const pending = this.#pending;
    this.#pending = undefined;
    pending?.resolve(reply);
  }

  #die(error: string, stack: string): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#settle({ kind: 'failed', error, stack });
  }
}
