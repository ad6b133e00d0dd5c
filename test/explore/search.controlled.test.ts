/** Searches with known answers: strategies, limits, failures that replay, saving and loading. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bpor, bpor } from '../../src/explore/bpor.js';
import { dpor } from '../../src/explore/dpor.js';
import { exhaustive } from '../../src/explore/exhaustive.js';
import { Loop } from '../../src/explore/loop.js';
import { pct } from '../../src/explore/pct.js';
import { randomWalk } from '../../src/explore/random-walk.js';
import { continueFrom, Replay } from '../../src/explore/replay.js';
import { roundRobin } from '../../src/explore/round-robin.js';
import { decodeSchedule, encodeSchedule, scheduleOf } from '../../src/explore/schedule.js';
import { search } from '../../src/explore/search.js';
import type { Program } from '../../src/explore/program.js';
import { Nondeterminism, type Strategy } from '../../src/explore/strategy.js';
import { uniformWalk } from '../../src/explore/uniform-walk.js';
import { programOf, smallPrograms, type Op } from './programs.js';

const adds = (w: number, times: number): Op[] => Array.from({ length: times }, () => ({ op: 'add', w }));
/** A counter incremented in two steps, which loses updates. */
const increments: Op[] = [
  { op: 'ldOnce', w: 0 },
  { op: 'stOnce', w: 0, v: 1 },
];

describe('an exhaustive search', () => {
  it('runs every schedule once', () => {
    const r = search(programOf([adds(0, 3), adds(1, 3)]), exhaustive(), { classes: true });
    expect(r).toMatchObject({ executions: 20, points: 120, exhausted: true, covers: 'every schedule', remaining: 0 });
    expect(r.classes).toBe(1);
    expect(search(programOf([adds(0, 3), adds(0, 3)]), exhaustive(), { classes: true }).classes).toBe(20);
  });

  it('of at most k preemptions runs those schedules once', () => {
    // Two actors of n steps: one preemption cuts one of them in two, at n-1 places.
    const count = (k: number): number => search(programOf([adds(0, 4), adds(0, 4)]), exhaustive(k)).executions;
    expect(count(0)).toBe(2);
    expect(count(1)).toBe(2 + 2 * 3);
    expect(count(2)).toBe(2 + 2 * 3 + 2 * 3 * 3);
    expect(count(20)).toBe(70);
  });

  it('enumerates choices too', () => {
    const p = programOf([
      [
        { op: 'choose', w: 0 },
        { op: 'choose', w: 1 },
      ],
      adds(2, 1),
    ]);
    const r = search(p, exhaustive());
    expect(r.executions).toBe(3 * 4);
    expect(p.outcomes.size).toBe(4);
  });

  it('estimates what is left: the estimate starts near and ends at nothing', () => {
    const seen: number[] = [];
    const r = search(programOf([adds(0, 5), adds(1, 5)]), exhaustive(), {
      every: 20,
      progress: (p) => seen.push(p.executions + (p.remaining ?? 0)),
    });
    expect(r.executions).toBe(252);
    expect(seen.length).toBe(12);
    for (const total of seen) expect(total).toBeGreaterThan(60);
    expect(seen.at(-1)).toBeLessThan(600);
  });

  it('estimates what is left under a bound too, where alternatives differ much in size', () => {
    const seen: number[] = [];
    const r = search(programOf([adds(0, 40), adds(0, 40)]), exhaustive(2), {
      every: 100,
      progress: (p) => seen.push(p.executions + (p.remaining ?? 0)),
    });
    expect(r.exhausted).toBe(true);
    expect(r.executions).toBe(2 + 2 * 39 + 2 * 39 * 39);
    for (const total of seen.slice(2)) {
      expect(total).toBeGreaterThan(r.executions / 3);
      expect(total).toBeLessThan(r.executions * 3);
    }
  });

  it.each([
    ['without reduction', () => exhaustive()],
    ['of two preemptions', () => exhaustive(2)],
    ['with partial-order reduction', () => dpor()],
    ['with bounded reduction', () => bpor(2)],
  ])('%s goes on where a saved one stopped', (_name, make) => {
    fc.assert(
      fc.property(smallPrograms, fc.integer({ min: 1, max: 40 }), (ops, first) => {
        const whole = programOf(ops);
        const all = search(whole, make(), { failures: Infinity, executions: 2000 });
        if (!all.exhausted) return;
        const { executions } = all;
        const parts = programOf(ops);
        const one = make();
        const begun = search(parts, one, { failures: Infinity, executions: first });
        if (begun.ended === 'exhausted') return;
        const two = make();
        two.load(JSON.parse(JSON.stringify(one.save())));
        const rest = search(parts, two, { failures: Infinity });
        // The nodes that are behind are not saved: what they would spare is searched again.
        const most = one instanceof Bpor ? Infinity : executions;
        expect(begun.executions + rest.executions).toBeGreaterThanOrEqual(executions);
        expect(begun.executions + rest.executions).toBeLessThanOrEqual(most);
        expect(parts.outcomes).toEqual(whole.outcomes);
      }),
      { numRuns: 60, seed: 4 },
    );
  });
});

