/**
 * The sides of a small scenario as threads, seen from the control plane's: lets them run one execution, takes away what
 * dies in it, and says how it ended.
 *
 * Invariant: when `race` answers, every side's thread waits for the next execution; a thread that does not come back, told
 * to give up or not, makes the machine lost, by an exception and not by an answer.
 * Lock: none held between two looks. This thread blocks, so it must not be the main one.
 */
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';
import { ERESTART } from '../../abi/errno.js';
import { HypervisorBug, MachineLost } from '../../abi/errors.js';
import { domain, findDomain } from '../../hypervisor/domain.js';
import { destroyDomain } from '../../hypervisor/domctl.js';
import { globals } from '../../hypervisor/globals.js';
import { vcpu } from '../../machine/cpu-record.js';
import { memory, words } from '../../ops/memory.js';
import { actor, CONTROL, cpuIndex, REQ_ABORT, type Cpu } from '../../sync/actor.js';
import { or, peek, poke, run, wake } from '../../sync/primitives.js';
import type { Aftermath } from '../explore/aftermath.js';
import type { ExploreMachine, Side } from '../explore/machine.js';
import type { Ended } from '../inject/machine.js';
import { regions } from '../run/control.js';
import { Whereabouts } from '../run/whereabouts.js';
import {
  awaitSteps,
  DONE,
  GO,
  makeBoard,
  MAX_SIDES,
  NEWS,
  news,
  STARTS,
  STEPS,
  STILL,
  STOP,
  STOPPED,
  THREW,
} from './board.js';
import type { SideData } from './side-thread.js';

/** What the schedule of one execution is made of, as far as threads have one. */
export interface ThreadRace {
  /** Of each side: steps that the others have begun before it does. */
  readonly starts: readonly number[];
  /** The control plane comes for what died while the others run; else when they stand still or are done. */
  readonly beside: boolean;
  /** A domain that the control plane destroys on its own, so many milliseconds after the beginning. */
  readonly destroy?: { readonly domid: number; readonly afterMs: number } | undefined;
  /** Asked, after something was taken away, whenever every side left stands between two of its steps. */
  readonly still?: () => void;
}

/** What was seen of the dead of an execution. */
export interface Buried {
  /** The domain that the control plane was to destroy on its own was still running. */
  asked: boolean;
  /** Taken away while other sides ran; a dead vCPU held locks of its guest. */
  beside: boolean;
  lockHeld: boolean;
}

/** Between two looks of the control plane; without a sign of life for so long a side is quiet, is hung, is lost. */
const LOOK_MS = 1;
const QUIET_MS = 4;
const HANG_MS = 30_000;
const GRACE_MS = 10_000;
/** How long all sides may take to stop before a step. */
const STILL_MS = 50;

const here = import.meta.url;
const root = here.includes('/dist/')
  ? here.slice(0, here.lastIndexOf('/dist/'))
  : new URL('../../..', here).href.replace(/\/$/, '');
const ENTRY = new URL(`${root}/dist/parallel/workers/small-side.js`);

interface Placed {
  readonly side: Side;
  readonly worker: Worker;
  readonly port: MessagePort;
}

export class SideThreads {
  readonly #machine: ExploreMachine;
  readonly #aftermath: Aftermath;
  readonly #board = makeBoard();
  readonly #placed: Placed[] = [];
  #changed = 0;
  #signature = '';

