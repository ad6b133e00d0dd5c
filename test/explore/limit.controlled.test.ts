/** Choices under a bound: reduction finds what plain enumeration finds; draws keep to it; shrinking takes them away. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bpor } from '../../src/explore/bpor.js';
import { dpor } from '../../src/explore/dpor.js';
import { exhaustive } from '../../src/explore/exhaustive.js';
import { always, atMost, countOf, drawnAtMost, type ChoiceLimit } from '../../src/explore/limit.js';
import { Loop } from '../../src/explore/loop.js';
import { randomWalk } from '../../src/explore/random-walk.js';
import { scheduleOf } from '../../src/explore/schedule.js';
import { search } from '../../src/explore/search.js';
import { shrink } from '../../src/explore/shrink.js';
import type { Strategy } from '../../src/explore/strategy.js';
import { programOf, smallPrograms, type Op } from './programs.js';

const RUNS = Number(process.env['XENOLITH_PROPERTY_RUNS'] ?? '50');
const MOST = 1500;
const FAULT = 1;
const limit = (most: number): ChoiceLimit => ({ what: FAULT, most, name: 'faults' });

/** Programs whose actors also meet choices of the kind that is limited. */
const programs = fc
  .tuple(smallPrograms, fc.array(fc.nat(3), { minLength: 3, maxLength: 3 }))
  .map(([actors, places]) =>
    actors.map((ops, i): Op[] => ops.toSpliced((places[i] ?? 0) % (ops.length + 1), 0, { op: 'choose', w: FAULT })),
  );

function outcomesOf(ops: Op[][], s: Strategy, executions = Infinity): { done: boolean; found: Set<string> } {
  const p = programOf(ops);
  return { done: search(p, s, { failures: Infinity, executions }).exhausted, found: p.outcomes };
}

describe.each([0, 1, 2])('at most %i of the choices', (most) => {
  it.each<[string, () => Strategy, () => Strategy]>([
    ['without a bound on preemptions', () => exhaustive(), () => dpor()],
    ['with at most one preemption', () => exhaustive(1), () => bpor(1)],
    ['with at most one preemption, every node kept', () => exhaustive(1), () => bpor(1, 1)],
  ])('%s: the reduction has the outcomes of plain enumeration, over random programs', (_name, plain, reduced) => {
    let compared = 0;
    fc.assert(
      fc.property(programs, (ops) => {
        const all = outcomesOf(ops, atMost(plain(), limit(most)), MOST);
        if (!all.done) return;
        const few = outcomesOf(ops, atMost(reduced(), limit(most)));
        expect([few.done, [...few.found].sort()]).toEqual([true, [...all.found].sort()]);
        compared++;
      }),
      { numRuns: RUNS, seed: Number(process.env['XENOLITH_SEED'] ?? 1) },
    );
    expect(compared).toBeGreaterThan(RUNS / 5);
  });
});

const choosers: Op[][] = [
  Array.from({ length: 6 }, (): Op => ({ op: 'choose', w: FAULT })),
  Array.from({ length: 6 }, (): Op => ({ op: 'choose', w: 2 })),
];

describe('over two actors that choose six times each', () => {
  const taken = (s: Strategy, executions: number): [number, number][] => {
    const p = programOf(choosers);
    const loop = new Loop(2);
    return Array.from({ length: executions }, () => {
      loop.execute(p.start(), s);
      s.next();
      const { choices } = scheduleOf(loop);
      return [countOf(choices, FAULT), countOf(choices, 2)];
    });
  };

  it('no draw takes more than its bound, all places are drawn, and other choices are left alone', () => {
    const counts = taken(drawnAtMost(randomWalk(1), limit(2), 5), 400);
    expect(counts[0]?.[0]).toBe(0);
    expect(new Set(counts.map(([n]) => n))).toEqual(new Set([0, 1, 2]));
    expect(new Set(counts.map(([, n]) => n)).size).toBe(7);
  });

  it('always means all of them, and the first answer', () => {
    expect(taken(always(randomWalk(1), FAULT), 3).map(([n]) => n)).toEqual([6, 6, 6]);
  });

  it('a search covers what it says: every set of at most two places', () => {
    const r = search(programOf([choosers[0]!, []]), atMost(exhaustive(), limit(2)));
    expect(r).toMatchObject({ exhausted: true, executions: 1 + 6 + 15, covers: 'every schedule of at most 2 faults' });
    expect(atMost(bpor(1), limit(2)).covers).toBe('every outcome of schedules of at most 1 preemptions and 2 faults');
  });

  it('is gone on with where it stood', () => {
    const half = atMost(exhaustive(), limit(2));
    const p = programOf([choosers[0]!, []]);
    expect(search(p, half, { executions: 10 }).ended).toBe('executions');
    const rest = atMost(exhaustive(), limit(2));
    rest.load?.(JSON.parse(JSON.stringify(half.save?.())));
    expect(search(p, rest)).toMatchObject({ exhausted: true, executions: 12 });
  });
});

it('a failure that can do without faults keeps none, if that takes a preemption', () => {
  // Fails when word 0 was written by a choice that was taken, or when the second actor came between two stores.
  const ops: Op[][] = [
    [...choosers[0]!, { op: 'stOnce', w: 0, v: 7 }, { op: 'stOnce', w: 0, v: 0 }],
    [{ op: 'ldOnce', w: 0 }],
  ];
  const p = programOf(ops, (line) => (/\| 0 (2 .*|1 .*) 8$/.test(line) ? 'seen' : undefined));
  const all = search(p, always(randomWalk(2), FAULT), { executions: 500 });
  const [first] = all.found;
  expect(countOf(first?.schedule.choices ?? [], FAULT)).toBe(6);
  const s = shrink(p, first!.schedule, { faults: { what: FAULT, name: 'faults' } });
  expect([s?.faults, s?.preemptions]).toEqual([0, 1]);
});
