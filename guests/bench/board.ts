/**
 * Where the vCPUs of a benchmark meet: the first one says what is to be done, the others do it and say so.
 *
 * Invariant: `phase` goes up with every order; `done` counts who has carried the present one out. One gives orders.
 * Lock: none; all words are written and read as races on purpose, published by `phase`.
 */
import { add, ldOnce, stOnce, wake } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from '../kernel/context.js';

export const board = {
  phase: (b: number): number => b,
  order: (b: number): number => b + 1,
  done: (b: number): number => b + 2,
  /** The address space of the round. */
  mm: (b: number): number => b + 3,
} as const;
export const BOARD_WORDS = 16;

/** Nothing to do: out of guest mode until the next round. */
export const REST = 0;
/** Take the mm of the round, as a thread of it or lazily. */
export const LOAD = 1;
/** The process ends. */
export const END = 2;
/** Let go of whatever tables are still loaded. */
export const LEAVE = 3;
export const QUIT = 4;

/** Gives an order and waits, serving interrupts, until `n` others have carried it out. */
export function* order(c: KernelCpu, b: number, what: number, n: number): Steps<void> {
  yield* tell(b, what);
  yield* awaitDone(c, b, n);
}

/** The same without waiting. */
export function* tell(b: number, what: number): Steps<void> {
  yield* stOnce(board.done(b), 0);
  yield* stOnce(board.order(b), what);
  yield* add(board.phase(b), 1);
  wake(board.phase(b));
}

export function* awaitDone(c: KernelCpu, b: number, n: number): Steps<void> {
  for (;;) {
    const done = yield* ldOnce(board.done(b)); // raced on purpose: others count up
    if (done === n) return;
    yield* c.g.relax(board.done(b), done);
  }
}

/** The order of this phase is carried out. */
export function* report(b: number): Steps<void> {
  yield* add(board.done(b), 1);
  wake(board.done(b));
}

/** Waits, serving interrupts, for a phase other than `seen`; answers it. */
export function* nextPhase(c: KernelCpu, b: number, seen: number): Steps<number> {
  for (;;) {
    const phase = yield* ldOnce(board.phase(b)); // raced on purpose: the first vCPU gives the next order
    if (phase !== seen) return phase;
    yield* c.g.relax(board.phase(b), seen);
  }
}
