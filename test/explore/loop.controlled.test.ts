import { beforeEach, describe, expect, it } from 'vitest';
import { HypervisorBug } from '../../src/abi/errors.js';
import { formatWaits, interleave, Loop, type Outcome } from '../../src/explore/loop.js';
import { randomWalk } from '../../src/explore/random-walk.js';
import { roundRobin } from '../../src/explore/round-robin.js';
import { ABANDON, type Picker, type View } from '../../src/explore/strategy.js';
import { words } from '../../src/ops/memory.js';
import { actor, cpuAt, REQ_ABORT } from '../../src/sync/actor.js';
import { RANK } from '../../src/sync/lock-order.js';
import {
  add,
  cas,
  choose,
  fill,
  ld,
  ldOnce,
  lock,
  peek,
  run,
  st,
  stOnce,
  touch,
  unlock,
  waitChange,
} from '../../src/sync/primitives.js';
import {
  POINT_ATOMIC,
  POINT_BLOCKED,
  POINT_LOCK,
  POINT_ONCE,
  POINT_READ,
  POINT_UNLOCK,
  POINT_WAIT,
  POINT_WRITE,
} from '../../src/sync/schedule.js';
import type { Steps } from '../../src/sync/steps.js';
import { everySchedule, recorded, scripted } from '../support/schedules.js';

const A = 1024;
const B = 1025;
const INSIDE = 1026;
const MOST = 1027;

type Body = () => Steps<void>;

const reset = (): void => {
  words.fill(0);
};
/** Clears what the small programs use, and the actors' records; quicker than all of the memory. */
const clear = (): void => {
  words.fill(0, A, A + 16);
  words.fill(0, cpuAt(0));
};
beforeEach(reset);

/** Enters the critical section: how many are inside at most is kept in MOST. */
function* critical(): Steps<void> {
  const inside = (yield* add(INSIDE, 1)) + 1;
  if (inside > peek(MOST)) yield* st(MOST, inside);
  yield* add(INSIDE, -1);
}

/** Dekker's first half on both sides: raise the own flag, enter if the other's is down, else give up. */
const dekker = (mine: number, other: number): Body =>
  function* () {
    yield* stOnce(mine, 1);
    if ((yield* ldOnce(other)) === 0) yield* critical();
    yield* stOnce(mine, 0);
  };
/** The same with the two steps exchanged, which is wrong. */
const dekkerBuggy = (mine: number, other: number): Body =>
  function* () {
    const there = yield* ldOnce(other);
    yield* stOnce(mine, 1);
    if (there === 0) yield* critical();
    yield* stOnce(mine, 0);
  };

/** A philosopher: takes two forks, eats, puts them down. Forks are PTE locks, of which one actor may hold two. */
const philosopher = (index: number, first: number, second: number): Body =>
  function* () {
    const cpu = cpuAt(index);
    yield* lock(cpu, first, RANK.guestPteLock);
    yield* lock(cpu, second, RANK.guestPteLock);
    yield* add(INSIDE, 1);
    yield* unlock(cpu, second);
    yield* unlock(cpu, first);
  };
const FORKS = A + 4;
const table = (n: number, lastTurnsRound: boolean): Body[] =>
  Array.from({ length: n }, (_, i) => {
    const forks = [FORKS + i, FORKS + ((i + 1) % n)] as const;
    return lastTurnsRound && i === n - 1 ? philosopher(i + 1, forks[1], forks[0]) : philosopher(i + 1, ...forks);
  });

