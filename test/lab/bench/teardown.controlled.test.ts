/** The benchmark as a whole, threads and all. In one project only: the threads are the same. */
import { describe, expect, test } from 'vitest';
import { parseShare, pointsOf, type Share } from '../../../src/lab/bench/plan.js';
import { benchTeardown, type TeardownOptions, type TeardownReport } from '../../../src/lab/bench/teardown.js';

const share = (text: string): Share => parseShare(text)!;

async function bench(o: Partial<TeardownOptions>): Promise<TeardownReport> {
  return await benchTeardown({
    designs: ['notifier-async'],
    points: pointsOf({ pages: [64], grants: [share('0')], vcpus: [1], threads: [1], lazy: 0 }),
    restore: 'balloon',
    rounds: () => 5,
    bystanderRounds: () => 0,
    stop: new AbortController().signal,
    onProgress: () => undefined,
    ...o,
  });
}

describe('a report', () => {
  test('has each design at each point, timed, also one that leaks', async () => {
    const points = pointsOf({ pages: [64], grants: [share('0'), share('25%')], vcpus: [1], threads: [1], lazy: 0 });
    const r = await bench({ designs: ['early-unpin', 'zap-pte'], points });
    expect(r.complete).toBe(true);
    expect(r.points.map((p) => p.point.grants)).toEqual([0, 16]);
    const [without, granted] = r.points.map((p) => p.designs);
    expect(granted?.map((d) => [d.design, d.failed, d.leaked, d.time?.rounds])).toEqual([
      ['early-unpin', '', 16, 5],
      ['zap-pte', '', 0, 5],
    ]);
    expect(without?.every((d) => d.time !== null && d.time.medianNs > 1000)).toBe(true);
  });

  test('with threads, lazy vCPUs and a bystander that reads', async () => {
    const points = pointsOf({ pages: [64], grants: [share('8')], vcpus: [4], threads: [2], lazy: 1 });
    const [point] = (await bench({ points, bystanderRounds: () => 3 })).points;
    const [d] = point?.designs ?? [];
    expect(d).toMatchObject({ failed: '', time: { rounds: 5 } });
    expect(d?.counted['ipis']).toBeGreaterThan(0);
    expect(d?.bystander?.quietChunks).toBeGreaterThan(0);
    expect(d?.bystander?.quietNs).toBeGreaterThan(0);
  });

  test('says what a kernel page behind a grant costs when it gets its frame back', async () => {
    const points = pointsOf({ pages: [64], grants: [share('50%')], vcpus: [1], threads: [1], lazy: 0 });
    const calls = async (restore: 'balloon' | 'remap' | 'replace'): Promise<number> =>
      (await bench({ points, restore, rounds: () => 1 })).points[0]?.designs[0]?.counted['hypercalls'] ?? 0;
    const [balloon, remap, replace] = [await calls('balloon'), await calls('remap'), await calls('replace')];
    expect(remap).toBe(balloon + 32);
    expect(replace).toBe(balloon + 32);
  });

  test('is cut short by an interruption, and says so', async () => {
    const stop = new AbortController();
    const points = pointsOf({ pages: [64, 65], grants: [share('0')], vcpus: [1], threads: [1], lazy: 0 });
    const onProgress = (text: string): void => {
      if (text.startsWith('65')) stop.abort();
    };
    const r = await bench({ points, stop: stop.signal, onProgress });
    expect(r.complete).toBe(false);
    expect(r.points.map((p) => p.point.pages)).toEqual([64]);
  });
});
