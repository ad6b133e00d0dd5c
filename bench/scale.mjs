/**
 * `npm run scale [-- processes] [-- --audit]`: a machine of 4 GiB with 64 vCPUs, 10,000 processes and 1,000,000 live
 * grants boots, runs and is torn down; then how long a machine of three domains takes to its first instruction.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { build } from '../build/build.mjs';
import { ROOT } from '../build/files.mjs';
import { compile } from './compile.mjs';

for (const error of await build()) process.stderr.write(`build: ${error}\n`);
compile('parallel');

/** @param {string} mib @param {string[]} args */
function child(mib, args) {
  const script = join(ROOT, 'dist/bench/parallel/scale.js');
  const env = { ...process.env, XENOLITH_MEMORY_MIB: mib };
  return spawnSync(process.execPath, ['--enable-source-maps', script, ...args], { stdio: 'inherit', env }).status ?? 1;
}

const started = child('64', ['start']);
process.exitCode = started === 0 ? child('4096', ['all', ...process.argv.slice(2)]) : started;
