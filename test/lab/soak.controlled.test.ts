/** The soak's loop over child processes. In one project only: the children are the same. */
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { soak, type SoakRun } from '../../src/lab/soak.js';

const script = fileURLToPath(new URL('fake-run.mjs', import.meta.url));
const run = async (
  files: string[],
  minutes: number,
  boundSeconds = 30,
  stop = new AbortController(),
): Promise<SoakRun[]> => {
  const seen: SoakRun[] = [];
  const runs = await soak({
    script,
    files,
    minutes,
    firstSeed: 7,
    boundSeconds,
    stop: stop.signal,
    onRun: (r) => seen.push(r),
  });
  expect(seen).toEqual(runs);
  return runs;
};

test('every file runs at least once, with a seed of its own', { timeout: 30_000 }, async () => {
  const runs = await run(['good', 'odd'], 0);
  expect(runs.map((r) => [r.file, r.seed, r.code, r.hypercalls, r.unexpected])).toEqual([
    ['good', 7, 0, 10, []],
    ['odd', 8, 1, 10, ['zap-pte broken']],
  ]);
});

test('it goes round until the time is up', { timeout: 30_000 }, async () => {
  const began = performance.now();
  const runs = await run(['good'], 0.05);
  expect(runs.length).toBeGreaterThan(1);
  expect(performance.now() - began).toBeGreaterThan(3000);
});

test('a run that hangs is killed after its bound and counted, and the next one runs', { timeout: 30_000 }, async () => {
  const runs = await run(['hang', 'good'], 0, 1);
  expect(runs.map((r) => [r.file, r.hung, r.code])).toEqual([
    ['hang', true, null],
    ['good', false, 0],
  ]);
});

test('a run that crashes is told by its code', { timeout: 30_000 }, async () => {
  expect((await run(['crash'], 0)).map((r) => [r.code, r.designs])).toEqual([[3, 0]]);
});

test('an interruption ends the run under way and the soak', { timeout: 30_000 }, async () => {
  const stop = new AbortController();
  setTimeout(() => {
    stop.abort();
  }, 500);
  const runs = await run(['hang', 'good'], 10, 30, stop);
  expect(runs.map((r) => [r.file, r.hung, r.code])).toEqual([['hang', false, null]]);
});
