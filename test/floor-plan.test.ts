/**
 * The floor plan: a room imports only what its row in the README names; only the laboratory names a worker's URL.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { listFiles, ROOT } from '../build/files.mjs';
import { breaches, parseFloorPlan, referencesOf, roomOf, workerNames } from '../build/floor-plan.mjs';

const FOLDERS = ['src', 'guests', 'workers', 'bench', 'test'];
const WORKER_LINES = 60;

const sources = FOLDERS.flatMap((folder) => listFiles(ROOT, folder))
  .filter((file) => /\.m?ts$/.test(file) && !file.startsWith('test/build/fixtures/'))
  .map((file) => ({ file, text: readFileSync(join(ROOT, file), 'utf8') }));
const plan = parseFloorPlan(readFileSync(join(ROOT, 'README.md'), 'utf8'));

describe('the tree', () => {
  test('every room imports only what the floor plan names', () => {
    expect(
      breaches(
        plan,
        sources.flatMap((s) => referencesOf(s.file, s.text)),
      ),
    ).toEqual([]);
  });

  test('every folder of src is a room, and the reader saw real sources', () => {
    expect(sources.map((s) => roomOf(s.file)).filter((room) => !plan.has(room))).toEqual([]);
    expect(sources.some((s) => referencesOf(s.file, s.text).length > 0)).toBe(true);
  });

  test('only the laboratory names a worker or starts one, and benchmarks that measure threads', () => {
    const named = sources
      .filter((s) => !/^(test|bench|src\/lab)\//.test(s.file))
      .flatMap((s) => workerNames(s.file, s.text));
    expect(named).toEqual([]);
  });

  test(`a thread entry has under ${String(WORKER_LINES)} lines`, () => {
    const long = sources
      .filter((s) => s.file.startsWith('workers/') && s.text.trimEnd().split('\n').length >= WORKER_LINES)
      .map((s) => s.file);
    expect(long).toEqual([]);
  });

  test('nothing below the laboratory sees guests, tests or benchmarks, and guests see one file of vcpu', () => {
    for (const [room, allowed] of plan) {
      if (room.startsWith('src/') || room === 'guests') {
        expect(allowed).not.toContain('test');
        expect(allowed).not.toContain('bench');
      }
    }
    expect(plan.get('guests')?.filter((t) => !/^src\/(abi|sync|shm|fault)$/.test(t))).toEqual([
      'src/vcpu/guest-cpu.ts',
    ]);
  });
});

describe('the reader of the plan', () => {
  const rows = (text: string): string => `# t\n\n\`\`\`floor-plan\n${text}\n\`\`\`\n`;
  const small = parseFloorPlan(
    rows(
      'src/abi   bits   -\nsrc/sync  locks\n          and more   abi\nsrc/a     x   + sync\nsrc/lab   all   all above\nguests/   g   abi a/one.ts\nworkers/  w   src guests',
    ),
  );

  test('rows may continue, add to the row above, or take all above', () => {
    expect(Object.fromEntries(small)).toEqual({
      'src/abi': [],
      'src/sync': ['src/abi'],
      'src/a': ['src/abi', 'src/sync'],
      'src/lab': ['src/abi', 'src/sync', 'src/a'],
      guests: ['src/abi', 'src/a/one.ts'],
      workers: ['src', 'guests'],
    });
  });

  test('a row without imports, an unknown room and a missing block are refused', () => {
    expect(() => parseFloorPlan(rows('src/abi  bits'))).toThrow('not a row');
    expect(() => parseFloorPlan(rows('src/abi  bits  syncc'))).toThrow('no room');
    expect(() => parseFloorPlan('# nothing')).toThrow('no fenced block');
  });

  test.each([
    ['src/sync/x.ts', "import { a } from '../abi/a.js';", []],
    ['src/sync/x.ts', "import { a } from './y.js';\nimport fs from 'node:fs';", []],
    ['src/abi/x.ts', "\nimport { a } from '../sync/a.js';", ['src/abi/x.ts:2: src/abi must not import src/sync/a.ts']],
    [
      'src/abi/x.ts',
      "import type { a } from '../sync/a.js';",
      ['src/abi/x.ts:1: src/abi must not import src/sync/a.ts'],
    ],
    ['src/abi/x.ts', "export * from '../sync/a.js';", ['src/abi/x.ts:1: src/abi must not import src/sync/a.ts']],
    ['src/abi/x.ts', "await import('../sync/a.js');", ['src/abi/x.ts:1: src/abi must not import src/sync/a.ts']],
    ['src/abi/x.ts', "let a: import('../sync/a.js').A;", ['src/abi/x.ts:1: src/abi must not import src/sync/a.ts']],
    ['src/abi/x.ts', '// import "../sync/a.js";', []],
    ['guests/k/x.ts', "import type { G } from '../../src/a/one.js';", []],
    [
      'guests/k/x.ts',
      "import { G } from '../../src/a/two.js';",
      ['guests/k/x.ts:1: guests must not import src/a/two.ts'],
    ],
    ['src/lab/x.ts', "import '../../test/t.js';", ['src/lab/x.ts:1: src/lab must not import test/t.ts']],
    ['workers/x.ts', "import '../src/a/two.js';", []],
    ['src/new/x.ts', "import './y.js';", ['src/new/x.ts:1: src/new is not in the floor plan']],
  ])('%s with %j', (file, text, expected) => {
    expect(breaches(small, referencesOf(file, text))).toEqual(expected);
  });

  test('a worker is found by its URL, in templates, and by its construction', () => {
    expect(workerNames('src/a/x.ts', "\nnew URL('../../workers/vcpu.js', import.meta.url)")).toEqual(['src/a/x.ts:2']);
    expect(workerNames('src/a/x.ts', '`${base}/workers/vcpu.js`')).toEqual(['src/a/x.ts:1']);
    expect(workerNames('src/a/x.ts', 'new Worker(url)')).toEqual(['src/a/x.ts:1']);
    expect(workerNames('src/a/x.ts', "'how many workers'")).toEqual([]);
  });
});