describe('a search', () => {
  const lost = (line: string): string | undefined => (line.includes('| 1 ') ? 'an update is lost' : undefined);
  const counters = programOf([adds(1, 1), increments, increments], () => undefined);

  it('ends at its limits and says at which', () => {
    expect(search(counters, randomWalk(1), { executions: 10 })).toMatchObject({
      executions: 10,
      ended: 'executions',
      exhausted: false,
    });
    expect(search(counters, roundRobin())).toMatchObject({ executions: 1, ended: 'no more', exhausted: false });
    let now = 0;
    const clock = (): number => (now += 10);
    expect(search(counters, randomWalk(1), { time: 50, clock, every: 1 })).toMatchObject({
      ended: 'time',
      executions: 5,
    });
    expect(search(counters, randomWalk(1), { stop: () => true, every: 7 })).toMatchObject({
      ended: 'stopped',
      executions: 7,
    });
  });

  it('is not exhausted when an execution was cut at the step bound', () => {
    expect(search(counters, exhaustive(), { bound: 4, failures: Infinity })).toMatchObject({
      ended: 'exhausted',
      exhausted: false,
    });
    expect(search(counters, exhaustive(), { bound: 5 })).toMatchObject({ cut: 0, exhausted: true });
  });

  it('keeps the first failure of each kind, with how often it came', () => {
    const p = programOf([increments, increments], lost);
    const r = search(p, exhaustive(), { failures: Infinity });
    expect(r.found).toHaveLength(1);
    expect(r.found[0]?.times).toBe(6);
    expect(r.failures).toBe(6);
  });

  const strategies: [string, () => Strategy][] = [
    ['random walk', () => randomWalk(5)],
    ['uniform walk', () => uniformWalk(5)],
    ['PCT of depth 2', () => pct(5, 2)],
    ['exhaustive search', () => exhaustive()],
    ['exhaustive search of one preemption', () => exhaustive(1)],
    ['partial-order reduction', () => dpor()],
    ['bounded reduction', () => bpor(1)],
  ];
  const rare: Op[][] = [
    [...adds(1, 4), { op: 'stOnce', w: 0, v: 1 }, { op: 'stOnce', w: 0, v: 0 }, ...adds(1, 4)],
    [...[1, 2, 3, 1].map((v): Op => ({ op: 'stOnce', w: 2, v })), { op: 'ldOnce', w: 0 }],
  ];
  it.each(strategies)('by %s finds a failure that replays, and the same one again', (_name, make) => {
    const quiet = search(
      programOf(rare, () => undefined),
      exhaustive(0),
      { failures: Infinity },
    );
    expect(quiet.failures).toBe(0);
    const p = programOf(rare, (line) => (line.endsWith(' 2') ? 'it read the 1' : undefined));
    const r = search(p, make(), { executions: 20_000 });
    expect(r.failures).toBe(1);
    const again = search(p, make(), { executions: 20_000 });
    expect(again).toEqual(r);
    const schedule = decodeSchedule(encodeSchedule(r.found[0]!.schedule))!;
    const replay = new Replay(schedule);
    const once = search(p, replay);
    expect(replay.diverged).toBe(false);
    expect(once.found[0]).toMatchObject({ schedule, findings: r.found[0]!.findings });
  });

  it('continues from a prefix with another strategy', () => {
    const p = programOf([adds(0, 3), adds(0, 3)]);
    const prefix = { picks: Uint8Array.of(0, 1, 1), choices: [] };
    // What is left is two steps of one and one of the other.
    expect(search(p, continueFrom(prefix, exhaustive()))).toMatchObject({ executions: 3, exhausted: true });
    expect(search(p, continueFrom(prefix, randomWalk(1)), { executions: 9 }).executions).toBe(9);
    // Cut after two steps, two of each are left; cut before the first one, all are.
    expect(search(p, continueFrom(prefix, exhaustive(), 2))).toMatchObject({ executions: 6, exhausted: true });
    expect(search(p, continueFrom(prefix, dpor(), 0)).executions).toBe(search(p, dpor()).executions);
  });

  it('leaves the choices after a prefix to the other strategy, whatever the schedule says', () => {
    const asks = (w: number): Op => ({ op: 'choose', w });
    const p = programOf([[asks(0), asks(1), asks(2)], adds(3, 1)]);
    const all = [0, 1, 2].map((nth) => ({ actor: 0, nth, what: nth, value: 1 }));
    const chosen = (strategy: Strategy): Set<string> => {
      const seen = new Set<string>();
      const next = (): boolean => {
        seen.add(asked.splice(0).join(''));
        return strategy.next();
      };
      const asked: number[] = [];
      const choose: Strategy['choose'] = (...of) => {
        const value = strategy.choose(...of);
        asked.push(value);
        return value;
      };
      search(p, { ...strategy, choose, next });
      return seen;
    };
    const prefix = { picks: Uint8Array.of(0, 0, 0, 1), choices: all };
    // An actor is asked before its first step, and then in each. Ones as long as the prefix lasts, then both values.
    const values = (steps: number): string[] => [...chosen(continueFrom(prefix, exhaustive(), steps))].sort();
    expect(values(4)).toEqual(['111']);
    expect(values(2)).toEqual(['111']);
    expect(values(1)).toEqual(['110', '111']);
    expect(values(0)).toHaveLength(8);
    // What a prefix says nothing of is 0 within it.
    const none = { picks: prefix.picks, choices: [] };
    expect([...chosen(continueFrom(none, exhaustive(), 1))].sort()).toEqual(['000', '001']);
    // Another program's schedule is refused.
    expect(() => search(p, continueFrom({ picks: Uint8Array.of(1, 1, 1), choices: [] }, exhaustive()))).toThrow(
      Nondeterminism,
    );
  });

  it('counts the steps after a prefix alone', () => {
    const p = programOf([adds(0, 3), adds(0, 3)]);
    const steps: number[] = [];
    const counting: Strategy = {
      ...roundRobin(),
      pick: (view, running) => {
        steps.push(view.steps);
        return roundRobin().pick(view, running);
      },
    };
    search(p, continueFrom({ picks: Uint8Array.of(0, 0, 1, 1), choices: [] }, counting));
    expect(steps[0]).toBe(1);
    expect(Math.max(...steps)).toBe(2);
  });
});

