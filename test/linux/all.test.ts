/** All recordings of the real Linux's teardown are equal here, for each design that the recorded kernel can be held against. */
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { RECORDED_DESIGNS } from '../../src/lab/linux/designs.js';
import { conform } from '../../src/lab/tape/conform.js';
import { BUILD } from '../../src/sync/primitives.js';

test.each(RECORDED_DESIGNS)('%s: all equal, those of two processors as coroutines or threads', async (design) => {
  const build = BUILD as 'controlled' | 'parallel';
  const files = [fileURLToPath(new URL('../data/linux', import.meta.url))];
  const report = await conform({ files, builds: [build], threads: 2, design });
  expect(report).toMatchObject({ tapes: 56, equal: 56, different: 0, firstDifferences: [], complete: true });
});