  constructor(machine: ExploreMachine, aftermath: Aftermath, design: string) {
    this.#machine = machine;
    this.#aftermath = aftermath;
    const own = machine.sides.filter((s) => s.cpu !== CONTROL);
    if (own.length > MAX_SIDES) throw new HypervisorBug('a small scenario with too many sides');
    own.forEach((side, index) => this.#start(side, index, design));
  }

  #start(side: Side, index: number, design: string): void {
    const found = this.#machine.placeOf(side);
    const { port1, port2 } = new MessageChannel();
    const others = this.#machine.sides
      .filter((o) => o.cpu !== CONTROL && o !== side && o.name.startsWith(`${found.domain}.`))
      .map((o) => this.#machine.placeOf(o).id);
    const { start, id } = found;
    const data: SideData = {
      memory, board: this.#board, port: port2, index, design, start, cpu: side.cpu, id, steps: side.steps, others,
    }; // prettier-ignore
    const worker = new Worker(ENTRY, {
      workerData: data,
      transferList: [port2],
      execArgv: ['--enable-source-maps'],
    });
    this.#placed.push({ side, worker, port: port1 });
  }

  /** One execution, from a machine that was put back and has its faults laid. */
  race(o: ThreadRace, seen: Buried): Ended {
    const board = this.#board;
    const startOf = (s: Side): number => o.starts[this.#machine.sides.indexOf(s)] ?? 0;
    this.#placed.forEach(({ side }, i) => Atomics.store(board, STARTS + i, startOf(side)));
    Atomics.store(board, STEPS, 0);
    Atomics.store(board, DONE, 0);
    Atomics.store(board, THREW, 0);
    Atomics.store(board, STILL, 0);
    this.#changed = performance.now();
    const began = this.#changed;
    Atomics.add(board, GO, 1);
    Atomics.notify(board, GO);
    try {
      for (const s of this.#machine.sides.filter((x) => x.cpu === CONTROL)) {
        awaitSteps(board, startOf(s));
        run(s.body);
      }
      this.#oversee(o, seen, began);
      return { hung: '', bug: '' };
    } catch (e) {
      if (!(e instanceof HypervisorBug || e instanceof Hang)) throw e;
      const text = e instanceof Hang ? this.#where() : e.message;
      this.#giveUp(text);
      const none = { hung: '', bug: '', broken: true };
      return e instanceof Hang ? { ...none, hung: text } : { ...none, bug: text };
    }
  }

  #oversee(o: ThreadRace, seen: Buried, began: number): void {
    const board = this.#board;
    let destroy = o.destroy;
    for (;;) {
      const last = Atomics.load(board, NEWS);
      const now = performance.now();
      this.#look(now);
      if (destroy !== undefined && now - began >= destroy.afterMs) {
        const { domid } = destroy;
        destroy = undefined;
        if (this.#running() > 0 && this.#destroyOwn(domid, seen)) this.#step(o);
      }
      const quiet = now - this.#changed >= QUIET_MS || this.#running() === 0;
      if (o.beside || quiet) if (this.#bury(seen)) this.#step(o);
      if (this.#running() === 0 && !this.#anyDies()) return;
      if (this.#running() > 0) Atomics.wait(board, NEWS, last, LOOK_MS);
    }
  }

  #running(): number {
    return this.#placed.length - Atomics.load(this.#board, DONE);
  }

  /** Looks for signs of life; throws when a side threw, or there was none for long. */
  #look(now: number): void {
    const threw = Atomics.load(this.#board, THREW);
    if (threw !== 0) throw new HypervisorBug(this.#said(threw - 1));
    const signature = this.#placed
      .map(({ side: { cpu } }) => `${String(peek(actor.beat(cpu)))} ${String(peek(actor.doing(cpu)))}`)
      .join(' ');
    const all = `${signature} ${String(Atomics.load(this.#board, NEWS))}`;
    if (all !== this.#signature) this.#changed = now;
    this.#signature = all;
    if (now - this.#changed > HANG_MS) throw new Hang();
  }

  #said(index: number): string {
    const p = this.#placed[index];
    const m: unknown = p === undefined ? undefined : receiveMessageOnPort(p.port)?.message;
    return `${p?.side.name ?? 'a side'} threw ${typeof m === 'string' ? m : 'something'}`;
  }

  #anyDies(): boolean {
    return this.#machine.domains.some((d) => this.#aftermath.due(d.built.words.domid));
  }

  /** Takes away what died; true when anything was. */
  #bury(seen: Buried): boolean {
    let any = false;
    for (const { spec, built } of this.#machine.domains) {
      if (!this.#aftermath.due(built.words.domid)) continue;
      for (const v of built.vcpus) seen.lockHeld ||= peek(actor.heldCount(v.cpu)) > 0 && this.#isOff(v.cpu);
      seen.beside ||= this.#running() > 0;
      this.#destroy(built.words.domid, spec.name);
      any = true;
    }
    return any;
  }

  #isOff(cpu: Cpu): boolean {
    return peek(actor.mode(cpu)) === 0;
  }

  #destroyOwn(domid: number, seen: Buried): boolean {
    const d = run(() => findDomain(domid));
    if (d === 0 || peek(domain.dying(d)) !== 0) return false;
    const sides = this.#placed.filter((p) => this.#machine.placeOf(p.side).domid === domid);
    seen.asked ||= sides.some((p) => !this.#isOff(p.side.cpu));
    seen.beside ||= sides.length < this.#placed.length;
    this.#destroy(domid, `d${String(domid)}`);
    for (const p of sides) seen.lockHeld ||= peek(actor.heldCount(p.side.cpu)) > 0;
    return true;
  }

  #destroy(domid: number, name: string): void {
    const d = run(() => findDomain(domid));
    if (d === 0) return;
    for (;;) {
      poke(vcpu.quantumLeft(CONTROL), peek(globals.quantum));
      const rc = run(() => destroyDomain(CONTROL, d));
      if (rc === 0) return;
      if (rc !== -ERESTART) throw new HypervisorBug(`destroying ${name}: ${String(rc)}`);
    }
  }

  /** Lets the sides that are left go on step by step, with a look at the machine between, as long as they follow. */
  #step(o: ThreadRace): void {
    if (o.still === undefined) return;
    const board = this.#board;
    for (let turn = 1; this.#running() > 0; turn++) {
      Atomics.store(board, STOPPED, 0);
      Atomics.store(board, STILL, turn);
      Atomics.notify(board, STILL);
      if (!this.#allStopped()) break;
      o.still();
      if (this.#anyDies()) break;
    }
    Atomics.store(board, STILL, 0);
    Atomics.notify(board, STILL);
  }

  #allStopped(): boolean {
    const board = this.#board;
    const end = performance.now() + STILL_MS;
    for (;;) {
      const last = Atomics.load(board, NEWS);
      if (Atomics.load(board, STOPPED) >= this.#running()) return true;
      if (performance.now() > end) return false;
      Atomics.wait(board, NEWS, last, LOOK_MS);
    }
  }

  /** Where each side that has not ended is, what it waits for and holds. */
  #where(): string {
    const places = this.#placed.map(({ side }) => {
      const { domain: name, domid, id } = this.#machine.placeOf(side);
      return { cpu: side.cpu, domain: name, domid, id };
    });
    const seen = new Whereabouts(words, regions(), places);
    const all = places.map((p) => seen.describe(p)).join('; ');
    return `no sign of life for ${String(HANG_MS / 1000)} s: ${all}`;
  }

  /** Every wait and poll ends by an exception; a side that does not come back even so loses the machine. */
  #giveUp(why: string): void {
    Atomics.store(this.#board, STILL, 0);
    Atomics.notify(this.#board, STILL);
    for (const { side } of this.#placed) {
      run(() => or(actor.request(side.cpu), REQ_ABORT));
      wake(actor.request(side.cpu));
    }
    const end = performance.now() + GRACE_MS;
    while (this.#running() > 0) {
      const last = Atomics.load(this.#board, NEWS);
      if (performance.now() > end) {
        const left = this.#placed
          .filter((p) => !this.#isOff(p.side.cpu))
          .map((p) => `actor ${String(cpuIndex(p.side.cpu))}`);
        throw new MachineLost(
          `${why}; ${left.join(', ')} did not give up and had to be terminated: the machine is lost`,
        );
      }
      Atomics.wait(this.#board, NEWS, last, LOOK_MS);
    }
  }

  /** Ends the threads. */
  close(): void {
    Atomics.store(this.#board, STOP, 1);
    Atomics.notify(this.#board, GO);
    Atomics.notify(this.#board, STILL);
    news(this.#board);
    for (const { worker, port } of this.#placed) {
      port.close();
      void worker.terminate();
    }
  }
}

/** Nothing moves any more. */
class Hang extends Error {
  override readonly name = 'Hang';
}
