/**
 * One vCPU of a benchmark's domain: brought up, then led or leading, or a bystander with a process of its own.
 *
 * Invariant: between two rounds they are out of guest mode, so that nobody waits for them; only a bystander goes on.
 * Lock: none.
 */
import { PAGE_SIZE } from '../../src/abi/frames.js';
import { ldOnce, peek } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { Vcpu } from '../../src/vcpu/guest-cpu.js';
import { startVcpu } from '../guest.js';
import type { KernelParams } from '../kernel/boot.js';
import type { KernelCpu } from '../kernel/context.js';
import { addVa } from '../kernel/layout.js';
import { percpu } from '../kernel/records.js';
import { board, QUIT } from './board.js';
import { DATA, grantPages, layProcess } from './process.js';
import {
  endRound,
  GONE,
  prepareRound,
  quit,
  restRound,
  serveRound,
  type RoundShape,
  type RoundSpec,
} from './rounds.js';

/** A granting domain: its vCPU's context, how it boots, and how many references it gives to whom. */
export interface Granter {
  readonly g: Vcpu;
  readonly c: KernelCpu;
  readonly params: KernelParams;
  readonly grants: number;
}

export class BenchVcpu {
  readonly #g: Vcpu;
  readonly #c: KernelCpu;
  readonly #params: KernelParams;
  readonly #board: number;
  readonly #round: RoundSpec;
  readonly #granters: readonly Granter[];

  constructor(g: Vcpu, c: KernelCpu, params: KernelParams, b: number, round: RoundSpec, granters: readonly Granter[]) {
    this.#g = g;
    this.#c = c;
    this.#params = params;
    this.#board = b;
    this.#round = round;
    this.#granters = granters;
  }

  *boot(): Steps<boolean> {
    yield* this.#g.start();
    if (!(yield* startVcpu(this.#c, this.#params))) return false;
    yield* this.#g.park();
    let at = this.#round.refs;
    for (const granter of this.#granters) {
      if (!(yield* grantAll(granter, this.#params.domid, at))) return false;
      at += granter.grants;
    }
    return true;
  }

  *prepare(): Steps<RoundShape> {
    yield* this.#g.start();
    return yield* prepareRound(this.#c, this.#board, this.#round);
  }
  *end(): Steps<void> {
    yield* endRound(this.#c, this.#board, this.#round);
  }
  *rest(): Steps<void> {
    yield* restRound(this.#c, this.#board, this.#round);
    yield* this.#g.park();
  }
  *quit(): Steps<void> {
    yield* quit(this.#board);
    yield* this.#g.halt();
  }

  *serve(phase: number): Steps<number> {
    yield* this.#g.start();
    const last = yield* serveRound(this.#c, this.#board, this.#round, phase);
    if (last === GONE) yield* this.#g.halt();
    else yield* this.#g.park();
    return last;
  }

  /** The bystander's: `n` loads of its own memory in user mode. */
  *bystand(n: number): Steps<boolean> {
    const c = this.#c;
    const pages = this.#round.bystander;
    if (peek(percpu.current(c.pc)) === 0) {
      yield* this.#g.start();
      if ((yield* layProcess(c, pages, false)) === 0) return false;
      yield* c.g.toUser();
    }
    for (let i = 0; i < n; i++) yield* c.g.load(addVa(DATA, (i % pages) * PAGE_SIZE));
    yield* c.g.poll();
    if ((yield* ldOnce(board.order(this.#board))) !== QUIT) return true; // raced on purpose: an order may come at any time
    yield* this.#g.halt();
    return false;
  }
}

/** The granter boots, grants, and stands aside; its references are noted from address `at` on. */
function* grantAll({ g, c, params, grants }: Granter, domid: number, at: number): Steps<boolean> {
  yield* g.start();
  const ok = (yield* startVcpu(c, params)) && (yield* grantPages(c, domid, grants, at));
  yield* g.park();
  return ok;
}
