/** A failure is reported at its line and column of the source, in both projects of the real configuration. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from '../../build/files.mjs';

const FIXTURE = 'test/build/fixtures/failing.test.ts';

test('both projects run a test once and name the place where it failed', () => {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/build/fixtures/vitest.config.ts'],
    { cwd: ROOT, encoding: 'utf8', timeout: 60_000, env: { ...process.env, NO_COLOR: '1', CI: '1' } },
  );
  const out = stdout + stderr;
  const lines = readFileSync(join(ROOT, FIXTURE), 'utf8').split('\n');
  const line = lines.findIndex((l) => l.includes('.toBe('));
  const column = (lines[line] ?? '').indexOf('toBe');
  expect(status).toBe(1);
  expect(out).toContain('AssertionError: controlled: expected 4 to be 1');
  expect(out).toContain('AssertionError: parallel: expected 4 to be 1');
  expect(out).toMatch(/Tests\s+2 failed \(2\)/);
  expect(out.split(`❯ ${FIXTURE}:${String(line + 1)}:${String(column + 1)}`)).toHaveLength(3);
});
