import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { faultCounts, faultHit, faultInit, faultPlan, FAULT_WORDS, type FaultRule } from '../../src/fault/plan.js';
import { SITE, SITES } from '../../src/fault/sites.js';
import { words } from '../../src/ops/memory.js';
import { cpuAt } from '../../src/sync/actor.js';
import { decodeTrace } from '../../src/trace/decode.js';
import { EVENT } from '../../src/trace/events.js';
import { traceStart } from '../../src/trace/ring.js';

const BASE = 4096;
const CPU = cpuAt(1);
const UNMAP = SITE['gnttab.unmap'];

/** Which of `n` occurrences fail, from 1. */
function failures(rule: FaultRule, n: number): number[] {
  faultPlan('gnttab.unmap', rule);
  return Array.from({ length: n }, (_, i) => i + 1).filter(() => faultHit(CPU, UNMAP) !== 0);
}

beforeEach(() => {
  words.fill(0);
});

describe('a fault plan', () => {
  it('fails nothing before there is a table, and where there is no rule', () => {
    expect(faultHit(CPU, UNMAP)).toBe(0);
    faultInit(BASE);
    for (const name of SITES) expect(faultHit(CPU, SITE[name])).toBe(0);
    faultPlan('page.alloc', { status: -12 });
    expect(faultHit(CPU, UNMAP)).toBe(0);
    expect(faultHit(CPU, SITE['page.alloc'])).toBe(-12);
    faultPlan('page.alloc', null);
    expect(faultHit(CPU, SITE['page.alloc'])).toBe(0);
  });

  it.each<[string, FaultRule, number[]]>([
    ['every time', { status: -1 }, [1, 2, 3, 4, 5, 6, 7, 8]],
    ['the third time', { status: -1, nth: 3 }, [3]],
    ['twice', { status: -1, times: 2 }, [1, 2]],
    ['every third time', { status: -1, interval: 3 }, [3, 6]],
    ['after four', { status: -1, after: 4 }, [5, 6, 7, 8]],
    ['every second after three, once', { status: -1, after: 3, interval: 2, times: 1 }, [5]],
    ['never, by chance', { status: -1, probability: 0 }, []],
    ['surely, by chance', { status: -1, probability: 1, seed: 9 }, [1, 2, 3, 4, 5, 6, 7, 8]],
  ])('fails %s', (_what, rule, expected) => {
    faultInit(BASE);
    expect(failures(rule, 8)).toEqual(expected);
    expect(faultCounts('gnttab.unmap')).toEqual({ seen: 8, hits: expected.length });
  });

  it('with the nth occurrence beyond the last still counts them, so that a sweep knows when to end', () => {
    faultInit(BASE);
    let n = 0;
    do n++;
    while (failures({ status: -1, nth: n }, 5).length > 0);
    expect(n).toBe(6);
    expect(faultCounts('gnttab.unmap').seen).toBe(5);
  });

  it('fails about as often as its probability says, and the same way for the same seed', () => {
    faultInit(BASE);
    fc.assert(
      fc.property(fc.integer(), fc.constantFrom(0.1, 0.5, 0.9), (seed, probability) => {
        const some = failures({ status: -1, probability, seed }, 2000);
        expect(Math.abs(some.length / 2000 - probability)).toBeLessThan(0.06);
        expect(failures({ status: -1, probability, seed }, 2000)).toEqual(some);
        expect(failures({ status: -1, probability, seed: seed ^ 1 }, 2000)).not.toEqual(some);
      }),
      { numRuns: 30 },
    );
  });

  it('concerns the actors named only, and counts no others', () => {
    faultInit(BASE);
    faultPlan('mmuext.unpin', { status: -22, actors: [2, 33, 64], nth: 2 });
    const hit = (i: number): number => faultHit(cpuAt(i), SITE['mmuext.unpin']);
    expect([1, 0, 32, 63].map(hit)).toEqual([0, 0, 0, 0]);
    expect([2, 33, 64].map(hit)).toEqual([0, -22, 0]);
    expect(faultCounts('mmuext.unpin')).toEqual({ seen: 3, hits: 1 });
  });

  it('shows each injected fault in the trace', () => {
    faultInit(BASE);
    traceStart(BASE + FAULT_WORDS, [CPU], 16);
    failures({ status: -7, nth: 2 }, 4);
    expect(decodeTrace([CPU]).entries).toMatchObject([{ event: EVENT.faultInjected, a: UNMAP, b: -7 }]);
  });

  it('refuses a status that means success, and a plan without a table', () => {
    expect(() => {
      faultPlan('gnttab.unmap', { status: -1 });
    }).toThrow(/no table/);
    faultInit(BASE);
    expect(() => {
      faultPlan('gnttab.unmap', { status: 0 });
    }).toThrow(/must fail/);
  });

  it('numbers its sites densely and keeps each in its line', () => {
    expect(SITES.map((name) => SITE[name])).toEqual(SITES.map((_, i) => i));
    faultInit(BASE);
    words.fill(3, BASE + FAULT_WORDS, BASE + FAULT_WORDS + 16);
    for (const name of SITES) faultPlan(name, { status: -1, actors: [0, 64] });
    for (const name of SITES) expect(faultHit(cpuAt(64), SITE[name])).toBe(-1);
    expect(words.subarray(BASE + FAULT_WORDS, BASE + FAULT_WORDS + 16).every((w) => w === 3)).toBe(true);
  });
});
