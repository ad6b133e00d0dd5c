/** Hostile guests beside normal ones on threads: nobody notices, and a run in which nobody was reached is not called clean. */
import { describe, expect, test } from 'vitest';
import { fileURLToPath } from 'node:url';
import { HOSTILE_GROUPS } from '../../../src/abi/hostile.js';
import { loadCatalog } from '../../../src/lab/catalog.js';
import { hostileCampaign, type HostileReport } from '../../../src/lab/hostile/campaign.js';
import { DEFAULT_BOUNDS } from '../../../src/lab/run/design-run.js';
import { runScenario } from '../../../src/lab/run/scenario-run.js';
import { readScenario } from '../../../src/lab/scenario-file.js';
import type { Scenario } from '../../../src/scenario/scenario.js';

const catalog = loadCatalog();
const file = fileURLToPath(new URL('../../../guests/scenarios/hostile.yaml', import.meta.url));
const shipped: Scenario = { ...readScenario(file, catalog), require: {} };
const stop = new AbortController().signal;

describe('beside a hostile guest, on threads', () => {
  test('the others do their work, and everything is back in the end', async () => {
    const s = { ...shipped, designs: ['zap-pte', 'notifier-split'] };
    const report: HostileReport = await hostileCampaign(s, {
      catalog,
      builds: ['parallel'],
      minutes: 0,
      seconds: 3,
      rounds: 1,
      seed: 11,
      bounds: DEFAULT_BOUNDS,
      stop,
      onRun: () => undefined,
    });
    expect(report.failure).toBeUndefined();
    expect(report).toMatchObject({ runs: 2, notExercised: 0, complete: true });
    expect(report.hostile?.calls).toBeGreaterThan(100);
    expect(report.hostile?.reached).toBeGreaterThan(0);
    expect(Object.keys(report.hostile?.rounds ?? {}).sort()).toEqual(['dom0', 'front', 'other']);
  });

  test('one that only looks at its own memory reaches nobody, and the run is not exercised', async () => {
    const mix = Object.fromEntries(HOSTILE_GROUPS.map((g) => [g, g === 'accesses' ? 10 : 0]));
    const domains = shipped.domains.map((d) =>
      d.hostile === undefined ? d : { ...d, hostile: { ...d.hostile, mix: mix as typeof d.hostile.mix } },
    );
    const extent = { kind: 'seconds', seconds: 1 } as const;
    const report = await runScenario({ ...shipped, domains, extent, designs: ['zap-pte'] }, { catalog, stop });
    const d = report.designs[0];
    expect(d?.violations).toEqual([]);
    expect(d?.verdict).toBe('not exercised');
    expect(d?.notes).toContain('the hostile guest reached nobody');
  });
});
