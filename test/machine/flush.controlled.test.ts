/** Flush requests between coroutines, in every schedule of small programs. */
import { describe, expect, it } from 'vitest';
import { makeVa, mfnWord, type Mfn } from '../../src/abi/frames.js';
import { roundRobin } from '../../src/explore/round-robin.js';
import { randomWalk } from '../../src/explore/random-walk.js';
import { interleave } from '../../src/explore/loop.js';
import { FLUSH_CLOCK } from '../../src/machine/clock.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import {
  beginAccess,
  endAccess,
  enterMode,
  flushMask,
  flushMaskSince,
  maskHi,
  maskLo,
} from '../../src/machine/flush.js';
import { ACCESS_READ, translate } from '../../src/machine/tlb.js';
import { words } from '../../src/ops/memory.js';
import { actor, cpuAt, MODE_BLOCKED, MODE_GUEST, MODE_HYPERVISOR, MODE_OFF, REQ_FLUSH } from '../../src/sync/actor.js';
import { RANK } from '../../src/sync/lock-order.js';
import { ldOnce, lock, run, stOnce, unlock } from '../../src/sync/primitives.js';
import { everySchedule } from '../support/schedules.js';
import { guestRead, moves, POISON, reads, takeAway } from './flush-bodies.js';
import { runningOn, Tables } from './tables.js';

const VA = makeVa(1, 2, 3, 4);
const STOP = mfnWord(100 as Mfn);
const LOCK = STOP + 16;
const target = cpuAt(1);
const asker = cpuAt(2);

function setting(): { slot: number; a: Mfn; b: Mfn } {
  const tables = new Tables();
  const root = tables.frame();
  const a = tables.frame();
  const b = tables.frame();
  const slot = tables.map(root, VA, a);
  words[FLUSH_CLOCK] = 1;
  words[STOP] = 0;
  words[LOCK] = 0;
  runningOn(target, root);
  runningOn(asker, root);
  words[actor.mode(target)] = MODE_OFF;
  words[actor.mode(asker)] = MODE_OFF;
  return { slot, a, b };
}
const { slot, a, b } = setting();
/** The target has the page in its TLB already. */
const reset = (): void => {
  setting();
  run(function* () {
    yield* translate(target, VA, ACCESS_READ);
  });
  words[actor.mode(target)] = MODE_GUEST;
};

describe('a flush request', () => {
  /** One read against one taking away, in every schedule: how many of them read poison. */
  const race = (waits: boolean): number => {
    let word = 0;
    let poisoned = 0;
    const schedules = everySchedule(
      reset,
      [
        function* () {
          word = yield* guestRead(target, VA);
          yield* enterMode(target, MODE_OFF);
        },
        function* () {
          yield* takeAway(asker, target, slot, waits);
          yield* stOnce(mfnWord(a), POISON);
        },
      ],
      (o) => {
        expect(o.kind).toBe('done');
        if (word === POISON) poisoned++;
      },
    );
    expect(schedules).toBeGreaterThan(12);
    return poisoned;
  };

  it('that is waited for keeps a frame from being read after it was taken away, in every schedule', () => {
    expect(race(true)).toBe(0);
  });

  it('that is not waited for lets some schedule read it', () => {
    expect(race(false)).toBeGreaterThan(0);
  });

  it('keeps its promise over many moves and mode changes', () => {
    for (const strategy of [roundRobin(), randomWalk(7), randomWalk(8)]) {
      reset();
      let bad = -1;
      const o = interleave(
        [
          function* () {
            bad = yield* reads(1, VA, 1_000_000, STOP, 3);
          },
          function* () {
            yield* moves(2, 1, slot, a, b, 200, STOP, 1);
          },
        ],
        strategy,
        1_000_000,
      );
      expect([o.kind, bad]).toEqual(['done', 0]);
    }
  });

  it('of two CPUs that flush each other ends in every schedule', () => {
    const body = (me: number, other: number) =>
      function* () {
        const cpu = cpuAt(me);
        yield* enterMode(cpu, MODE_GUEST);
        yield* guestRead(cpu, VA);
        yield* enterMode(cpu, MODE_HYPERVISOR);
        yield* flushMask(cpu, maskLo(cpuAt(other)), maskHi(cpuAt(other)));
        yield* enterMode(cpu, MODE_OFF);
      };
    const strategy = randomWalk(3);
    for (let i = 0; i < 500; i++) {
      reset();
      expect(interleave([body(1, 2), body(2, 1)], strategy, 10_000).kind).toBe('done');
    }
  });

  it('does not wait for a vCPU that sleeps for a guest lock, which flushes before its next access', () => {
    let read = 0;
    const n = everySchedule(
      reset,
      [
        function* () {
          yield* lock(target, LOCK, RANK.guestPteLock);
          read = yield* guestRead(target, VA);
          yield* unlock(target, LOCK);
          yield* enterMode(target, MODE_OFF);
        },
        function* () {
          yield* lock(asker, LOCK, RANK.guestPteLock);
          yield* takeAway(asker, target, slot, true);
          yield* stOnce(mfnWord(a), POISON);
          yield* unlock(asker, LOCK);
        },
      ],
      (o) => {
        expect(o.kind).toBe('done');
        expect(read).not.toBe(POISON);
      },
    );
    expect(n).toBeGreaterThan(50);
  });

  it('to a CPU in the hypervisor stays pending until it reaches for guest memory', () => {
    const strategy = randomWalk(5);
    const got: number[] = [];
    for (let i = 0; i < 3000; i++) {
      reset();
      words[actor.mode(target)] = MODE_HYPERVISOR;
      const o = interleave(
        [
          function* () {
            yield* beginAccess(target);
            const w = yield* translate(target, VA, ACCESS_READ);
            got.push(w < 0 ? -2 : yield* ldOnce(w));
            yield* endAccess(target);
          },
          function* () {
            yield* takeAway(asker, target, slot, true);
            yield* stOnce(mfnWord(a), POISON);
          },
        ],
        strategy,
      );
      expect(o.kind).toBe('done');
    }
    expect(new Set(got)).toEqual(new Set([0, -2]));
  });
});

describe('a filtered flush', () => {
  const flushSince = (stamp: number, now: number): void => {
    words[FLUSH_CLOCK] = now;
    run(function* () {
      yield* flushMaskSince(asker, maskLo(target), maskHi(target), stamp);
    });
  };
  const pending = (): boolean => ((words[actor.request(target)] as number) & REQ_FLUSH) !== 0;

  it('asks a CPU that last flushed at or before the stamp, and no other', () => {
    reset();
    words[actor.mode(target)] = MODE_BLOCKED;
    words[vcpu.flushTime(target)] = 8;
    flushSince(7, 9);
    expect(pending()).toBe(false);
    flushSince(8, 9);
    expect(pending()).toBe(true);
  });

  it('asks no CPU that is off: it comes up with an empty TLB', () => {
    reset();
    words[actor.mode(target)] = MODE_OFF;
    flushSince(8, 9);
    expect(pending()).toBe(false);
  });

  it('asks everybody while the clock is wrapped, and then opens the next period', () => {
    reset();
    words[actor.mode(target)] = MODE_BLOCKED;
    words[vcpu.flushTime(target)] = -1;
    flushSince(5, 0);
    expect(pending()).toBe(true);
    expect(words[FLUSH_CLOCK]).toBe(1);
  });
});
