/** The race detector: found where two plain accesses meet unordered, silent where a lock or an atomic orders them. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dpor } from '../../src/explore/dpor.js';
import { randomWalk } from '../../src/explore/random-walk.js';
import { search } from '../../src/explore/search.js';
import { traceOf } from '../../src/explore/trace.js';
import {
  POINT_ATOMIC,
  POINT_BLOCKED,
  POINT_LOCK,
  POINT_ONCE,
  POINT_UNLOCK,
  POINT_WAIT,
  POINT_WRITE,
} from '../../src/sync/schedule.js';
import { A, programOf, smallPrograms, type Op } from './programs.js';

const races = (ops: Op[][]): string[] =>
  search(programOf(ops), dpor(), { races: true, failures: Infinity }).found.flatMap((f) =>
    f.findings.map((x) => x.detail),
  );

const st = (w: number): Op => ({ op: 'st', w, v: 1 });
const ld = (w: number): Op => ({ op: 'ld', w });

describe('the race detector', () => {
  it('names both steps of a race, and the schedule ends there', () => {
    const p = programOf([[st(0)], [ld(1), ld(0)]]);
    const r = search(p, dpor(), { races: true });
    expect(r.found[0]?.findings).toEqual([
      {
        rule: 'race',
        detail: 'word 0: actor 0 writes it at step 1, actor 1 reads it at step 3, and nothing orders the two',
        holders: ['actor 0', 'actor 1'],
      },
    ]);
    const t = traceOf(p, r.found[0]!.schedule, { races: true });
    expect(t.steps).toHaveLength(3);
    expect(t.found).toEqual(r.found[0]!.findings[0]);
  });

  it.each<[string, Op[][], boolean]>([
    ['write and write', [[st(0)], [st(0)]], true],
    ['read and read', [[ld(0)], [ld(0)]], false],
    ['different words', [[st(0)], [st(1)]], false],
    ['a word inside a range', [[{ op: 'zero', w: 0 }], [ld(1)]], true],
    ['a range beside a word', [[{ op: 'zero', w: 0 }], [ld(2)]], false],
    ['several readers, one of them unordered', [[ld(0)], [ld(0)], [st(0)]], true],
    ['intended ones', [[{ op: 'stOnce', w: 0, v: 1 }], [{ op: 'ldOnce', w: 0 }]], false],
    ['a plain store and an atomic', [[st(0)], [{ op: 'add', w: 0 }]], true],
    ['a plain look at what is stored atomically', [[ld(0)], [{ op: 'stOnce', w: 0, v: 1 }]], true],
    ['a plain look and an atomic one', [[ld(0)], [{ op: 'ldOnce', w: 0 }]], false],
    ['atomics', [[{ op: 'add', w: 0 }], [{ op: 'cas', w: 0, v: 2 }]], false],
    [
      'under one lock',
      [[{ op: 'locked', w: 0, body: [st(0)] }], [{ op: 'locked', w: 0, body: [st(0), ld(0)] }]],
      false,
    ],
    ['under two locks', [[{ op: 'locked', w: 0, body: [st(0)] }], [{ op: 'locked', w: 1, body: [st(0)] }]], true],
    ['one side without its lock', [[{ op: 'locked', w: 0, body: [st(0)] }], [ld(0)]], true],
    [
      'after a try that took the lock',
      [[{ op: 'tried', w: 0, body: [st(0)] }], [{ op: 'locked', w: 0, body: [st(0)] }]],
      false,
    ],
  ])('%s', (_name, ops, expected) => {
    expect(races(ops).length > 0).toBe(expected);
  });

  it('takes a published flag as order when it was seen set, and not when the wait was ended by a request', () => {
    const publish: Op[] = [st(0), { op: 'stOnce', w: 1, v: 1 }];
    const consume: Op[] = [{ op: 'await', w: 1 }, ld(0)];
    expect(races([publish, consume])).toEqual([]);
    expect(races([publish, consume, [{ op: 'request', w: 1 }]])).toHaveLength(1);
  });

  /** Happens-before by reachability over all pairs of steps, the long way round. */
  it('agrees with the definition, over random programs and schedules', () => {
    let racy = 0;
    const SYNC = POINT_ONCE | POINT_ATOMIC | POINT_LOCK | POINT_UNLOCK | POINT_WAIT;
    fc.assert(
      fc.property(smallPrograms, fc.nat(100), (ops, seed) => {
        const p = programOf(ops);
        const r = search(p, randomWalk(seed), { executions: 1, races: true });
        // Locks taken in both orders end an execution too.
        if (r.found[0]?.findings[0]?.rule === 'lock-order') return;
        const schedule = r.found.find((f) => f.findings[0]?.rule === 'race')?.schedule;
        const whole = search(
          programOf(ops, () => 'end'),
          randomWalk(seed),
          { executions: 1 },
        ).found[0]!.schedule;
        const { steps } = traceOf(p, whole);
        const sync = (i: number): boolean => (steps[i]!.kind & SYNC) !== 0;
        const writes = (i: number): boolean => (steps[i]!.kind & POINT_WRITE) !== 0;
        const before = steps.map(() => new Set<number>());
        /** The latest synchronising write of each word. */
        const from = new Map<number, number>();
        for (const [i, s] of steps.entries()) {
          const order = (e: number | undefined): void => {
            if (e !== undefined) for (const x of [...before[e]!, e]) before[i]!.add(x);
          };
          order(
            steps.findLastIndex((x, at) => at < i && x.actor === s.actor) >= 0
              ? steps.findLastIndex((x, at) => at < i && x.actor === s.actor)
              : undefined,
          );
          if (!sync(i)) continue;
          for (let a = s.address; a < s.address + s.words; a++) {
            if ((s.kind & ~(POINT_WRITE | POINT_BLOCKED) & 1) !== 0) order(from.get(a));
            if (writes(i)) from.set(a, i);
          }
        }
        const first = steps.findIndex((s, i) =>
          steps.some(
            (t, k) =>
              k < i &&
              t.actor !== s.actor &&
              !(sync(i) && sync(k)) &&
              (writes(i) || writes(k)) &&
              t.address < s.address + s.words &&
              s.address < t.address + t.words &&
              !before[i]!.has(k),
          ),
        );
        expect(schedule === undefined ? -1 : schedule.picks.length - 1).toBe(first);
        if (first >= 0) racy++;
      }),
      { numRuns: 500, seed: 3 },
    );
    expect(racy).toBeGreaterThan(30);
    expect(A).toBe(1024);
  });
});
