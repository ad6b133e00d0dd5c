/**
 * `npm run bench:native [-- operation ...] [-- --json] [-- --rounds n] [-- --profile]`: compiles this folder for both builds, then runs the rows.
 *
 * A row's two sides are processes of their own, warm, asked in turn for one measurement per round; what is reported is
 * the median of the rounds' ratios. The output lies in dist/bench, beside the builds it imports.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from '../build/build.mjs';
import { ROOT } from '../build/files.mjs';
import { compile } from './compile.mjs';

for (const error of await build()) process.stderr.write(`build: ${error}\n`);
compile('controlled');
compile('parallel');
const runner = await import(pathToFileURL(join(ROOT, 'dist/bench/parallel/runner.js')).href);
try {
  process.exitCode = await runner.main(process.argv.slice(2), ROOT);
} catch (e) {
  process.stderr.write(`${e instanceof Error ? e.message : String(e)}\n`);
  process.exitCode = 2;
}
