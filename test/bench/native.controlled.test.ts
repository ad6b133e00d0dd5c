/** The native benches as a command: rows in JSON, equal checksums or an error, bad flags refused. Children of both builds. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const script = fileURLToPath(new URL('../../bench/run.mjs', import.meta.url));
const run = (...args: string[]) => spawnSync(process.execPath, [script, ...args], { encoding: 'utf8' });

test('--json has a row per operation', { timeout: 120_000 }, () => {
  const r = run('count present', 'step, no switch', '--json');
  expect(r.status).toBe(0);
  const { rounds, rows } = JSON.parse(r.stdout) as { rounds: number; rows: Record<string, unknown>[] };
  expect(rounds).toBeGreaterThanOrEqual(9);
  expect(rows.map((x) => x['operation'])).toEqual(['count present', 'controlled: step, no switch']);
  for (const row of rows)
    expect(Object.keys(row)).toEqual(expect.arrayContaining(['oursNs', 'nativeNs', 'ratio', 'goal', 'met']));
  const [native, step] = rows;
  expect(step).toMatchObject({ nativeNs: null, ratio: null, goal: 200 });
  expect(step?.['oursNs']).toBeGreaterThan(1);
  // Without a compiler the row says so instead.
  if (native?.['verdict'] === 'no gcc: skipped') expect(native).toMatchObject({ oursNs: null, met: null });
  else expect(native?.['ratio']).toBeGreaterThan(0.1);
});

test.each([[['--rounds', '3']], [['--what']]])('%j is refused', (args) => {
  const r = run(...args);
  expect(r.status).toBe(2);
  expect(r.stderr).toContain('npm run bench:native');
});