describe('interleave', () => {
  it('keeps mutual exclusion of Dekker in every schedule', () => {
    const seen = new Set<number>();
    const n = everySchedule(clear, [dekker(A, B), dekker(B, A)], (o) => {
      expect(o.kind).toBe('done');
      seen.add(words[MOST] as number);
    });
    expect([...seen].sort()).toEqual([0, 1]);
    expect(n).toBe(82);
  });

  it('finds the schedule that breaks Dekker with its steps exchanged', () => {
    let broken = 0;
    everySchedule(clear, [dekkerBuggy(A, B), dekkerBuggy(B, A)], () => {
      if (words[MOST] === 2) broken++;
    });
    expect(broken).toBeGreaterThan(0);
    clear();
    interleave([dekkerBuggy(A, B), dekkerBuggy(B, A)], roundRobin());
    expect(words[MOST]).toBe(2);
  });

  it('visits each of the schedules of independent steps once', () => {
    const body: Body = function* () {
      for (let i = 0; i < 3; i++) yield* add(A, 1);
    };
    const orders = new Set<string>();
    const r = recorded(roundRobin());
    // Three steps a body: 6! / (3! 3!) orders.
    expect(everySchedule(clear, [body, body], () => expect(words[A]).toBe(6))).toBe(20);
    for (let seed = 0; seed < 500; seed++) {
      const walk = recorded(randomWalk(seed));
      interleave([body, body], walk);
      orders.add(walk.trace.map((line) => line[0]).join(''));
    }
    interleave([body, body], r);
    expect(orders.size).toBe(20);
    expect(r.trace.map((line) => line[0]).join('')).toBe('010101');
  });

  it('reports the deadlock of dining philosophers: who waits for which fork, and who has it', () => {
    const outcome = interleave(table(3, false), scripted([0, 1, 2]));
    expect(outcome.kind).toBe('deadlock');
    const waits = outcome.kind === 'deadlock' ? outcome.waits : [];
    expect(waits).toEqual([
      { body: 0, address: FORKS + 1, holders: [2] },
      { body: 1, address: FORKS + 2, holders: [3] },
      { body: 2, address: FORKS, holders: [1] },
    ]);
    expect(formatWaits(waits).split('\n')[0]).toBe(`body 0 waits for word ${String(FORKS + 1)}, held by actor 2`);
  });

  it('finds that deadlock by random walk, and none when one philosopher turns round', () => {
    const count = (turns: boolean): number => {
      let deadlocks = 0;
      const walk = randomWalk(7);
      for (let i = 0; i < 300; i++) {
        clear();
        const o = interleave(table(3, turns), walk);
        if (o.kind === 'deadlock') deadlocks++;
        else expect(words[INSIDE]).toBe(3);
      }
      return deadlocks;
    };
    expect(count(false)).toBeGreaterThan(0);
    expect(count(true)).toBe(0);
    expect(everySchedule(clear, table(2, true), (o) => expect(o.kind).toBe('done'))).toBe(10);
  });

  it('a wait that ends while another actor undoes the change is not missed', () => {
    const flip: Body = function* () {
      for (let i = 0; i < 3; i++) {
        yield* stOnce(A, 1);
        yield* stOnce(A, 0);
      }
    };
    let woken = 0;
    const waiter: Body = function* () {
      yield* waitChange(cpuAt(1), A, 0);
      woken++;
    };
    expect(interleave([waiter, flip], scripted([0])).kind).toBe('done');
    expect(woken).toBe(1);
  });

  it('wakes a waiter by its own request word too', () => {
    const waiter: Body = function* () {
      yield* waitChange(cpuAt(1), A, 0);
    };
    const asker: Body = function* () {
      yield* stOnce(B, 1);
      yield* stOnce(actor.request(cpuAt(1)), 1);
    };
    expect(interleave([waiter, asker], roundRobin()).kind).toBe('done');
    expect(interleave([waiter], roundRobin())).toMatchObject({ kind: 'deadlock', waits: [{ body: 0, holders: [] }] });
  });

  it('gives up a machine: every waiter ends by MachineLost', () => {
    const holder: Body = function* () {
      yield* lock(cpuAt(2), A, RANK.heap);
      yield* stOnce(actor.request(cpuAt(1)), REQ_ABORT);
    };
    const waiter: Body = function* () {
      yield* lock(cpuAt(1), A, RANK.heap);
    };
    const o = interleave([holder, waiter], scripted([0, 1, 0]));
    expect(o).toMatchObject({ kind: 'threw', body: 1 });
    expect(String(o.kind === 'threw' && o.error)).toMatch(/given up/);
  });

  it('stops at the step bound of a livelock', () => {
    const polite: Body = function* () {
      for (;;) yield* ldOnce(A);
    };
    const o = interleave([polite, polite], roundRobin(), 1000);
    expect(o).toMatchObject({ kind: 'bound', steps: 1000 });
  });

  it('stops at the step bound although other bodies have come to their end', () => {
    const endless: Body = function* () {
      for (;;) yield* ldOnce(A);
    };
    const quick: Body = function* () {
      yield* ldOnce(B);
    };
    expect(interleave([endless, quick], randomWalk(1), 500).kind).toBe('bound');
  });

  it('names the body that threw and drops the others where they are', () => {
    let cleaned = false;
    const other: Body = function* () {
      try {
        for (;;) yield* ldOnce(A);
      } finally {
        cleaned = true;
      }
    };
    const bad: Body = function* () {
      yield* ldOnce(A);
      throw new HypervisorBug('broken');
    };
    const o = interleave([other, bad], roundRobin());
    expect(o).toMatchObject({ kind: 'threw', body: 1 });
    expect(cleaned).toBe(false);
  });

  it('runs no body at all, and bodies without a point', () => {
    expect(interleave([], roundRobin())).toMatchObject({ kind: 'done', steps: 0 });
    const empty: Body = function* () {
      yield* nothing();
    };
    expect(interleave([empty, empty], randomWalk(1))).toMatchObject({ kind: 'done', steps: 0 });
  });

  it('a sleeper on a lock is not ready again once another has taken it', () => {
    const body = (i: number): Body =>
      function* () {
        yield* lock(cpuAt(i), A, RANK.heap);
        yield* add(B, 1);
        yield* unlock(cpuAt(i), A);
      };
    // 0 takes it, 1 and 2 go to sleep, 0 releases, 1 takes it: from here on 2 is asleep until 1 releases.
    const states: string[] = [];
    const script = [0, 1, 2, 0, 0, 1, 1, 1, 2];
    interleave([body(1), body(2), body(3)], {
      begin: () => undefined,
      pick: (view) => {
        states.push([...view.state].join(''));
        return script[view.steps - 1] ?? 2;
      },
    });
    expect(states.slice(0, 9)).toEqual(['000', '000', '010', '011', '011', '200', '201', '201', '220']);
  });

  it('asks the strategy for the choices of a step, and records them', () => {
    const body: Body = function* () {
      yield* ldOnce(A);
      yield* stOnce(A, 10 * choose(cpuAt(1), 1, 3) + choose(cpuAt(1), 2, 4));
    };
    const loop = new Loop(1);
    const asked: number[][] = [];
    const o = loop.execute([body], {
      begin: () => undefined,
      pick: () => 0,
      choose: (view, who, what, n) => {
        asked.push([view.steps, who, what, n]);
        return n - 1;
      },
    });
    expect(o.kind).toBe('done');
    expect(words[A]).toBe(23);
    expect(asked).toEqual([
      [1, 0, 1, 3],
      [1, 0, 2, 4],
    ]);
    expect(loop.chosen).toEqual([
      { step: 1, actor: 0, what: 1, n: 3, value: 2 },
      { step: 1, actor: 0, what: 2, n: 4, value: 3 },
    ]);
    loop.execute([body], roundRobin());
    expect(words[A]).toBe(0);
    run(body);
    expect(words[A]).toBe(0);
  });

  it('asks a check after each step what is wrong, and ends there', () => {
    const body: Body = function* () {
      for (let i = 1; i < 9; i++) yield* stOnce(A, i);
    };
    const seen: number[][] = [];
    const finding = { rule: 'three', detail: 'A is 3', holders: [] };
    const o = interleave([body], roundRobin(), 100, (...step) => {
      seen.push([...step, words[A] as number]);
      return words[A] === 3 ? finding : undefined;
    });
    expect(o).toEqual({ kind: 'found', finding, steps: 3, switches: 0, preemptions: 0 });
    expect(seen).toEqual([1, 2, 3].map((v) => [0, A, POINT_WRITE | POINT_ONCE, 1, -1, v]));
  });

  it('tells a check that a lock was looked at, and later taken', () => {
    const body = (i: number): Body =>
      function* () {
        yield* lock(cpuAt(i), A, RANK.heap);
        yield* unlock(cpuAt(i), A);
      };
    const kinds: number[][] = [];
    interleave([body(1), body(2)], scripted([0, 1, 0, 1, 1]), 100, (who, _a, kind) => {
      kinds.push([who, kind]);
      return undefined;
    });
    const rmw = POINT_READ | POINT_WRITE | POINT_ATOMIC;
    expect(kinds).toEqual([
      [0, POINT_LOCK | rmw],
      [1, POINT_READ | POINT_ONCE | POINT_WAIT],
      [0, POINT_UNLOCK | rmw],
      [1, POINT_LOCK | POINT_BLOCKED | rmw],
      [1, POINT_UNLOCK | rmw],
    ]);
  });

  it('gives an execution up where the strategy says so', () => {
    const body: Body = function* () {
      for (let i = 0; i < 5; i++) yield* add(A, 1);
    };
    const o = interleave([body], { begin: () => undefined, pick: (v) => (v.steps > 2 ? ABANDON : 0) });
    expect(o).toEqual({ kind: 'abandoned', steps: 2, switches: 0, preemptions: 0 });
    expect(words[A]).toBe(2);
  });

  it('refuses a strategy that picks an actor which is not ready', () => {
    const stuck: Picker = { begin: () => undefined, pick: () => 0 };
    const body: Body = function* () {
      yield* ldOnce(A);
    };
    expect(() => interleave([body, body], stuck)).toThrow(/not ready/);
  });
});

