/**
 * Random programs under random schedules: whatever guests do, counts equal holders, nothing is thrown, nobody waits for
 * ever, and when all domains are gone every frame is back.
 */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { controlledEpisode } from '../../src/lab/fuzz/controlled.js';
import { guestsOf, planOf, program, type Program } from './programs.js';

const SEED = 1804;
const outcome = (p: Program) => controlledEpisode(planOf(p), guestsOf(p));

/**
 * What the first vCPU does of it. Not: a multicall, whose list keeps the arguments of an interrupted entry, and a new base,
 * after which the continuation may find its arguments no longer mapped; both are so in Xen.
 */
const alone = (p: Program): Program => ({
  ...p,
  domains: [1],
  steps: [(p.steps[0] ?? []).filter(([kind]) => kind !== 'multicall' && kind !== 'newBase')],
});

describe('random programs of several vCPUs', () => {
  it('leave the hypervisor in order, and most kinds of steps take effect', { timeout: 120_000 }, () => {
    const effects = new Map<string, number>();
    let calls = 0;
    fc.assert(
      fc.property(program(120), (p) => {
        const result = outcome(p);
        expect(result.wrong).toEqual([]);
        calls += result.calls;
        for (const k of result.byKind) effects.set(k.name, (effects.get(k.name) ?? 0) + k.effects);
      }),
      { numRuns: 40, seed: SEED },
    );
    expect(calls).toBeGreaterThan(3_000);
    expect([...effects].filter(([, n]) => n === 0)).toEqual([]);
  });

  it('of one vCPU end the same however often they are preempted', { timeout: 120_000 }, () => {
    let seen = 0;
    fc.assert(
      fc.property(program(100), fc.integer({ min: 1, max: 4 }), (any, quantum) => {
        const p = alone(any);
        const plain = outcome({ ...p, quantum: 0 });
        const preempted = outcome({ ...p, quantum });
        fc.pre(!plain.forgotten && !preempted.forgotten);
        expect(preempted).toEqual({ ...plain, plan: { ...plain.plan, quantum } });
        seen++;
      }),
      { numRuns: 30, seed: SEED },
    );
    expect(seen).toBeGreaterThan(20);
  });

  it('are functions of program and schedule', { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(program(60), (p) => {
        expect(outcome(p)).toEqual(outcome(p));
      }),
      { numRuns: 10, seed: SEED },
    );
  });
});