describe('a program that is not a function of its schedule', () => {
  /** Its second and later executions are another program. */
  const changing = (first: Op[][], later: Op[][]): Program => {
    const programs = [programOf(first), programOf(later)];
    let executions = 0;
    return { ...programs[0]!, start: () => programs[Math.min(executions++, 1)]!.start() };
  };

  it.each<[string, () => Strategy]>([
    ['exhaustive search', () => exhaustive()],
    ['partial-order reduction', () => dpor()],
    ['bounded reduction', () => bpor(2)],
  ])('is refused by %s', (_name, make) => {
    // Every choice was there the first time, and an actor is at its end early the second time.
    const shorter = changing([adds(0, 3), adds(0, 3)], [adds(0, 1), adds(0, 3)]);
    expect(() => search(shorter, make())).toThrow(Nondeterminism);
    const fewer = changing([[{ op: 'choose', w: 0 }], adds(0, 1)], [adds(0, 1), adds(0, 1)]);
    expect(() => search(fewer, make())).toThrow(Nondeterminism);
    const other = changing(
      [[{ op: 'choose', w: 0 }, ...adds(1, 1)], []],
      [[...adds(0, 1), { op: 'choose', w: 0 }], []],
    );
    expect(() => search(other, make())).toThrow(Nondeterminism);
  });

  it('is seen by the words it touches, where a history of them is kept', () => {
    const moved = changing([adds(0, 2), adds(0, 2)], [adds(1, 2), adds(0, 2)]);
    expect(() => search(moved, dpor())).toThrow(/touches word/);
  });

  it('is not taken for an error of a body', () => {
    const wrong: Strategy = { ...roundRobin(), pick: (view) => (view.steps === 2 ? 5 : 0) };
    expect(() => search(programOf([adds(0, 3), adds(0, 3)]), wrong)).toThrow(/not ready/);
  });

  it('nor has an exhaustive search more actors than it has bits', () => {
    const many = programOf(Array.from({ length: 32 }, () => []));
    expect(() => search({ ...many, start: () => many.start() }, dpor())).toThrow(/at most 31/);
  });
});

