import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { DESIGN_STEP } from '../../src/abi/design-step.js';
import { GNTST_eagain, GNTST_general_error } from '../../src/abi/grant.js';
import { ABOUT, answerWord } from '../../src/fault/about.js';
import {
  faultAdd,
  faultCounts,
  faultHit,
  faultInit,
  faultPlan,
  FAULT_WORDS,
  MAX_RULES,
  ruleCounts,
  type FaultRule,
} from '../../src/fault/plan.js';
import { SITE, SITES } from '../../src/fault/sites.js';
import { words } from '../../src/ops/memory.js';
import { actor, cpuAt, REQ_FAULT } from '../../src/sync/actor.js';
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
    ['once three have passed', { status: -1, space: 3 }, [4, 5, 6, 7, 8]],
    ['every second once two have passed', { status: -1, space: 2, interval: 2 }, [6, 8]],
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
    const rule = faultAdd('mmuext.unpin', { status: -22, actors: [2, 33, 64], nth: 2 });
    const hit = (i: number): number => faultHit(cpuAt(i), SITE['mmuext.unpin']);
    expect([1, 0, 32, 63].map(hit)).toEqual([0, 0, 0, 0]);
    expect([2, 33, 64].map(hit)).toEqual([0, -22, 0]);
    expect(ruleCounts(rule)).toEqual({ seen: 3, hits: 1 });
    expect(faultCounts('mmuext.unpin')).toEqual({ seen: 7, hits: 1 });
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
    for (const name of SITES) faultPlan(name, { status: -1 - SITE[name], actors: [0, 64] });
    for (const name of SITES) expect(faultHit(cpuAt(64), SITE[name])).toBe(-1 - SITE[name]);
    for (let i = SITES.length; i < MAX_RULES; i++) faultAdd('page.alloc', { status: -99, frames: [-1, -1] });
    expect(() => faultAdd('page.alloc', { status: -1 })).toThrow(/too many/);
    expect(words.subarray(BASE + FAULT_WORDS, BASE + FAULT_WORDS + 16).every((w) => w === 3)).toBe(true);
  });

  it('concerns the step, the reference, the handle and the frames named only', () => {
    faultInit(BASE);
    const hit = (ref: number, handle: number, frame: number): number => faultHit(CPU, UNMAP, ref, handle, frame);
    faultPlan('gnttab.unmap', { status: -1, ref: 9 });
    expect([hit(9, 1, 1), hit(8, 9, 9), faultHit(CPU, UNMAP)]).toEqual([-1, 0, 0]);
    faultPlan('gnttab.unmap', { status: -1, handle: 0, nth: 2 });
    expect([hit(9, 0, 1), hit(9, 1, 1), hit(9, 0, 1)]).toEqual([0, 0, -1]);
    faultPlan('gnttab.unmap', { status: -1, frames: [5, 7] });
    expect([4, 5, 7, 8].map((f) => hit(0, 0, f))).toEqual([0, -1, -1, 0]);
    faultPlan('gnttab.unmap', { status: -1, steps: [DESIGN_STEP.zap, DESIGN_STEP.release] });
    expect(hit(0, 0, 0)).toBe(0);
    words[actor.step(CPU)] = DESIGN_STEP.zap;
    expect(hit(0, 0, 0)).toBe(-1);
  });

  it('may have several rules for a site: the first that says so decides', () => {
    faultInit(BASE);
    const a = faultAdd('gnttab.unmap', { status: -1, nth: 2 });
    const b = faultAdd('gnttab.unmap', { status: -2, nth: 3 });
    expect([1, 2, 3, 4].map(() => faultHit(CPU, UNMAP))).toEqual([0, -1, 0, -2]);
    expect([ruleCounts(a), ruleCounts(b)]).toEqual([
      { seen: 4, hits: 1 },
      { seen: 3, hits: 1 },
    ]);
  });

  it('counts every occurrence of a site, rule or not, and has vCPUs look at guest accesses only for what happens there', () => {
    faultInit(BASE);
    expect(faultHit(CPU, SITE['event.lost'])).toBe(0);
    expect(faultCounts('event.lost')).toEqual({ seen: 1, hits: 0 });
    faultPlan('gnttab.unmap', { status: -1 });
    expect((words[actor.request(CPU)] as number) & REQ_FAULT).toBe(0);
    faultPlan('vcpu.dead', { status: 1, nth: 5 });
    expect((words[actor.request(CPU)] as number) & REQ_FAULT).toBe(REQ_FAULT);
    faultPlan('vcpu.dead', null);
    expect((words[actor.request(CPU)] as number) & REQ_FAULT).toBe(0);
  });
});

describe('answers', () => {
  it('have the words that the real operation has, the first being the default', () => {
    expect(answerWord('gnttab.unmap')).toBe(GNTST_general_error);
    expect(answerWord('gnttab.unmap', 'eagain')).toBe(GNTST_eagain);
    expect(answerWord('mmuext.unpin', 'EINVAL')).toBe(-22);
    expect(answerWord('flush.late', '12')).toBe(12);
    expect(answerWord('event.lost')).toBe(1);
    for (const name of SITES) {
      for (const answer of ABOUT[name].answers) expect(answerWord(name, answer)).not.toBe(0);
      expect(answerWord(name)).toEqual(expect.any(Number));
    }
  });

  it('of another operation, or that no operation has, are refused', () => {
    expect(answerWord('gnttab.unmap', 'EINVAL')).toBeUndefined();
    expect(answerWord('gnttab.transfer', 'general_error')).toBeUndefined();
    expect(answerWord('mmuext.unpin', '-22')).toBeUndefined();
    expect(answerWord('flush.late', '0')).toBeUndefined();
    expect(answerWord('event.lost', 'okay')).toBeUndefined();
  });
});
