/** Every recorded tape in this project's build, and proof that a wrong answer would be seen. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { FAMILIES, tapeFile } from './data.js';

// What TAPE_MEMORY_MIB says; the memory is made when the first room of the core is imported.
vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '96';
});

import { conform as conformFiles } from '../../src/lab/tape/conform.js';
import { differenceText, type ConformReport } from '../../src/lab/tape/report.js';
import { parseLine } from '../../src/lab/tape/reader.js';
import { replayTape, type TapeResult } from '../../src/lab/tape/replay.js';
import { BUILD } from '../../src/sync/primitives.js';
import { mutate, type Mutation } from './mutate.js';

const folder = mkdtempSync(join(tmpdir(), 'replay-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Sixty thousand operations are replayed from dist, where the engine sees plain modules: five times as fast. */
function conform(file: string): Promise<ConformReport> {
  return conformFiles({ files: [file], builds: [BUILD] });
}

const textOf = (family: string): string[] =>
  gunzipSync(readFileSync(tapeFile(family)))
    .toString()
    .trim()
    .split('\n');

describe('recorded tapes', () => {
  const counts = { directed: 217, pagetable: 420, grant: 399, lifecycle: 326, mixed: 328, agents: 328 };

  test.each(FAMILIES)('every tape of family %s answers as Xen did', { timeout: 60_000 }, async (family) => {
    const report = await conform(tapeFile(family));
    expect(report.firstDifferences.slice(0, 3).map(differenceText)).toEqual([]);
    expect([report.build, report.tapes, report.equal]).toEqual([BUILD, counts[family], counts[family]]);
  });
});

describe('preemption', () => {
  test('hypercalls that are continued at every check answer as those that are not', { timeout: 60_000 }, async () => {
    const report = await conformFiles({
      files: [tapeFile('directed'), tapeFile('lifecycle')],
      builds: [BUILD],
      quantum: 1,
    });
    expect(report.firstDifferences.slice(0, 3).map(differenceText)).toEqual([]);
    expect(report.continuations).toBeGreaterThan(1000);
  });
});

describe('the check can fail', () => {
  test('any one spoiled answer is found, at its operation', { timeout: 60_000 }, async () => {
    const file = join(folder, 'spoiled.jsonl');
    const spoiled = new Map<string, Mutation>();
    const random = numbers(20261121);
    const lines = FAMILIES.flatMap((family) => textOf(family).filter(() => random(4) === 0)).map((line) => {
      const tape = JSON.parse(line) as { id: string; ops: { expect: Record<string, unknown> }[] };
      spoiled.set(tape.id, mutate(tape, random));
      return JSON.stringify(tape);
    });
    writeFileSync(file, lines.join('\n'));
    const report = await conform(file);
    const found = new Map(report.firstDifferences.map((d) => [d.tape, d.index]));
    const missed = [...spoiled].filter(([id, m]) => found.get(id) !== m.index);
    expect(missed).toEqual([]);
    expect(spoiled.size).toBeGreaterThan(400);
  });
});

/** A small generator of repeatable numbers below n. */
function numbers(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 4294967296) * n);
  };
}

/** A line of the directed family with `text` replaced once. */
function corrupted(id: string, text: string | RegExp, by: string): TapeResult {
  const lines = gunzipSync(readFileSync(tapeFile('directed')))
    .toString()
    .split('\n');
  const line = lines.find((l) => l.includes(`"id":"${id}"`)) ?? '';
  const changed = line.replace(text, by);
  expect(changed).not.toBe(line);
  return replayTape(parseLine(changed, { file: 'changed', line: 1, column: 1 }).tape);
}

const fieldsOf = (r: TapeResult): string[] => (r.difference?.differences ?? []).map((d) => d.field);

describe('what a difference says', () => {
  test('a changed return value is found at its operation', () => {
    const r = corrupted('directed-pin-empty-l1', '"rc":-16', '"rc":-22');
    expect([r.difference?.index, r.difference?.op?.op, fieldsOf(r)]).toEqual([3, 'poke', ['rc']]);
  });

  test('a changed type, an unexpected type and a missing one are found', () => {
    const id = 'directed-pin-empty-l2';
    expect(fieldsOf(corrupted(id, '"f0":"d0:L2+PIN"', '"f0":"d0:L2"'))).toEqual(['types.f0']);
    expect(fieldsOf(corrupted(id, ',"types":{"f0":"d0:L2+PIN"}', ''))).toEqual(['types.f0']);
    expect(fieldsOf(corrupted(id, '{"rc":-22,"done":0}', '{"rc":-22,"done":0,"types":{"f0":null}}'))).toEqual([
      'types.f0',
    ]);
  });

  test('a changed initial state is found before the first operation', () => {
    const r = corrupted('directed-pin-empty-l1', '"SL1":"d0:L1"', '"SL1":"d0:L2"');
    expect([r.difference?.index, fieldsOf(r)]).toEqual([-1, ['types.SL1']]);
  });

  test('a changed value, status, grant entry and page count are found', () => {
    expect(fieldsOf(corrupted('directed-pin-empty-l1', '"v":"0x1"}}', '"v":"0x2"}}'))).toEqual(['v']);
    expect(fieldsOf(corrupted('directed-gnt-basic', '"r":[{"status":0', '"r":[{"status":-1'))).toEqual(['r']);
    expect(
      fieldsOf(corrupted('directed-gnt-basic', /"flags":(9|25),"dom":"d0"/, '"flags":1,"dom":"d0"')).join(),
    ).toMatch(/^grants\./);
    expect(fieldsOf(corrupted('directed-gnt-transfer-lost', '"tot":-1', '"tot":0'))).toEqual(['doms.d0']);
  });

  test('a caller that lives where it should have died is found, and the other way round', () => {
    const crash = '"expect":{"outcome":"domain_crash"}';
    expect(fieldsOf(corrupted('directed-gnt-clobber-va', crash, '"expect":{"rc":0,"status":[0]}'))).toContain(
      'outcome',
    );
    expect(fieldsOf(corrupted('directed-pin-empty-l1', '"expect":{"rc":0,"v":"0x1"}', crash))).toContain('outcome');
  });

  test('the report names the place, the operation, both values, the frames and who holds them', () => {
    const r = corrupted('directed-pin-empty-l1', '"rc":-16', '"rc":-22');
    if (r.difference === undefined) throw new Error('no difference');
    const text = differenceText({ ...r.difference, build: BUILD, position: { file: 'a.jsonl', line: 7, column: 1 } });
    expect(text).toContain(`directed-pin-empty-l1: op 3 poke  (a.jsonl:7, ${BUILD})`);
    expect(text).toMatch(/rc +expected -22\n +actual +-16/);
    expect(text).toMatch(/f0 +mfn 0x[0-9a-f]+ +d0 ref 2 alloc \| l1 1 pinned validated/);
    expect(text).toMatch(/ held by allocation of d0\n +held by pin as l1$/);
  });
});
