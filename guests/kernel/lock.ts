/**
 * Kernel locks: like the primitives' locks, but a waiter serves what is asked of its vCPU (flushes, interrupts).
 *
 * Invariant: whoever may wait for a lock below which hypercalls are made must wait here; otherwise its vCPU would not
 * answer the flush that the holder waits for.
 * Lock: a lock is two words, the lock and the number of waiters. A reader-writer lock: readers, or -1 for a writer.
 * Source: Linux qspinlock and mmap_lock; DESIGN decision 3.
 */
import { checkOrder, popHeld, pushHeld } from '../../src/sync/held.js';
import { add, cas, ldOnce, peek, tryLock, unlock, wake } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from './context.js';

/** Waits a bounded while for the word at `a` to change from `seen`, answering requests. */
function* waitWord(c: KernelCpu, a: number, seen: number, waiters: number): Steps<void> {
  yield* add(waiters, 1);
  yield* c.g.relax(a, seen);
  yield* add(waiters, -1);
}

export function* klock(c: KernelCpu, a: number, rank: number): Steps<void> {
  checkOrder(c.cpu, a, rank);
  while (!(yield* tryLock(c.cpu, a, rank))) {
    const seen = yield* ldOnce(a); // raced on purpose: the holder comes and goes
    if (seen !== 0) yield* waitWord(c, a, seen, a + 1);
  }
}

/** Takes the lock if it is free. */
export function* ktryLock(c: KernelCpu, a: number, rank: number): Steps<boolean> {
  return yield* tryLock(c.cpu, a, rank);
}

export function* kunlock(c: KernelCpu, a: number): Steps<void> {
  yield* unlock(c.cpu, a);
  if (peek(a + 1) !== 0) wake(a);
}

const WRITER = -1;

/** Takes the reader-writer lock at `a` for reading; not recursive. */
export function* readLockMm(c: KernelCpu, a: number, rank: number): Steps<void> {
  checkOrder(c.cpu, a, rank);
  for (;;) {
    const n = yield* ldOnce(a); // raced on purpose: decided by the cas below
    if (n === WRITER) yield* waitWord(c, a, n, a + 1);
    else if ((yield* cas(a, n, n + 1)) === n) break;
  }
  pushHeld(c.cpu, a, rank);
}

export function* readUnlockMm(c: KernelCpu, a: number): Steps<void> {
  popHeld(c.cpu, a);
  yield* add(a, -1);
  if (peek(a + 1) !== 0) wake(a);
}

/** Takes it for reading unless a writer has it. */
export function* tryReadLockMm(c: KernelCpu, a: number, rank: number): Steps<boolean> {
  const n = yield* ldOnce(a); // raced on purpose: decided by the cas below
  if (n === WRITER || (yield* cas(a, n, n + 1)) !== n) return false;
  pushHeld(c.cpu, a, rank);
  return true;
}

export function* writeLockMm(c: KernelCpu, a: number, rank: number): Steps<void> {
  checkOrder(c.cpu, a, rank);
  for (;;) {
    const n = yield* cas(a, 0, WRITER);
    if (n === 0) break;
    yield* waitWord(c, a, n, a + 1);
  }
  pushHeld(c.cpu, a, rank);
}

export function* writeUnlockMm(c: KernelCpu, a: number): Steps<void> {
  popHeld(c.cpu, a);
  yield* add(a, -WRITER);
  if (peek(a + 1) !== 0) wake(a);
}

/** A writer becomes a reader without letting another writer in. */
export function* downgradeMm(c: KernelCpu, a: number): Steps<void> {
  yield* add(a, 1 - WRITER);
  if (peek(a + 1) !== 0) wake(a);
}
