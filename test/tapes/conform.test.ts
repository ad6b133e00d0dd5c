/** The conform command: what it prints, how it exits. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { main } from '../../src/cli/program.js';
import { conform as conformFiles } from '../../src/lab/tape/conform.js';
import { jsonText, summaryText, type ConformReport } from '../../src/lab/tape/report.js';
import { BUILD } from '../../src/sync/primitives.js';
import { tapeFile } from './data.js';

const folder = mkdtempSync(join(tmpdir(), 'conform-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const states: string[] = [];
async function conform(...args: string[]): Promise<Outcome> {
  let out = '';
  let err = '';
  states.length = 0;
  const code = await main(['conform', ...args], {
    out: (text) => (out += text),
    err: (line) => (err += `${line}\n`),
    status: (line) => states.push(line),
    columns: 100,
    colour: false,
    live: true,
  });
  return { code, out, err };
}

const lines = gunzipSync(readFileSync(tapeFile('directed')))
  .toString()
  .trim()
  .split('\n');
function file(name: string, ...content: (string | undefined)[]): string {
  const path = join(folder, name);
  writeFileSync(path, content.join('\n'));
  return path;
}
const wrong = (lines[0] ?? '').replace('"rc":-16', '"rc":-1');

describe('xenolith conform', () => {
  test('exits 0 when every tape is equal in both builds, and counts families, tapes and operations', async () => {
    const path = file('good.jsonl', lines[0], lines[1]);
    const both = await conform(path);
    expect([both.code, both.err]).toEqual([0, '']);
    expect(both.out).toContain('directed           2 of       2 equal          18 operations');
    expect(both.out).toContain('tapes: 2 replayed, 2 equal, 0 different\noperations: 18, 18 equal, 0 different\n');
    expect(both.out).toContain('build: parallel, controlled; ');
    expect(states).toEqual(['100 %, 2 tapes, 0 different', '']);
    const hypercalls = (text: string): number => Number(/; ([\d,]+) hypercalls/.exec(text)?.[1]?.replace(',', ''));
    for (const build of ['controlled', 'parallel']) {
      const r = await conform(path, '--build', build);
      expect([r.code, r.err]).toEqual([0, '']);
      expect(r.out).toContain(`build: ${build}; `);
      expect(2 * hypercalls(r.out)).toBe(hypercalls(both.out));
    }
  });

  test('exits 1 when a tape differs, and says where, once for both builds', async () => {
    const path = file('bad.jsonl', lines[1], wrong, '', wrong, lines[1]);
    const r = await conform(path);
    expect(r.code).toBe(1);
    expect(r.out).toContain(`directed-pin-empty-l1: op 3 poke  (${path}:2, parallel, controlled)`);
    expect(r.out).toContain(`directed-pin-empty-l1: op 3 poke  (${path}:4, parallel, controlled)`);
    expect(r.out.split('expected -1')).toHaveLength(3);
    expect(r.out).toContain('tapes: 4 replayed, 2 equal, 2 different\n');
    expect(r.out).toContain('operations: 36, 24 equal, 2 different, 10 behind a difference not compared\n');
  });

  test('--stop-first ends at the first tape that differs, whatever the threads did besides', async () => {
    const path = file('many.jsonl', ...Array<string>(60).fill(lines[1] ?? ''), wrong, ...Array<string>(90).fill(wrong));
    const r = await conform(path, '--stop-first', '--threads', '2', '-q');
    expect(states).toEqual(['']);
    expect([r.code, r.out.split('expected -1').length]).toEqual([1, 2]);
    expect(r.out).toContain(`(${path}:61, `);
    expect(r.out).toContain('tapes: 61 replayed, 60 equal, 1 different\n');
    expect(r.out).not.toContain('stopped before');
  });

  test('prints the report as JSON: the documented fields, and each first difference with the state around it', async () => {
    const r = await conform(file('json.jsonl', lines[1], wrong), '--json');
    const report = JSON.parse(r.out) as ConformReport;
    expect(Object.keys(report)).toEqual(['build', 'tapes', 'equal', 'different', 'operations', 'firstDifferences']);
    expect(report).toMatchObject({ build: 'parallel, controlled', tapes: 2, equal: 1, different: 1, operations: 18 });
    expect(report.firstDifferences).toHaveLength(1);
    expect(report.firstDifferences[0]).toMatchObject({
      tape: 'directed-pin-empty-l1',
      family: 'directed',
      build: 'parallel, controlled',
      index: 3,
      op: { op: 'poke', f: 'f0' },
      differences: [{ field: 'rc', expected: -1, actual: -16 }],
      position: { line: 2 },
    });
    const f0 = report.firstDifferences[0]?.frames.find((f) => f.name === 'f0');
    expect(f0).toMatchObject({
      after: 'd0 ref 2 alloc | l1 1 pinned validated nr 0 linear 0',
      holders: ['allocation of d0', 'pin as l1'],
    });
  });

  test('chooses tapes by id or beginning of id', async () => {
    const path = file('choose.jsonl', lines[0], lines[1], wrong.replace('pin-empty-l1', 'other'));
    const l2 = await conform(path, '--tape', 'directed-pin-empty-l2');
    expect(l2.out).toContain('tapes: 1 replayed, 1 equal');
    expect((await conform(path, '--tape', 'directed-pin*')).out).toContain('tapes: 2 replayed, 2 equal');
    const none = await conform(path, '--tape', 'nobody');
    expect([none.code, none.err]).toEqual([2, expect.stringContaining('no tape was chosen')]);
  });

  test('a folder stands for the recordings in it, no file for those of the project', async () => {
    const inner = join(folder, 'inner');
    mkdirSync(inner);
    file('inner/b.jsonl', lines[1]);
    writeFileSync(join(inner, 'a.jsonl.gz'), gzipSync(`${lines[0] ?? ''}\n`));
    file('inner/readme.txt', 'no tape');
    const r = await conform(inner, '--build', BUILD);
    expect([r.code, r.err]).toEqual([0, '']);
    expect(r.out).toContain('tapes: 2 replayed, 2 equal');
    const shipped = await conform('--tape', 'directed-pin-empty-l1', '--build', BUILD);
    expect([shipped.code, shipped.err]).toEqual([0, '']);
    expect(shipped.out).toContain('tapes: 1 replayed, 1 equal');
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    const none = await conform(empty);
    expect([none.code, none.out, none.err]).toEqual([2, '', expect.stringContaining('holds no recordings')]);
  });

  test('exits 2 for a file that cannot be read or a line that is no tape, with the line', async () => {
    const missing = await conform(join(folder, 'missing.jsonl'));
    expect([missing.code, missing.err]).toEqual([2, expect.stringContaining('missing.jsonl')]);
    const path = file('broken.jsonl', lines[0], '{"id":"x"}');
    const broken = await conform(path);
    expect([broken.code, broken.out]).toEqual([2, '']);
    expect(broken.err).toMatch(new RegExp(`broken.jsonl:2:1: tape x: .*\n +hint: `));
    const cut = join(folder, 'cut.jsonl.gz');
    const whole = readFileSync(tapeFile('directed'));
    writeFileSync(cut, whole.subarray(0, whole.length >> 1));
    const half = await conform(cut);
    expect([half.code, half.err]).toEqual([2, expect.stringMatching(/cut\.jsonl\.gz:\d+:1: .*\n +hint: /)]);
  });

  test('differences before a line that is no tape are told, then the line', async () => {
    const path = file('late.jsonl', wrong, ...Array<string>(70).fill(lines[1] ?? ''), '{"id":', wrong);
    const r = await conform(path);
    expect([r.code, r.out.split('expected -1').length]).toEqual([2, 2]);
    expect(r.err).toContain(`${path}:72:`);
  });

  test('ends early when asked to, and says what was replayed until then', async () => {
    const stop = new AbortController();
    const report = await conformFiles({
      files: [tapeFile('agents'), tapeFile('grant')],
      stop: stop.signal,
      onProgress: () => {
        stop.abort();
      },
    });
    expect(report.complete).toBe(false);
    expect(report.tapes).toBeGreaterThan(0);
    expect(report.tapes).toBeLessThan(328 + 399);
    expect(report.equal).toBe(report.tapes);
    expect(summaryText(report)).toContain('stopped before the last tape');
    expect(JSON.parse(jsonText(report))).toMatchObject({ complete: false });
  });

  test('refuses an unknown build', async () => {
    expect((await conform(tapeFile('directed'), '--build', 'fast')).code).toBe(2);
  });
});
