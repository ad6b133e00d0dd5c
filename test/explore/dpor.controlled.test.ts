/** The reducing strategies against plain enumeration: the same outcomes and classes, fewer executions. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bpor } from '../../src/explore/bpor.js';
import { dpor } from '../../src/explore/dpor.js';
import { exhaustive } from '../../src/explore/exhaustive.js';
import { search, type Report } from '../../src/explore/search.js';
import type { Strategy } from '../../src/explore/strategy.js';
import { programOf, smallPrograms, type Op } from './programs.js';

const RUNS = Number(process.env['XENOLITH_PROPERTY_RUNS'] ?? '120');
/** Programs with more schedules than this are left out. */
const MOST = 5000;

const everything = (ops: Op[][], s: Strategy, executions = Infinity): [Report, Set<string>] => {
  const p = programOf(ops);
  return [search(p, s, { failures: Infinity, executions, classes: true }), p.outcomes];
};

describe('partial-order reduction', () => {
  it('finds the outcomes of plain enumeration, over random programs, in fewer executions', () => {
    let plain = 0;
    let reduced = 0;
    let compared = 0;
    fc.assert(
      fc.property(smallPrograms, (ops) => {
        const [all, outcomes] = everything(ops, exhaustive(), MOST);
        if (!all.exhausted) return;
        const [few, found] = everything(ops, dpor());
        expect(found).toEqual(outcomes);
        expect(few.exhausted).toBe(true);
        expect(few.executions).toBeLessThanOrEqual(all.executions);
        expect(few.classes).toBe(all.classes);
        compared++;
        plain += all.executions;
        reduced += few.executions;
      }),
      { numRuns: RUNS, seed: Number(process.env['XENOLITH_SEED'] ?? 1) },
    );
    expect(compared).toBeGreaterThan(RUNS / 4);
    expect(plain / reduced).toBeGreaterThan(4);
  });
});

const w = (n: number): { w: number } => ({ w: n });
const st = (n: number): Op => ({ op: 'stOnce', ...w(n), v: 1 });
const see = (n: number): Op => ({ op: 'ldOnce', ...w(n) });
const request: Op = { op: 'request', ...w(1) };
const held: Op = { op: 'locked', ...w(0), body: [] };

describe('programs of sleepers: reduction finds all outcomes of', () => {
  it.each<[string, Op[][]]>([
    [
      'a wait that a store or a request ends, and a look after it',
      [[st(3), st(2)], [{ op: 'await', ...w(3) }, see(3)], [request]],
    ],
    [
      'a wait that two stores end',
      [[st(3)], [{ op: 'await', ...w(3) }, see(2)], [{ op: 'stOnce', ...w(3), v: 2 }, st(2)]],
    ],
    [
      'a wait for requests, looked at',
      [[see(0), { op: 'seeRequests', ...w(1) }], [{ op: 'awaitRequest', ...w(3) }], [request, st(0)]],
    ],
    [
      'three who want a lock, one of them looked at',
      [[held], [held, st(1)], [{ op: 'seeRequests', ...w(1) }, held, see(1)]],
    ],
    ['a request to one who waits for a lock', [[held, see(2)], [held], [request, st(2)]]],
    [
      'locks in two orders',
      [
        [{ op: 'locked', ...w(0), body: [{ op: 'locked', ...w(1), body: [st(0)] }] }],
        [{ op: 'locked', ...w(1), body: [{ op: 'locked', ...w(0), body: [see(0)] }] }],
        [{ op: 'tried', ...w(1), body: [see(0)] }],
      ],
    ],
  ])('%s', (_name, ops) => {
    for (const order of [ops, [ops[2]!, ops[1]!, ops[0]!], [ops[1]!, ops[0]!, ops[2]!]]) {
      const [all, outcomes] = everything(order, exhaustive());
      const [few, found] = everything(order, dpor());
      expect(found).toEqual(outcomes);
      expect(few.classes).toBe(all.classes);
      expect(few.executions).toBeLessThan(all.executions);
      const [bounded, within] = everything(order, exhaustive(2));
      for (const oneOf of [1, 8]) {
        const [, reduced] = everything(order, bpor(2, oneOf));
        expect(reduced).toEqual(within);
      }
      expect(bounded.exhausted).toBe(true);
    }
  });
});

describe.each([0, 1, 2, 3])('bounded reduction with %i preemptions', (k) => {
  it('finds the outcomes of plain enumeration under that bound, over random programs', () => {
    let plain = 0;
    let reduced = 0;
    let behind = 0;
    fc.assert(
      fc.property(smallPrograms, (ops) => {
        const [all, outcomes] = everything(ops, exhaustive(k), MOST);
        if (!all.exhausted) return;
        // With every node kept, as many as can be are found to be behind; a search keeps one of eight.
        const [few, found] = everything(ops, bpor(k, 1));
        for (const o of outcomes) expect(found).toContain(o);
        expect(found.size).toBe(outcomes.size);
        expect(everything(ops, bpor(k))[1]).toEqual(found);
        plain += all.executions;
        reduced += few.executions;
        behind += few.abandoned;
      }),
      { numRuns: RUNS, seed: Number(process.env['XENOLITH_SEED'] ?? 1) },
    );
    if (k > 0) expect(plain / reduced).toBeGreaterThan(1.5);
    if (k > 1) expect(behind).toBeGreaterThan(RUNS / 4);
  });
});

describe('the program that loom was measured with', () => {
  const ops = (first: number, second: number): Op[] =>
    Array.from({ length: 10 }, (_, i) => ({ op: 'stOnce', w: i % 2 === 0 ? first : second, v: i }));

  it('has 184,756 interleavings in 8,953 classes, each of which the reduction runs once', () => {
    const program = [ops(0, 1), ops(1, 0)];
    expect(search(programOf(program), exhaustive())).toMatchObject({ executions: 184_756, exhausted: true });
    expect(search(programOf(program), dpor(), { classes: true })).toMatchObject({
      executions: 8953,
      abandoned: 0,
      classes: 8953,
      exhausted: true,
    });
  });
});
