/** Classic programs with known answers, each searched by every exhaustive strategy. */
import { describe, expect, it } from 'vitest';
import { bpor } from '../../src/explore/bpor.js';
import { dpor } from '../../src/explore/dpor.js';
import { exhaustive } from '../../src/explore/exhaustive.js';
import type { Finding, Outcome, Program } from '../../src/explore/program.js';
import { search, type Report } from '../../src/explore/search.js';
import { shrink } from '../../src/explore/shrink.js';
import type { Strategy } from '../../src/explore/strategy.js';
import { traceOf } from '../../src/explore/trace.js';
import { words } from '../../src/ops/memory.js';
import { cpuAt } from '../../src/sync/actor.js';
import { RANK } from '../../src/sync/lock-order.js';
import { add, cas, ldOnce, lock, peek, stOnce, unlock, waitChange } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';

const A = 2048;
const [X, Y, TURN, INSIDE, MOST, R0, R1] = [A, A + 1, A + 2, A + 3, A + 4, A + 5, A + 6];

type Body = () => Steps<void>;

interface Litmus extends Program {
  readonly outcomes: Set<string>;
}

/** A program of these bodies that shows `watch` at its end, and fails when `wrong` says so. */
function litmus(bodies: readonly Body[], watch: readonly number[], wrong: (...v: number[]) => boolean): Litmus {
  const outcomes = new Set<string>();
  return {
    outcomes,
    names: { actor: (i) => `actor ${i}`, address: (a) => `word ${a - A}` },
    start: () => {
      words.fill(0, A, A + 32);
      words.fill(0, cpuAt(0), cpuAt(6));
      return bodies;
    },
    finish: (o: Outcome): Finding[] => {
      const values = watch.map((a) => words[a]!);
      outcomes.add(o.kind === 'done' ? values.join(' ') : o.kind);
      return wrong(...values) ? [{ rule: 'wrong', detail: values.join(' '), holders: [] }] : [];
    },
  };
}

const complete: [string, () => Strategy][] = [
  ['every schedule', () => exhaustive()],
  ['partial-order reduction', () => dpor()],
  ['bounded reduction', () => bpor(3)],
];
const all = (p: Program, s: Strategy, bound = 200): Report => search(p, s, { failures: Infinity, bound });

/** The critical section: the most that were inside at once is kept in MOST. */
function* critical(): Steps<void> {
  const inside = (yield* add(INSIDE, 1)) + 1;
  if (inside > peek(MOST)) yield* stOnce(MOST, inside);
  yield* add(INSIDE, -1);
}
const two = (body: (me: number, other: number, turn: number) => Steps<void>): Body[] => [
  () => body(X, Y, 1),
  () => body(Y, X, 2),
];

