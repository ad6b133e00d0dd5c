/**
 * One machine of a teardown benchmark: a memory and its threads, opened for one setting after another.
 *
 * Invariant: a thread has at most one task; a machine whose thread is late or broken is ended, and says why.
 * Lock: none; the main thread never blocks.
 */
import { Worker } from 'node:worker_threads';
import { createMemory } from '../../ops/memory.js';
import {
  STATE_WORDS,
  type BenchReply,
  type BenchStart,
  type BenchTask,
  type BenchThreadData,
  type Setting,
  type Sight,
} from './messages.js';

export type Build = 'controlled' | 'parallel';

const here = import.meta.url;
const dist = here.includes('/dist/')
  ? here.slice(0, here.lastIndexOf('/dist/'))
  : new URL('../../..', here).href.replace(/\/$/, '');
const entry = (build: Build): URL => new URL(`${dist}/dist/${build}/workers/bench.js`);

/** Longer than anything asked of a thread takes, also on a busy machine. */
const LATE_MS = 600_000;

/** A thread that answers each task once. */
class BenchThread {
  readonly #worker: Worker;
  #settle: ((r: BenchReply) => void) | undefined;
  #broken = '';

  constructor(build: Build, data: BenchThreadData) {
    this.#worker = new Worker(entry(build), { workerData: data, execArgv: ['--enable-source-maps'] });
    this.#worker.on('message', (r: BenchReply) => {
      this.#answer(r);
    });
    this.#worker.on('error', (e: unknown) => {
      this.#break(e instanceof Error ? (e.stack ?? e.message) : String(e));
    });
    this.#worker.on('exit', () => {
      this.#break('the thread has ended');
    });
  }

  ask(task: BenchTask): Promise<BenchReply> {
    if (this.#broken !== '') return Promise.resolve({ kind: 'failed', error: this.#broken });
    return new Promise((resolve) => {
      const late = setTimeout(() => {
        this.#break('a thread of the machine did not answer');
      }, LATE_MS);
      this.#settle = (r) => {
        clearTimeout(late);
        resolve(r);
      };
      this.#worker.postMessage(task);
    });
  }

  async end(): Promise<void> {
    this.#broken ||= 'ended';
    this.#answer({ kind: 'failed', error: this.#broken });
    await this.#worker.terminate();
  }

  #break(why: string): void {
    this.#broken ||= why;
    this.#answer({ kind: 'failed', error: this.#broken });
  }

  #answer(r: BenchReply): void {
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(r);
  }
}

export type Opening = { readonly ok: true } | { readonly ok: false; readonly refused: boolean; readonly why: string };

export class BenchMachine {
  readonly #data: BenchThreadData;
  readonly #build: Build;
  readonly #threads: BenchThread[] = [];
  #followers: Promise<BenchReply>[] = [];
  #bystander: Promise<BenchReply> | undefined;
  #setting: Setting | undefined;
  /** Resolves when a follower comes to its end before it was told to. */
  #fallen: Promise<BenchReply> = new Promise(() => undefined);

  constructor(mib: number, build: Build) {
    this.#build = build;
    this.#data = { memory: createMemory(mib), state: new Int32Array(new SharedArrayBuffer(4 * STATE_WORDS)) };
  }

  #thread(i: number): BenchThread {
    return (this.#threads[i] ??= new BenchThread(this.#build, this.#data));
  }

  /** Counts one end of the setting's process (controlled build). */
  count(setting: Setting): Promise<BenchReply> {
    return this.#thread(0).ask({ kind: 'count', setting });
  }

  /** Boots the machine for a setting; it can then be asked for rounds. */
  async open(setting: Setting): Promise<Opening> {
    const opened = await this.#thread(0).ask({ kind: 'open', setting });
    if (opened.kind !== 'opened') return notOpen(opened);
    this.#setting = setting;
    this.#follow(opened.start, setting);
    const booted = await this.#lead({ kind: 'boot' });
    return booted.kind === 'done' ? { ok: true } : notOpen(booted);
  }

  #follow(start: BenchStart, setting: Setting): void {
    const { vcpus } = setting.point;
    this.#followers = [];
    for (let id = 1; id < vcpus; id++) this.#followers.push(this.#thread(id).ask({ kind: 'join', start, id }));
    this.#bystander = setting.bystander ? this.#thread(vcpus).ask({ kind: 'bystand', start, id: vcpus }) : undefined;
    const all = this.#bystander === undefined ? this.#followers : [...this.#followers, this.#bystander];
    this.#fallen = new Promise((resolve) => {
      for (const f of all) void f.then((r) => (r.kind === 'failed' ? resolve(r) : undefined));
    });
  }

  /** The first vCPU's answer, or why another one fell over. */
  #lead(task: BenchTask): Promise<BenchReply> {
    return Promise.race([this.#thread(0).ask(task), this.#fallen]);
  }

  round(): Promise<BenchReply> {
    return this.#lead({ kind: 'round' });
  }

  meet(rounds: number): Promise<BenchReply> {
    return this.#lead({ kind: 'meet', rounds });
  }

  /** Ends the opened machine's vCPUs; what its bystander saw. */
  async close(): Promise<Sight | undefined> {
    await this.#lead({ kind: 'close' });
    await Promise.all(this.#followers);
    const saw = await this.#bystander;
    return saw?.kind === 'saw' ? saw.sight : undefined;
  }

  /** The same setting from scratch, threads as warm as they are. */
  async reopen(): Promise<Opening> {
    await this.close();
    return this.#setting === undefined ? { ok: false, refused: false, why: 'never opened' } : this.open(this.#setting);
  }

  async end(): Promise<void> {
    await Promise.all(this.#threads.map((t) => t.end()));
  }
}

function notOpen(r: BenchReply): Opening {
  if (r.kind === 'refused') return { ok: false, refused: true, why: r.why };
  return { ok: false, refused: false, why: r.kind === 'failed' ? r.error : `unexpected answer '${r.kind}'` };
}
