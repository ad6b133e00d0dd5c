/** All recordings of the real Linux's teardown are equal here, for each design that the recorded kernel can be held against. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { RECORDED_DESIGNS } from '../../src/lab/linux/designs.js';
import { conform } from '../../src/lab/tape/conform.js';
import { BUILD } from '../../src/sync/primitives.js';
import { tapeFile } from '../tapes/data.js';

const build = BUILD as 'controlled' | 'parallel';
const FOLDER = fileURLToPath(new URL('../data/linux', import.meta.url));

test.each(RECORDED_DESIGNS)('%s: all equal, those of two processors as coroutines or threads', async (design) => {
  const report = await conform({ files: [FOLDER], builds: [build], threads: 2, design });
  expect(report).toMatchObject({ tapes: 56, equal: 56, different: 0, firstDifferences: [], complete: true });
});

test('recordings and tapes may stand in one file', async () => {
  const first = (path: string): string => gunzipSync(readFileSync(path)).toString().split('\n', 1)[0] ?? '';
  const folder = mkdtempSync(join(tmpdir(), 'mixed-'));
  try {
    const file = join(folder, 'mixed.jsonl');
    writeFileSync(file, [first(join(FOLDER, 'teardown.jsonl.gz')), first(tapeFile('directed'))].join('\n'));
    const report = await conform({ files: [file], builds: [build], threads: 1 });
    expect(report).toMatchObject({ tapes: 2, equal: 2 });
    expect(Object.keys(report.families)).toEqual(['linux-teardown', 'directed']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
