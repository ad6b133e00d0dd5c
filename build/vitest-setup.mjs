/**
 * Runs the build once before the tests, so that workers load what the sources say.
 *
 * A file that does not compile is named and has no output; what needs it fails by itself, the rest is still tested.
 */
import { build } from './build.mjs';

export async function setup() {
  for (const e of await build()) process.stderr.write(`build: ${e}\n`);
}
