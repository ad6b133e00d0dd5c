/**
 * Explores every small scenario under every design, one after the other: each must do as it says. Then the twins of the
 * hypervisor, each found, and the right hypervisor to the end of the same searches. Options go to `xenolith explore`.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SMALL = join(ROOT, 'guests/scenarios/small');
const CLI = join(ROOT, 'dist/parallel/src/cli/main.js');

/** @param {string[]} args */
const run = (args) => spawnSync(process.execPath, args, { cwd: ROOT, stdio: 'inherit' });

const failed = [];
for (const file of readdirSync(SMALL)
  .filter((f) => f.endsWith('.yaml'))
  .sort()) {
  const { status, signal } = run(['--enable-source-maps', CLI, 'explore', join(SMALL, file), ...process.argv.slice(2)]);
  if (signal !== null) process.exit(130);
  if (status !== 0) failed.push(file);
}
const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
if (run([vitest, 'run', '--project', 'controlled', '--mode', 'exhaustive', 'test/twins']).status !== 0) {
  failed.push('twins');
}
console.log(failed.length === 0 ? 'explored: everything as expected' : `not as expected: ${failed.join(', ')}`);
process.exitCode = failed.length === 0 ? 0 : 1;
