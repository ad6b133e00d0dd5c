/** Faults at random, in both builds: counted, judged, the same every time where a seed decides, and found where they harm. */
import { describe, expect, it } from 'vitest';
import { ABOUT, answerWord } from '../../src/fault/about.js';
import { SITES, type SiteName } from '../../src/fault/sites.js';
import { loadCatalog } from '../../src/lab/catalog.js';
import { humanFaults } from '../../src/cli/faults-print.js';
import { faults, type FaultsReport } from '../../src/lab/faults/campaign.js';
import { longPlan } from '../../src/lab/faults/long.js';
import { isEndless, PATIENCE, randomPlan } from '../../src/lab/faults/plan.js';
import { formatFault, parseFault } from '../../src/lab/inject/spec.js';
import { readScenario } from '../../src/lab/scenario-file.js';
import type { SmallBuild } from '../../src/lab/small/job.js';
import type { Scenario } from '../../src/scenario/scenario.js';

const catalog = loadCatalog();
const file = (name: string): Scenario => readScenario(`guests/scenarios/faults/${name}.yaml`, catalog);
const run = (
  s: Scenario,
  designs: string[],
  n: number,
  builds: SmallBuild[],
  seed = 1,
  of = catalog,
): Promise<FaultsReport> =>
  faults([{ ...s, designs }], [], {
    catalog: of,
    faults: n,
    executions: 1_000_000,
    seed,
    builds,
    workers: 1,
    stop: new AbortController().signal,
    onProgress: () => undefined,
  });

describe('a random plan', () => {
  const reached = Object.fromEntries(SITES.map((s, i) => [s, 1 + i * 40])) as Record<SiteName, number>;

  it('is a function of its seed, can be written and read again, and over many seeds reaches every site', () => {
    const met = new Set<SiteName>();
    for (let seed = 0; seed < 600; seed++) {
      const plan = randomPlan(seed, reached);
      expect(randomPlan(seed, reached)).toEqual(plan);
      expect(plan.length).toBeGreaterThan(0);
      for (const f of [...plan, ...longPlan(seed)]) {
        expect(parseFault(formatFault(f))).toEqual(f);
        expect(answerWord(f.site, f.status)).toBeDefined();
      }
      for (const { site } of plan) met.add(site);
    }
    expect(met.size).toBe(SITES.length);
  });

  it('refuses what a guest asks for again as often as it bears, and now and then for good', () => {
    const rules = Array.from({ length: 600 }, (_, seed) => randomPlan(seed, reached)).flat();
    const of = (site: SiteName) => rules.filter((f) => f.site === site);
    expect(new Set(of('mmuext.unpin').map((f) => f.times))).toEqual(new Set([PATIENCE]));
    expect(new Set(of('gnttab.unmap').map((f) => f.times))).toEqual(new Set([PATIENCE, undefined]));
    expect(of('gnttab.unmap').some(isEndless)).toBe(true);
    expect(new Set(of('gnttab.map').map((f) => f.status))).toEqual(new Set(ABOUT['gnttab.map'].answers));
  });
});

describe('a campaign of faults', () => {
  it('injects as many as asked for in both builds, and designs that cope do', async () => {
    const r = await run(file('exit'), ['notifier-split'], 600, ['controlled', 'parallel']);
    expect(r).toMatchObject({ complete: true, unexpected: 0 });
    expect(r.rows.map((x) => [x.build, x.lost, x.injected >= 300])).toEqual([
      ['controlled', '', true],
      ['parallel', '', true],
    ]);
    expect(r.takenDown).toBeGreaterThan(2);
    expect(r.sites.controlled['hypercall.preempt']).toBeGreaterThan(0);
    expect(r.unreached).toContain('gnttab.copy');
    expect(humanFaults(r, 1, 1000)).toMatch(/no lost frame, no lost grant, no hang/);
  });

  it('is the same every time in the controlled build', async () => {
    const r = await run(file('held'), ['private-page'], 150, ['controlled']);
    expect(await run(file('held'), ['private-page'], 150, ['controlled'])).toEqual(r);
  });

  it('finds what a design does wrong under a refusal, and says how to see it again', async () => {
    // As if nobody knew that it is wrong.
    const naive = { ...catalog, designs: catalog.designs.map((d) => ({ ...d, buggy: false })) };
    const busy = file('busy');
    const only = { default: busy.sweep.expect['default'] ?? {} };
    const s = { ...busy, sweep: { expect: only, persistent: only } };
    const r = await run(s, ['notifier-split-free-buggy'], 900, ['controlled'], 1, naive);
    expect(r.unexpected).toBeGreaterThan(0);
    const [failure] = r.rows[0]?.failures ?? [];
    expect(failure?.outcome).toBe('corrupted');
    expect(failure?.faults.join()).toContain('gnttab.unmap');
    expect(humanFaults(r, 1, 1000)).toContain(`--seed ${String(failure?.seed ?? -1)} --executions 1`);
    const again = await faults([{ ...s, designs: ['notifier-split-free-buggy'] }], [], {
      ...{
        catalog: naive,
        faults: 1_000_000,
        executions: 1,
        seed: failure?.seed ?? 0,
        builds: ['controlled'],
        workers: 1,
      },
      stop: new AbortController().signal,
      onProgress: () => undefined,
    });
    expect(again.rows[0]?.failures).toEqual([failure]);
  });
});
