/** Locks under schedules: exclusion in every one of them, and a lock that is none is caught. */
import { beforeEach, describe, expect, it } from 'vitest';
import { HypervisorBug } from '../../src/abi/errors.js';
import { interleave } from '../../src/explore/loop.js';
import { randomWalk } from '../../src/explore/random-walk.js';
import { roundRobin } from '../../src/explore/round-robin.js';
import { words } from '../../src/ops/memory.js';
import { actor, cpuAt } from '../../src/sync/actor.js';
import { RANK } from '../../src/sync/lock-order.js';
import { add, ldOnce, lock, lockWait, peek, stOnce, tryLock, unlock, waitChange } from '../../src/sync/primitives.js';
import { readLock, readUnlock, RWLOCK_WORDS, writeLock, writeUnlock } from '../../src/sync/rwlock.js';
import type { Steps } from '../../src/sync/steps.js';
import { everySchedule, recorded, scripted } from '../support/schedules.js';
import { count, countBroken, reader, writer } from './bodies.js';

const LOCK = 1024;
const DATA = LOCK + RWLOCK_WORDS;
const GATE = DATA + 16;

type Body = () => Steps<void>;

const clear = (): void => {
  words.fill(0, LOCK, GATE + 1);
  words.fill(0, cpuAt(0));
};
beforeEach(() => words.fill(0));

const counting = (index: number, times: number): Body =>
  function* () {
    yield* count(index, LOCK, DATA, times, GATE, 0);
  };
const countingBroken = (index: number, times: number): Body =>
  function* () {
    yield* countBroken(index, LOCK, DATA, times);
  };

describe('a mutex', () => {
  it('excludes when the schedule switches at every point', () => {
    expect(
      interleave(
        [1, 2, 3].map((i) => counting(i, 50)),
        roundRobin(),
      ).kind,
    ).toBe('done');
    expect(words[DATA]).toBe(150);
    expect(words[LOCK]).toBe(0);
  });

  it('excludes in every schedule of two actors', () => {
    const n = everySchedule(clear, [counting(1, 1), counting(2, 1)], (o) => {
      expect(o.kind).toBe('done');
      expect(words[DATA]).toBe(2);
    });
    expect(n).toBeGreaterThan(100);
  });

  it('that reads and writes in two steps loses updates, and switching at every point shows it', () => {
    expect(interleave([countingBroken(1, 50), countingBroken(2, 50)], roundRobin()).kind).toBe('done');
    expect(words[DATA]).toBeLessThan(100);
  });

  it('that reads and writes in two steps is caught by a random walk as well', () => {
    let lost = 0;
    const walk = randomWalk(1);
    for (let i = 0; i < 100; i++) {
      clear();
      interleave([countingBroken(1, 2), countingBroken(2, 2)], walk);
      if ((words[DATA] as number) < 4) lost++;
    }
    expect(lost).toBeGreaterThan(0);
  });

  it('counts contention, and leaves nothing behind in the records', () => {
    interleave([counting(1, 10), counting(2, 10)], roundRobin());
    expect(peek(actor.contended(cpuAt(1))) + peek(actor.contended(cpuAt(2)))).toBeGreaterThan(0);
    for (const i of [1, 2]) {
      expect(peek(actor.heldCount(cpuAt(i)))).toBe(0);
      expect(peek(actor.waiting(cpuAt(i)))).toBe(0);
      expect(peek(actor.request(cpuAt(i)))).toBe(0);
    }
  });

  it('can be waited for without being taken, and tried afterwards', () => {
    const trying = (index: number): Body =>
      function* () {
        const cpu = cpuAt(index);
        for (;;) {
          if (yield* tryLock(cpu, LOCK, RANK.guestMmapLock)) break;
          yield* lockWait(cpu, LOCK, peek(actor.request(cpu)));
        }
        const seen = yield* ldOnce(DATA);
        yield* stOnce(DATA, seen + 1);
        yield* unlock(cpu, LOCK);
      };
    everySchedule(clear, [trying(1), trying(2)], (o) => {
      expect(o.kind).toBe('done');
      expect(words[DATA]).toBe(2);
    });
  });
});

