/**
 * Reader-writer lock with one reader slot per actor, each on a line of its own (Xen's percpu_rwlock).
 *
 * Invariant: a writer proceeds only when every slot is 0; a reader proceeds only while the writer word is 0.
 * Each side writes its own word, then reads the other's (sequentially consistent).
 * Layout: word 0 writer, word 16*(1+i) reader slot of actor i; RWLOCK_WORDS in all.
 * Source: [X49]; reference performance.md 2.5 (one shared reader count costs 4-5x).
 */
import { HypervisorBug } from '../abi/errors.js';
import { cpuIndex, MAX_CPUS, type Cpu } from './actor.js';
import { checkOrder, popHeld, pushHeld } from './held.js';
import { BUILD, ldOnce, lock, stOnce, unlock, waitChange, wake } from './primitives.js';
import type { Steps } from './steps.js';

const LINE = 16;
/** Widened, so that both branches compile in either build. */
const build: string = BUILD;
export const RWLOCK_WORDS = LINE * (MAX_CPUS + 1);

const slot = (a: number, index: number): number => a + LINE * (1 + index);

/** Takes `a` for reading; not recursive. */
export function* readLock(cpu: Cpu, a: number, rank: number): Steps<void> {
  checkOrder(cpu, a, rank);
  const mine = slot(a, cpuIndex(cpu));
  for (;;) {
    yield* stOnce(mine, 1); // raced on purpose: Dekker with the writer word
    const writer = yield* ldOnce(a);
    if (writer === 0) break;
    yield* stOnce(mine, 0);
    wake(mine);
    yield* waitChange(cpu, a, writer);
  }
  pushHeld(cpu, a, rank);
}

export function* readUnlock(cpu: Cpu, a: number): Steps<void> {
  popHeld(cpu, a);
  const mine = slot(a, cpuIndex(cpu));
  yield* stOnce(mine, 0); // raced on purpose: the writer waits for it
  // A wake costs as much as all the rest here; a writer that comes after this look finds the slot empty.
  if (build === 'parallel' && (yield* ldOnce(a)) !== 0) wake(mine);
}

/** Takes `a` for writing: excludes writers first, then waits for every reader slot. */
export function* writeLock(cpu: Cpu, a: number, rank: number): Steps<void> {
  yield* lock(cpu, a, rank);
  for (let i = 0; i < MAX_CPUS; i++) {
    for (;;) {
      const readers = yield* ldOnce(slot(a, i)); // raced on purpose: readers come and go
      if (readers === 0) break;
      if (i === cpuIndex(cpu)) throw new HypervisorBug('write lock over an own read lock');
      yield* waitChange(cpu, slot(a, i), readers);
    }
  }
}

export function* writeUnlock(cpu: Cpu, a: number): Steps<void> {
  yield* unlock(cpu, a);
  wake(a);
}
