/** The conform command: what it prints, how it exits. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { main } from '../../src/cli/program.js';
import { conformInThread } from '../../src/lab/tape/conform-thread.js';
import { summaryText, type ConformReport } from '../../src/lab/tape/report.js';
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

async function conform(...args: string[]): Promise<Outcome> {
  let out = '';
  let err = '';
  const code = await main(['conform', ...args], {
    out: (text) => (out += text),
    err: (line) => (err += `${line}\n`),
    status: () => undefined,
    columns: 100,
    colour: false,
    live: false,
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
  test('exits 0 when every tape is equal, and counts families, tapes and operations', async () => {
    for (const build of ['controlled', 'parallel']) {
      const r = await conform(file('good.jsonl', lines[0], lines[1]), '--build', build);
      expect([r.code, r.err]).toEqual([0, '']);
      expect(r.out).toContain('directed         2 of     2 equal');
      expect(r.out).toMatch(
        new RegExp(`2 tapes, 18 operations, \\d+ hypercalls.*: 2 equal, 0 different \\(${build} build\\)`),
      );
    }
  });

  test('exits 1 when a tape differs, and says where', async () => {
    const path = file('bad.jsonl', lines[1], wrong, wrong);
    const r = await conform(path);
    expect(r.code).toBe(1);
    expect(r.out).toContain(`directed-pin-empty-l1: op 3 poke  (${path}:2)`);
    expect(r.out).toMatch(/3 tapes, 27 operations, .*: 1 equal, 2 different/);
    const first = await conform(path, '--stop-first');
    expect([first.code, first.out.split('expected -1').length]).toEqual([1, 2]);
    expect(first.out).toMatch(/2 tapes, 18 operations, .*: 1 equal, 1 different/);
  });

  test('prints the report as JSON, differences and frames included', async () => {
    const r = await conform(file('json.jsonl', lines[1], wrong), '--json');
    const report = JSON.parse(r.out) as ConformReport;
    expect(report).toMatchObject({ tapes: 2, equal: 1, different: 1, families: { directed: { tapes: 2, equal: 1 } } });
    expect(report.firstDifferences[0]).toMatchObject({
      tape: 'directed-pin-empty-l1',
      index: 3,
      op: { op: 'poke', f: 'f0' },
      differences: [{ field: 'rc', expected: -1, actual: -16 }],
      position: { line: 2 },
    });
    expect(report.firstDifferences[0]?.after.some((f) => f.name === 'f0' && f.text.includes('pinned'))).toBe(true);
  });

  test('chooses tapes by id or beginning of id', async () => {
    const path = file('choose.jsonl', lines[0], lines[1], wrong.replace('pin-empty-l1', 'other'));
    expect((await conform(path, '--tape', 'directed-pin-empty-l2')).out).toMatch(/1 tapes, 9 operations, .*: 1 equal/);
    expect((await conform(path, '--tape', 'directed-pin*')).out).toMatch(/2 tapes, 18 operations, .*: 2 equal/);
    const none = await conform(path, '--tape', 'nobody');
    expect([none.code, none.err]).toEqual([2, expect.stringContaining('no tape was chosen')]);
  });

  test('exits 2 for a file that cannot be read or a line that is no tape, with the line', async () => {
    const missing = await conform(join(folder, 'missing.jsonl'));
    expect([missing.code, missing.err]).toEqual([2, expect.stringContaining('missing.jsonl')]);
    const path = file('broken.jsonl', lines[0], '{"id":"x"}');
    const broken = await conform(path);
    expect([broken.code, broken.out]).toEqual([2, '']);
    expect(broken.err).toMatch(new RegExp(`broken.jsonl:2:1: tape x: .*\n +hint: `));
  });

  test('ends early when asked to, and says what was replayed until then', async () => {
    const stop = new AbortController();
    const report = await conformInThread({
      files: [tapeFile('agents'), tapeFile('grant')],
      build: 'parallel',
      stop: stop.signal,
      onProgress: () => {
        stop.abort();
      },
    });
    expect(report.complete).toBe(false);
    expect(report.tapes).toBeGreaterThan(0);
    expect(report.tapes).toBeLessThan(328 + 399);
    expect(summaryText(report)).toContain('stopped before the last tape');
  });

  test('refuses an unknown build', async () => {
    expect((await conform(tapeFile('directed'), '--build', 'fast')).code).toBe(2);
  });
});