describe('a reader-writer lock', () => {
  const reading = (index: number, times: number): Body =>
    function* () {
      yield* add(GATE, yield* reader(index, LOCK, DATA, times, GATE + 1, 0));
    };
  const writing = (index: number, times: number): Body =>
    function* () {
      yield* writer(index, LOCK, DATA, times, GATE + 1, 0);
    };

  it('lets no reader see half of a write, under random schedules', () => {
    const walk = randomWalk(5);
    for (let i = 0; i < 200; i++) {
      clear();
      const o = interleave([writing(1, 2), writing(2, 2), reading(3, 3), reading(4, 3)], walk);
      expect(o.kind).toBe('done');
      expect([words[DATA], words[DATA + 1], words[GATE]]).toEqual([4, 4, 0]);
    }
  });

  it('lets two readers in at once', () => {
    const both: Body[] = [1, 2].map(
      (i) =>
        function* () {
          yield* readLock(cpuAt(i), LOCK, RANK.grantTable);
          yield* add(DATA, 1);
          for (let n = yield* ldOnce(DATA); n < 2; n = yield* ldOnce(DATA)) yield* waitChange(cpuAt(i), DATA, n);
          yield* readUnlock(cpuAt(i), LOCK);
        },
    );
    expect(interleave(both, roundRobin()).kind).toBe('done');
  });

  it('stops a writer that comes between two loads; without reader slots the writer would come through', () => {
    const careless: Body = function* () {
      for (let v = yield* ldOnce(LOCK); v !== 0; v = yield* ldOnce(LOCK)) yield* waitChange(cpuAt(2), LOCK, v);
      const first = yield* ldOnce(DATA);
      if ((yield* ldOnce(DATA + 1)) !== first) yield* add(GATE, 1);
    };
    const tornIn = (body: Body): number => {
      let torn = 0;
      for (let before = 1; before < 12; before++) {
        clear();
        const script = [...Array<number>(before).fill(1), ...Array<number>(500).fill(0)];
        expect(interleave([writing(1, 1), body], scripted(script)).kind).toBe('done');
        torn += words[GATE] as number;
      }
      return torn;
    };
    expect(tornIn(careless)).toBeGreaterThan(0);
    expect(tornIn(reading(2, 1))).toBe(0);
  });
});

describe('the lock order', () => {
  const cpu = cpuAt(1);
  const fails = (body: Body): string => {
    const o = interleave([body], roundRobin());
    if (o.kind !== 'threw') return o.kind;
    expect(o.error).toBeInstanceOf(HypervisorBug);
    return String(o.error);
  };

  it.each([
    ['a lower rank', RANK.pageLock, RANK.grantTable, /takes grantTable while holding pageLock/],
    ['an equal rank', RANK.heap, RANK.heap, /takes heap while holding heap/],
  ])('refuses %s under a held lock', (_what, first, second, message) => {
    const why = fails(function* () {
      yield* lock(cpu, LOCK, first);
      yield* lock(cpu, LOCK + 1, second);
    });
    expect(why).toMatch(message);
  });

  it('refuses it for reader-writer locks on both sides', () => {
    const body = (f: typeof readLock): Body =>
      function* () {
        yield* lock(cpu, DATA, RANK.heap);
        yield* f(cpu, LOCK, RANK.grantTable);
      };
    expect(fails(body(readLock))).toMatch(/lock order/);
    clear();
    expect(fails(body(writeLock))).toMatch(/lock order/);
  });

  it('refuses a lock taken twice, even of a rank that nests in itself', () => {
    const why = fails(function* () {
      yield* lock(cpu, LOCK, RANK.guestPteLock);
      yield* lock(cpu, LOCK, RANK.guestPteLock);
    });
    expect(why).toMatch(/lock order/);
  });

  it('refuses a read lock under the own write lock', () => {
    const why = fails(function* () {
      yield* writeLock(cpu, LOCK, RANK.grantTable);
      yield* readLock(cpu, LOCK, RANK.grantTable);
    });
    expect(why).toMatch(/lock order/);
  });

  it('allows several of a rank that nests in itself, and release in any order', () => {
    const done = fails(function* () {
      yield* lock(cpu, LOCK, RANK.guestPteLock);
      yield* lock(cpu, LOCK + 1, RANK.guestPteLock);
      yield* lock(cpu, LOCK + 2, RANK.heap);
      yield* unlock(cpu, LOCK);
      yield* unlock(cpu, LOCK + 2);
      yield* unlock(cpu, LOCK + 1);
      yield* writeLock(cpu, LOCK, RANK.grantTable);
      yield* writeUnlock(cpu, LOCK);
    });
    expect(done).toBe('done');
    expect(peek(actor.heldCount(cpu))).toBe(0);
  });

  it('refuses to release a lock that the actor does not hold', () => {
    const other = cpuAt(2);
    const why = fails(function* () {
      yield* lock(other, LOCK, RANK.heap);
      yield* unlock(cpu, LOCK);
    });
    expect(why).toMatch(/held by another/);
    expect(fails(() => unlock(cpu, LOCK + 1))).toMatch(/held by another/);
  });

  it('refuses more locks than a record can list', () => {
    const why = fails(function* () {
      for (let i = 0; i < 100; i++) yield* lock(cpu, LOCK + i, RANK.guestPteLock);
    });
    expect(why).toMatch(/too many locks/);
  });
});

describe('the strategy', () => {
  it('is asked at each acquisition: the points of one locked increment are four', () => {
    const r = recorded(roundRobin());
    interleave([counting(1, 1)], r);
    // add and load of the gate; lock, load, store, unlock
    expect(r.trace).toHaveLength(6);
  });
});
