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
      { numRuns: 60, seed: SEED },
    );
    expect(calls).toBeGreaterThan(5_000);
    expect([...effects].filter(([, n]) => n === 0)).toEqual([]);
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
