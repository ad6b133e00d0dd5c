/** The large machine with few processes: it boots, runs, is found clean and gives everything back. The child is one build's. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const script = fileURLToPath(new URL('../../bench/scale.mjs', import.meta.url));

test('4 GiB, 64 vCPUs, 39 domains: grants mapped, audited, all frames back', { timeout: 120_000 }, () => {
  const r = spawnSync(process.execPath, [script, '400', '--audit'], { encoding: 'utf8' });
  expect(r.stderr.replace(/^npm .*$/gm, '').trim()).toBe('');
  expect(r.status).toBe(0);
  expect(r.stdout).toContain('39 domains with 64 vCPUs on 4,096 MiB');
  expect(r.stdout).toMatch(/400 +40,000/);
  expect(r.stdout).toMatch(/audited at the peak in .*: clean/);
  expect(r.stdout).toContain('frames not back: 0;');
});
