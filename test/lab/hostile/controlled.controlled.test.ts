/** Hostile guests beside normal ones under schedules: nobody notices, the seed decides everything, and what breaks is seen. */
import { describe, expect, test } from 'vitest';
import { fileURLToPath } from 'node:url';
import { loadCatalog } from '../../../src/lab/catalog.js';
import { runControlled } from '../../../src/lab/hostile/controlled-thread.js';
import type { ControlledResult } from '../../../src/lab/hostile/controlled.js';
import { hostileSummary } from '../../../src/lab/hostile/summary.js';
import { readScenario } from '../../../src/lab/scenario-file.js';
import { verdictOf } from '../../../src/lab/run/verdict.js';
import type { Scenario } from '../../../src/scenario/scenario.js';

const file = fileURLToPath(new URL('../../../guests/scenarios/hostile.yaml', import.meta.url));
const shipped = readScenario(file, loadCatalog());
const never = new AbortController().signal;

async function run(seed: number, design: string, twin: Scenario['hypervisor']['twin'] = ''): Promise<ControlledResult> {
  const { name, domains, checks } = shipped;
  const hypervisor = { ...shipped.hypervisor, twin };
  const extent = { kind: 'rounds', rounds: 1 } as const;
  const job = { plan: { scenario: { name, seed, hypervisor, domains, extent }, design }, checks, seed };
  const r = await runControlled(job, shipped.memoryMib, never);
  if (r === undefined) throw new Error('it was interrupted');
  return r;
}

describe('beside a hostile guest, under schedules', () => {
  test.each([
    ['zap-pte', 1],
    ['private-page', 3],
    ['notifier-async', 4],
  ])('%s: the others do their work and keep everything (seed %i)', async (design, seed) => {
    const r = await run(seed, design);
    expect({ why: r.notes, found: r.violations, verdict: verdictOf(r, {}) }).toEqual({
      why: [],
      found: [],
      verdict: 'clean',
    });
    const h = hostileSummary(r.counters);
    expect(h?.reached).toBeGreaterThan(0);
    expect(h?.met).toBeGreaterThan(0);
    expect(Object.keys(h?.rounds ?? {}).sort()).toEqual(['dom0', 'front', 'other']);
  });

  test('a hypervisor that changes entries without the page lock is noticed', async () => {
    const found: string[] = [];
    for (const seed of [8, 1, 5, 6]) {
      const r = await run(seed, 'zap-pte', 'pte-unlocked');
      found.push(...r.violations.map((v) => v.invariant), ...r.notes);
      if (found.length > 0) break;
    }
    expect(found).not.toEqual([]);
  });

  test('the same seed leaves the same trace, another one another', async () => {
    const [a, b, c] = [await run(3, 'zap-pte'), await run(3, 'zap-pte'), await run(4, 'zap-pte')];
    expect(b.trace).toBe(a.trace);
    expect(b.counters).toEqual(a.counters);
    expect(c.trace).not.toBe(a.trace);
  });
});
