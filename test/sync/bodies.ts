/**
 * What actors do in the tests of locks: the same functions run as coroutines and as real threads.
 *
 * Arguments are numbers, so that a thread can be given them; the actor comes as its index.
 */
import { actor, cpuAt } from '../../src/sync/actor.js';
import { RANK } from '../../src/sync/lock-order.js';
import {
  add,
  cas16,
  cas64,
  hi64,
  ld,
  ld64,
  ldOnce,
  lock,
  lockWait,
  peek,
  st,
  st64,
  stOnce,
  tryLock,
  unlock,
} from '../../src/sync/primitives.js';
import { waitChange, wake } from '../../src/sync/primitives.js';
import { readLock, readUnlock, writeLock, writeUnlock } from '../../src/sync/rwlock.js';
import type { Steps } from '../../src/sync/steps.js';
import { slabAlloc, slabFree } from '../../src/shm/slab.js';

/** Waits until `n` actors have come to the word `a`, so that threads start together. */
export function* meet(index: number, a: number, n: number): Steps<void> {
  yield* add(a, 1);
  wake(a);
  for (let here = yield* ldOnce(a); here < n; here = yield* ldOnce(a)) yield* waitChange(cpuAt(index), a, here);
}

/** Adds `times` to the plain word `counter`, one by one under the lock `a`. */
export function* count(
  index: number,
  a: number,
  counter: number,
  times: number,
  gate: number,
  n: number,
): Steps<number> {
  const cpu = cpuAt(index);
  yield* meet(index, gate, n);
  for (let i = 0; i < times; i++) {
    yield* lock(cpu, a, RANK.heap);
    yield* st(counter, (yield* ld(counter)) + 1);
    yield* unlock(cpu, a);
  }
  return times;
}

/** As `count`, but gives up when the lock is held; answers how often it got it. */
export function* countIfFree(
  index: number,
  a: number,
  counter: number,
  times: number,
  gate: number,
  n: number,
): Steps<number> {
  const cpu = cpuAt(index);
  let got = 0;
  yield* meet(index, gate, n);
  for (let i = 0; i < times; i++) {
    if (!(yield* tryLock(cpu, a, RANK.heap))) continue;
    yield* st(counter, (yield* ld(counter)) + 1);
    got++;
    yield* unlock(cpu, a);
  }
  return got;
}

/** As `count`, as a guest takes its locks: tries, and waits for the lock or for a request of its own. */
export function* countByTrying(
  index: number,
  a: number,
  counter: number,
  times: number,
  gate: number,
  n: number,
): Steps<number> {
  const cpu = cpuAt(index);
  yield* meet(index, gate, n);
  for (let i = 0; i < times; i++) {
    while (!(yield* tryLock(cpu, a, RANK.guestMmapLock))) yield* lockWait(cpu, a, peek(actor.request(cpu)));
    yield* st(counter, (yield* ld(counter)) + 1);
    yield* unlock(cpu, a);
  }
  return times;
}

/** A lock that is none: it reads the word and writes it, as two steps. */
export function* countBroken(index: number, a: number, counter: number, times: number): Steps<number> {
  for (let i = 0; i < times; i++) {
    for (let v = yield* ldOnce(a); v !== 0; v = yield* ldOnce(a)) yield* waitChange(cpuAt(index), a, v);
    yield* stOnce(a, index + 1);
    yield* st(counter, (yield* ld(counter)) + 1);
    yield* stOnce(a, 0);
  }
  return times;
}

/** Writes the pair of words at `pair` as (k, k), `times` times, under the write lock `a`. */
export function* writer(index: number, a: number, pair: number, times: number, gate: number, n: number): Steps<number> {
  const cpu = cpuAt(index);
  yield* meet(index, gate, n);
  for (let i = 0; i < times; i++) {
    yield* writeLock(cpu, a, RANK.grantTable);
    const k = yield* ld(pair);
    yield* st(pair, k + 1);
    yield* st(pair + 1, k + 1);
    yield* writeUnlock(cpu, a);
  }
  return 0;
}

/** Reads the pair `times` times under the read lock, `dwell` loads apart; answers how often its words differed. */
export function* reader(
  index: number,
  a: number,
  pair: number,
  times: number,
  gate: number,
  n: number,
  dwell = 0,
): Steps<number> {
  const cpu = cpuAt(index);
  let torn = 0;
  yield* meet(index, gate, n);
  for (let i = 0; i < times; i++) {
    yield* readLock(cpu, a, RANK.grantTable);
    const first = yield* ld(pair);
    for (let d = 0; d < dwell; d++) yield* ld(pair);
    if ((yield* ld(pair + 1)) !== first) torn++;
    yield* readUnlock(cpu, a);
  }
  return torn;
}

/** Holds the read lock until `n` readers hold it at once: possible only if readers do not exclude each other. */
export function* readTogether(index: number, a: number, gate: number, n: number): Steps<number> {
  const cpu = cpuAt(index);
  yield* readLock(cpu, a, RANK.grantTable);
  yield* meet(index, gate, n);
  yield* readUnlock(cpu, a);
  return 0;
}

/** Stores and compare-exchanges whole 64-bit words (k, k) without a lock; answers how many torn ones it saw. */
export function* storeWhole(index: number, a: number, times: number, gate: number, n: number): Steps<number> {
  let torn = 0;
  yield* meet(index, gate, n);
  for (let i = 0; i < times; i++) {
    const lo = yield* ld64(a);
    const hi = hi64();
    if (lo !== hi) torn++;
    const next = (index << 24) | i;
    if ((i & 1) === 0) yield* st64(a, next, next);
    else yield* cas64(a, lo, hi, next, next);
  }
  return torn;
}

/** Counts in one half of a word by compare-exchange of 16 bits while others count in the other half. */
export function* countHalf(index: number, half: number, times: number, gate: number, n: number): Steps<number> {
  let was = 0;
  yield* meet(index, gate, n);
  for (let i = 0; i < times; i++) {
    for (;;) {
      const seen = yield* cas16(half, was, was + 1);
      if (seen === was) break;
      was = seen;
    }
    was++;
  }
  return times;
}

/** Waits for the word to change, for ever; ends only by the word, or by a throw. */
export function* waitFor(index: number, a: number, seen: number): Steps<number> {
  for (let v = yield* ldOnce(a); v === seen; v = yield* ldOnce(a)) yield* waitChange(cpuAt(index), a, seen);
  return yield* ldOnce(a);
}

/** Takes the lock and lets it go. */
export function* takeOnce(index: number, a: number): Steps<number> {
  yield* lock(cpuAt(index), a, RANK.heap);
  yield* unlock(cpuAt(index), a);
  return 1;
}

/** Takes and gives records of a slab, signing each; answers how many it found signed by another meanwhile. */
export function* churn(index: number, s: number, keep: number, times: number, gate: number, n: number): Steps<number> {
  const cpu = cpuAt(index);
  const mine: number[] = [];
  let stolen = 0;
  yield* meet(index, gate, n);
  for (let i = 0; i < times; i++) {
    if (mine.length < keep) {
      const r = yield* slabAlloc(cpu, s);
      if (r === 0) continue;
      if ((yield* ld(r)) !== 0) stolen++;
      yield* st(r, index);
      mine.push(r);
    } else {
      const r = mine.shift() ?? 0;
      if ((yield* ld(r)) !== index) stolen++;
      yield* slabFree(cpu, s, r);
    }
  }
  for (let r = mine.pop(); r !== undefined; r = mine.pop()) yield* slabFree(cpu, s, r);
  return stolen;
}