function* nothing(): Steps<void> {
  return;
}

describe('what a strategy sees', () => {
  it('is the step that a choice takes: address, kind and number of words', () => {
    const body: Body = function* () {
      yield* ld(A);
      yield* stOnce(B, 1);
      yield* cas(A, 0, 1);
      yield* touch(A, 4, POINT_READ);
      yield* fill(A, 8);
      yield* lock(cpuAt(1), B, RANK.heap);
      yield* unlock(cpuAt(1), B);
    };
    const r = recorded(roundRobin());
    interleave([body], r);
    const rmw = POINT_READ | POINT_WRITE | POINT_ATOMIC;
    expect(r.trace).toEqual(
      [
        [0, POINT_READ, A, 1],
        [0, POINT_WRITE | POINT_ONCE, B, 1],
        [0, rmw, A, 1],
        [0, POINT_READ, A, 4],
        [0, POINT_WRITE, A, 8],
        [0, POINT_LOCK | rmw, B, 1],
        [0, POINT_UNLOCK | rmw, B, 1],
      ].map((step) => step.join(' ')),
    );
  });

  it('stands still until the choice: the access has not happened yet', () => {
    const seen: number[] = [];
    const watch: Picker = {
      begin: () => undefined,
      pick: (view: View) => {
        seen.push(words[A] as number);
        return view.state[0] === 0 ? 0 : 1;
      },
    };
    const body: Body = function* () {
      yield* add(A, 1);
      yield* add(A, 1);
    };
    interleave([body], watch);
    expect(seen).toEqual([0, 1]);
  });

  it('is the same twice, for the same seed', () => {
    const once = (seed: number): [Outcome, string] => {
      reset();
      const walk = recorded(randomWalk(seed));
      return [interleave(table(4, false), walk), walk.trace.join('\n')];
    };
    expect(once(3)).toEqual(once(3));
    expect(once(3)[1]).not.toBe(once(4)[1]);
  });

  it('round robin with a quantum stays that many steps', () => {
    const body: Body = function* () {
      for (let i = 0; i < 6; i++) yield* add(A, 1);
    };
    const r = recorded(roundRobin(3));
    interleave([body, body], r);
    expect(r.trace.map((line) => line[0]).join('')).toBe('000111000111');
  });
});
