/**
 * `npm run coverage [-- vitest arguments]`: the tests of both builds, workers counted, as one report over `src`.
 *
 * Node itself counts, in every process and thread. The tests then import `dist` instead of compiling `src` on the fly
 * (see `vitest-plugin.mjs`), so that a test and a worker run the same bytes and c8 leads both back to one source.
 */
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './files.mjs';

const FOLDER = 'coverage/tmp';

/**
 * @param {string} script
 * @param {string[]} args
 * @param {Record<string, string>} env
 * @returns {number}
 */
function node(script, args, env) {
  const options = { cwd: ROOT, stdio: /** @type {const} */ ('inherit'), env: { ...process.env, ...env } };
  return spawnSync(process.execPath, [join(ROOT, 'node_modules', script), ...args], options).status ?? 1;
}

rmSync(join(ROOT, 'coverage'), { recursive: true, force: true });
const projects = ['--project', 'controlled', '--project', 'parallel'];
const tests = node('vitest/vitest.mjs', ['run', ...projects, ...process.argv.slice(2)], {
  NODE_V8_COVERAGE: join(ROOT, FOLDER),
});
const report = node(
  'c8/bin/c8.js',
  [
    'report',
    '--temp-directory',
    FOLDER,
    '--exclude-after-remap',
    '--all',
    '--src',
    'src',
    '--include',
    'src/**/*.ts',
  ].concat(['--exclude', '**/*.gen.ts', '--exclude', '**/*.d.ts', '--reporter', 'text', '--reporter', 'html']),
  {},
);
process.exitCode = tests === 0 ? report : tests;
