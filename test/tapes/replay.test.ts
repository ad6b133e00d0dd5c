import { gunzipSync } from 'node:zlib';
import { readFileSync } from 'node:fs';
import { describe, expect, test, vi } from 'vitest';
import { FAMILIES, tapeFile } from './data.js';

// What TAPE_MEMORY_MIB says; the memory is made when the first room of the core is imported.
vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '96';
});

import { conform } from '../../src/lab/tape/conform.js';
import { differenceText } from '../../src/lab/tape/report.js';
import { parseLine } from '../../src/lab/tape/reader.js';
import { replayTape, type TapeResult } from '../../src/lab/tape/replay.js';

describe('recorded tapes', () => {
  test.each(FAMILIES)('every tape of family %s answers as Xen did', { timeout: 60_000 }, async (family) => {
    const report = await conform([tapeFile(family)]);
    expect(report.firstDifferences.slice(0, 3).map(differenceText)).toEqual([]);
    expect(report.tapes).toBeGreaterThan(200);
    expect(report.equal).toBe(report.tapes);
  });
});

/** A line of the directed family with `text` replaced once: the check must be able to fail. */
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

describe('the check can fail', () => {
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

  test('the report names the place, the operation, both values and the frames', () => {
    const r = corrupted('directed-pin-empty-l1', '"rc":-16', '"rc":-22');
    if (r.difference === undefined) throw new Error('no difference');
    const text = differenceText({ ...r.difference, position: { file: 'a.jsonl', line: 7, column: 1 } });
    expect(text).toContain('directed-pin-empty-l1: op 3 poke  (a.jsonl:7)');
    expect(text).toMatch(/rc +expected -22\n +actual +-16/);
    expect(text).toMatch(/f0 +mfn \d+ +d0 ref \d+ alloc \| l1 1 pinned validated/);
  });
});