describe.each(complete)('litmus programs under %s', (_name, make) => {
  it('store buffering never shows 0 0: memory is sequentially consistent', () => {
    const side = (mine: number, other: number, r: number): Body =>
      function* () {
        yield* stOnce(mine, 1);
        const v = yield* ldOnce(other);
        yield* stOnce(r, v);
      };
    const p = litmus([side(X, Y, R0), side(Y, X, R1)], [R0, R1], (a, b) => a === 0 && b === 0);
    expect(all(p, make())).toMatchObject({ failures: 0, exhausted: true });
    expect([...p.outcomes].sort()).toEqual(['0 1', '1 0', '1 1']);
  });

  it('message passing shows the data with the flag, load buffering never 1 1', () => {
    const message = litmus(
      [
        function* () {
          yield* stOnce(X, 7);
          yield* stOnce(Y, 1);
        },
        function* () {
          const flag = yield* ldOnce(Y);
          yield* stOnce(R0, flag);
          yield* stOnce(R1, yield* ldOnce(X));
        },
      ],
      [R0, R1],
      (flag, data) => flag === 1 && data === 0,
    );
    expect(all(message, make())).toMatchObject({ failures: 0, exhausted: true });
    expect([...message.outcomes].sort()).toEqual(['0 0', '0 7', '1 7']);
  });

  it('independent reads of independent writes see them in one order', () => {
    const write = (a: number): Body =>
      function* () {
        yield* stOnce(a, 1);
      };
    const seen = A + 8;
    const read = (first: number, second: number, at: number): Body =>
      function* () {
        const one = yield* ldOnce(first);
        const other = yield* ldOnce(second);
        yield* stOnce(at, 2 * one + other);
      };
    const p = litmus(
      [write(X), write(Y), read(X, Y, seen), read(Y, X, seen + 1)],
      [seen, seen + 1],
      (a, b) => a === 2 && b === 2,
    );
    expect(all(p, make())).toMatchObject({ failures: 0, exhausted: true });
    expect(p.outcomes.size).toBe(15);
  });

  it("Dekker's flags exclude; read before written they do not", () => {
    const right = two(function* (mine, other) {
      yield* stOnce(mine, 1);
      if ((yield* ldOnce(other)) === 0) yield* critical();
      yield* stOnce(mine, 0);
    });
    const buggy = two(function* (mine, other) {
      const there = yield* ldOnce(other);
      yield* stOnce(mine, 1);
      if (there === 0) yield* critical();
    });
    const broken = (most: number): boolean => most > 1;
    expect(all(litmus(right, [MOST], broken), make())).toMatchObject({ failures: 0, exhausted: true });
    const r = all(litmus(buggy, [MOST], broken), make());
    expect(r.failures).toBeGreaterThan(0);
    expect(r.exhausted).toBe(true);
  });

  it("Peterson's lock excludes; with its turn taken before the flag is raised it does not", () => {
    const peterson = (turnFirst: boolean): Body[] =>
      two(function* (mine, other, turn) {
        const cpu = cpuAt(turn);
        yield* stOnce(turnFirst ? TURN : mine, turnFirst ? turn : 1);
        yield* stOnce(turnFirst ? mine : TURN, turnFirst ? 1 : turn);
        // TURN is who waits; who leaves takes its flag down and waits in its place.
        if ((yield* ldOnce(other)) !== 0) yield* waitChange(cpu, TURN, turn);
        yield* critical();
        yield* stOnce(mine, 0);
        yield* stOnce(TURN, turn);
      });
    const broken = (most: number): boolean => most > 1;
    const right = litmus(peterson(false), [MOST], broken);
    expect(all(right, make())).toMatchObject({ failures: 0, exhausted: true });
    expect([...right.outcomes]).toEqual(['1']);
    const r = all(litmus(peterson(true), [MOST], broken), make());
    expect(r.found.map((f) => f.findings[0]?.rule)).toContain('wrong');
  });

  it('ABA: a compare-exchange does not see that a value went and came back', () => {
    /** A stack of two nodes, 1 on top of 2; `next` of node i is at A + 10 + i; X is the top. */
    const next = (i: number): number => A + 10 + i;
    const popOne = function* (): Steps<void> {
      const top = yield* ldOnce(X);
      if (top === 0) return;
      const below = yield* ldOnce(next(top));
      yield* cas(X, top, below);
    };
    const popTwoPushOne = function* (): Steps<void> {
      const top = yield* ldOnce(X);
      const below = yield* ldOnce(next(top));
      if (top === 0 || below === 0) return;
      if ((yield* cas(X, top, 0)) !== top) return;
      // Node 2 is in use from here on (its mark is 9), node 1 goes back.
      yield* stOnce(next(below), 9);
      yield* stOnce(next(top), 0);
      yield* cas(X, 0, top);
    };
    const base = litmus([popOne, popTwoPushOne], [X, next(2)], (top, mark) => top === 2 && mark === 9);
    const p: Litmus = {
      ...base,
      start: () => {
        const bodies = base.start();
        words[X] = 1;
        words[next(1)] = 2;
        return bodies;
      },
    };
    const r = all(p, make());
    expect(r.failures).toBeGreaterThan(0);
    expect(r.exhausted).toBe(true);
    const s = shrink(p, r.found[0]!.schedule)!;
    expect(s.preemptions).toBe(1);
  });

  it('dining philosophers deadlock, each waiting for the fork of the next, unless one turns round', () => {
    const forks = A + 16;
    const philosopher = (i: number, first: number, second: number): Body =>
      function* () {
        yield* lock(cpuAt(i + 1), forks + first, RANK.guestPteLock);
        yield* lock(cpuAt(i + 1), forks + second, RANK.guestPteLock);
        yield* unlock(cpuAt(i + 1), forks + second);
        yield* unlock(cpuAt(i + 1), forks + first);
      };
    const never = (): boolean => false;
    const wrong = litmus(
      [0, 1, 2].map((i) => philosopher(i, i, (i + 1) % 3)),
      [X],
      never,
    );
    const r = all(wrong, make());
    expect(r.exhausted).toBe(true);
    expect(r.found).toHaveLength(1);
    expect(r.found[0]!.findings).toEqual([
      {
        rule: 'deadlock',
        detail:
          'actor 0 waits for word 17, held by cpu 2; actor 1 waits for word 18, held by cpu 3; actor 2 waits for word 16, held by cpu 1',
        holders: ['actor 0', 'actor 1', 'actor 2'],
      },
    ]);
    const right = litmus([philosopher(0, 0, 1), philosopher(1, 1, 2), philosopher(2, 0, 2)], [X], never);
    expect(all(right, make())).toMatchObject({ failures: 0, exhausted: true });
  });

  it('a wake-up is missed when the flag is looked at before the event is', () => {
    const [flag, event] = [X, Y];
    const setter: Body = function* () {
      yield* stOnce(flag, 1);
      yield* add(event, 1);
    };
    const waiter = (right: boolean): Body =>
      function* () {
        let seen = right ? yield* ldOnce(event) : 0;
        if ((yield* ldOnce(flag)) === 1) return;
        if (!right) seen = yield* ldOnce(event);
        yield* waitChange(cpuAt(1), event, seen);
      };
    const never = (): boolean => false;
    const r = all(litmus([waiter(false), setter], [flag], never), make());
    expect(r.found).toHaveLength(1);
    const [finding] = r.found[0]!.findings;
    expect(finding).toMatchObject({ rule: 'lost wake-up', holders: ['actor 0', 'actor 1'] });
    expect(finding!.detail).toMatch(
      /sleeps on word 1 since step 5; actor 1 changed it at step \d, after its look at word 0 at step \d/,
    );
    expect(all(litmus([waiter(true), setter], [flag], never), make())).toMatchObject({ failures: 0, exhausted: true });
  });

  it('two who give way to each other for ever are a livelock', () => {
    const polite = (mine: number, other: number): Body =>
      function* () {
        for (;;) {
          yield* stOnce(mine, 1);
          if ((yield* ldOnce(other)) === 0) return;
          yield* stOnce(mine, 0);
        }
      };
    const p = litmus([polite(X, Y), polite(Y, X)], [X], () => false);
    const r = search(p, make(), { bound: 60 });
    // Both flags up: each takes its own down and up again, alone or in turn.
    expect(r.cut).toBe(1);
    const [finding] = r.found[0]!.findings;
    expect(finding?.rule).toBe('livelock');
    expect(finding?.detail).toMatch(/^after 60 steps the same \d+ come round: actor/);
  });
});

describe('a trace', () => {
  it('says what each step did to the first word it touched', () => {
    const p = litmus(
      [
        function* () {
          yield* stOnce(X, 5);
          yield* add(X, 2);
        },
        function* () {
          yield* ldOnce(X);
        },
      ],
      [X],
      () => false,
    );
    const t = traceOf(p, { picks: Uint8Array.of(0, 1, 0), choices: [] });
    expect(t.steps.map((s) => [s.actor, s.address - A, s.before, s.after])).toEqual([
      [0, 0, 0, 5],
      [1, 0, 5, 5],
      [0, 0, 5, 7],
    ]);
    expect(t).toMatchObject({ diverged: false, found: undefined, outcome: { kind: 'done', preemptions: 1 } });
  });
});