describe('walks', () => {
  it('of the uniform kind take every interleaving about equally often, other than the plain one', () => {
    // Four steps against one: five interleavings, of which the plain walk takes the first half of the time.
    const spread = (s: Strategy): number[] => {
      const at = [0, 0, 0, 0, 0];
      const loop = new Loop(2);
      const p = programOf([adds(0, 4), adds(0, 1)]);
      for (let i = 0; i < 5000; i++) {
        loop.execute(p.start(), s);
        at[loop.picks.subarray(0, 5).indexOf(1)]!++;
        s.next();
      }
      return at;
    };
    for (const n of spread(uniformWalk(3))) expect(Math.abs(n - 1000)).toBeLessThan(150);
    expect(spread(randomWalk(3))[0]).toBeGreaterThan(2000);
  });

  it('of PCT keep the order of priorities between its change points', () => {
    const loop = new Loop(3);
    const s = pct(1, 1);
    const p = programOf([adds(0, 5), adds(0, 5), adds(0, 5)]);
    const orders = new Set<string>();
    for (let i = 0; i < 100; i++) {
      expect(loop.execute(p.start(), s)).toMatchObject({ kind: 'done', preemptions: 0 });
      orders.add([loop.picks[0], loop.picks[5], loop.picks[10]].join(''));
      s.next();
    }
    expect(orders.size).toBe(6);
    const deep = pct(1, 3);
    const preempted = new Set<number>();
    for (let i = 0; i < 200; i++) {
      preempted.add(loop.execute(p.start(), deep).preemptions);
      deep.next();
    }
    expect([...preempted].sort()).toEqual([0, 1, 2]);
  });
});

describe('a schedule', () => {
  it('is the same after encoding and decoding', () => {
    const choice = fc.record({ actor: fc.nat(9), nth: fc.nat(1000), what: fc.nat(9), value: fc.nat(300) });
    fc.assert(
      fc.property(fc.array(fc.nat(200), { maxLength: 300 }), fc.array(choice, { maxLength: 5 }), (picks, choices) => {
        const s = { picks: Uint8Array.from(picks), choices };
        expect(decodeSchedule(encodeSchedule(s))).toEqual(s);
      }),
    );
    const long = { picks: new Uint8Array(20_000).fill(1), choices: [] };
    expect(encodeSchedule(long).length).toBeLessThan(12);
    expect(decodeSchedule(encodeSchedule(long))).toEqual(long);
  });

  it('is refused when the text is none: cut off, longer, another version, or anything', () => {
    const text = encodeSchedule({
      picks: Uint8Array.of(0, 1, 0, 2, 2),
      choices: [{ actor: 1, nth: 3, what: 2, value: 1 }],
    });
    for (let n = 0; n < text.length; n++) expect(decodeSchedule(text.slice(0, n))).toBeUndefined();
    expect(decodeSchedule(`${text}AA`)).toBeUndefined();
    expect(decodeSchedule(Buffer.from([2, 0, 0]).toString('base64url'))).toBeUndefined();
    expect(decodeSchedule('no token!')).toBeUndefined();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (b) => {
        decodeSchedule(Buffer.from(b).toString('base64url'));
      }),
    );
  });

  it('of any execution of any small program replays to the same trace, step by step', () => {
    fc.assert(
      fc.property(smallPrograms, fc.nat(1000), (ops, seed) => {
        const p = programOf(ops);
        const loop = new Loop(ops.length);
        const run = (s: Strategy): [string, string] => {
          const trace: string[] = [];
          const o = loop.execute(p.start(), s, 1000, (...step) => {
            trace.push(step.join(' '));
            return undefined;
          });
          p.outcomes.clear();
          p.finish(o);
          return [trace.join('\n'), [...p.outcomes].join()];
        };
        const first = run(randomWalk(seed));
        const schedule = scheduleOf(loop);
        const replay = new Replay(decodeSchedule(encodeSchedule(schedule))!);
        expect(run(replay)).toEqual(first);
        expect(replay.diverged).toBe(false);
        expect(scheduleOf(loop)).toEqual(schedule);
        // Each schedule twice: nothing but the schedule decides.
        expect(run(randomWalk(seed))).toEqual(first);
      }),
      { numRuns: 200, seed: 9 },
    );
  });
});
