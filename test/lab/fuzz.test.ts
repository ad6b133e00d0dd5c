/** The fuzzer: campaigns in this project's build, on threads of their own; and that it sees what is broken. */
import { describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { fuzz } from '../../src/lab/fuzz/campaign.js';
import { fuzzText } from '../../src/lab/fuzz/report.js';
import { BUILD } from '../../src/sync/primitives.js';

const build = BUILD as 'controlled' | 'parallel';

describe('a campaign', () => {
  it(
    'of thousands of calls breaks nothing, and every kind of step has had an effect',
    { timeout: 300_000 },
    async () => {
      const report = await fuzz({ build, calls: 25_000, seed: 20_000 });
      expect(report.failure).toBeUndefined();
      expect(report.complete).toBe(true);
      expect(report.calls).toBeGreaterThanOrEqual(25_000);
      expect(report.kinds.filter((k) => k.effects === 0).map((k) => k.name)).toEqual([]);
      expect(report.overlaps).toBeGreaterThan(100);
      expect(fuzzText(report)).toContain('no invariant broken');
    },
  );

  it('that is interrupted says where to go on', async () => {
    const stop = new AbortController();
    const report = await fuzz({
      build,
      calls: 1_000_000,
      seed: 7,
      stop: stop.signal,
      onProgress: () => {
        stop.abort();
      },
    });
    expect(report).toMatchObject({ complete: false, failure: undefined, seed: 7 });
    expect(report.nextSeed).toBeLessThan(20);
    expect(fuzzText(report)).toContain(`--seed ${String(report.nextSeed)} goes on`);
  });

  it('of one vCPU leaves the same machine in both builds', { timeout: 120_000 }, async () => {
    const digests = async (which: 'controlled' | 'parallel'): Promise<string[]> => {
      const all: string[] = [];
      const options = { build: which, calls: 8000, seed: 300, vcpus: 1, churns: false };
      await fuzz({
        ...options,
        onProgress: (_, last) => {
          all.push([last.plan.seed, last.calls, last.digest].map(String).join(' '));
        },
      });
      return all;
    };
    const ours = await digests('controlled');
    expect(ours.length).toBeGreaterThan(8);
    expect(new Set(ours).size).toBe(ours.length);
    expect(await digests('parallel')).toEqual(ours);
  });
});
