import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { LabError } from '../../src/abi/errors.js';
import { parseLine, readTapes } from '../../src/lab/tape/reader.js';
import { FAMILIES, tapeFile } from './data.js';

const folder = mkdtempSync(join(tmpdir(), 'tapes-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const at = { file: 'x.jsonl', line: 3, column: 1 };
const tape = (ops: string, more = ''): string =>
  `{"id":"t","family":"x","doms":1,"frames":["d0","d1",null],"watch":2,"ops":[${ops}],"init":{},"outcome":"ok"${more}}`;

function write(name: string, content: string | Uint8Array): string {
  const file = join(folder, name);
  writeFileSync(file, content);
  return file;
}

async function errorOf(file: string): Promise<LabError> {
  const error: unknown = await readTapes(file, () => true).then(
    () => undefined,
    (e: unknown) => e,
  );
  if (error instanceof LabError) return error;
  throw new Error(`expected a LabError, got ${String(error)}`);
}

function lineError(text: string): LabError {
  try {
    parseLine(text, at);
  } catch (e) {
    if (e instanceof LabError) return e;
  }
  throw new Error('expected a LabError');
}

describe('reading tapes', () => {
  test('every recorded tape is read, from the compressed files', async () => {
    let tapes = 0;
    let ops = 0;
    for (const family of FAMILIES) {
      await readTapes(tapeFile(family), (t) => {
        tapes++;
        ops += t.tape.ops.length;
        return true;
      });
    }
    expect([tapes, ops]).toEqual([2018, 60756]);
  });

  test('plain and compressed files read alike, blank lines and a missing last newline do no harm', async () => {
    const text = `${tape('')}\n\n${tape('')}`;
    for (const file of [write('a.jsonl', text), write('a.jsonl.gz', gzipSync(text))]) {
      const lines: number[] = [];
      await readTapes(file, (t) => lines.push(t.position.line) > 0);
      expect(lines).toEqual([1, 3]);
    }
  });

  test('reading stops when the reader has enough', async () => {
    let seen = 0;
    await readTapes(tapeFile('directed'), () => ++seen < 3);
    expect(seen).toBe(3);
  });

  test('a line that goes over many reads is one line, one that never ends is refused', async () => {
    const long = tape('').replace('"id":"t"', `"id":"${'t'.repeat(300_000)}"`);
    const ids: number[] = [];
    await readTapes(write('long.jsonl', `${long}\n${tape('')}\n`), (t) => ids.push(t.tape.id.length) > 0);
    expect(ids).toEqual([300_000, 1]);
    const error = await errorOf(write('endless.jsonl.gz', gzipSync(Buffer.alloc(40 * 1024 * 1024, 'x'))));
    expect([error.code, error.position?.line]).toEqual(['TAPE_LINE', 1]);
  });

  test('a file that is not there is named', async () => {
    const error = await errorOf(join(folder, 'none.jsonl'));
    expect(error.code).toBe('TAPE_NOT_FOUND');
    expect(error.message).toContain('none.jsonl');
    expect(error.hint).toBeDefined();
  });

  test('a cut compressed file is refused with the line it was cut in', async () => {
    const whole = readFileSync(tapeFile('directed'));
    const error = await errorOf(write('cut.jsonl.gz', whole.subarray(0, whole.length >> 1)));
    expect(error.code).toBe('TAPE_UNREADABLE');
    expect(error.position?.line).toBeGreaterThan(1);
  });

  test('a file that is not compressed at all is refused', async () => {
    expect((await errorOf(write('plain.jsonl.gz', tape('')))).code).toBe('TAPE_UNREADABLE');
  });

  test('a line that is not JSON is refused with line and column', async () => {
    const lines = gunzipSync(readFileSync(tapeFile('directed')))
      .toString()
      .split('\n');
    const text = `${lines[0] ?? ''}\n${(lines[1] ?? '').slice(0, 40)}`;
    const error = await errorOf(write('half.jsonl', text));
    expect(error.code).toBe('TAPE_JSON');
    expect(error.position).toMatchObject({ line: 2 });
    expect(error.position?.column).toBeGreaterThan(1);
  });
});

describe('the shape of a tape', () => {
  test('an unknown operation, field, or command is refused with its path', () => {
    expect(lineError(tape('{"op":"nop","expect":{}}')).message).toMatch(/ops\[0\]/);
    expect(lineError(tape('{"op":"m2p","f":"f0","g":1,"expect":{}}')).message).toMatch(/ops\[0\].*"g"/);
    const bogus = '{"op":"mmuext","ops":[{"cmd":"PIN_L5_TABLE","f":"f0"}],"expect":{"rc":0}}';
    expect(lineError(tape(bogus)).message).toMatch(/ops\[0\]\.ops\[0\]\.cmd/);
    expect(lineError(tape('', ',"colour":1')).message).toContain('colour');
  });

  test('values that are no 64-bit hex number are refused', () => {
    for (const v of ['"12"', '"0x12345678123456789"', '-1', '{"f":"f0"}']) {
      const error = lineError(tape(`{"op":"poke","f":"f0","i":0,"v":${v},"expect":{"rc":0}}`));
      expect([error.code, error.position]).toEqual(['TAPE_SHAPE', at]);
    }
  });

  test('names that the tape has not are refused with what it has', () => {
    const frame = lineError(tape('{"op":"m2p","f":"f3","expect":{}}'));
    expect([frame.code, frame.message]).toEqual(['TAPE_NAME', 'tape t: ops[0]: unknown frame "f3"']);
    expect(frame.hint).toContain('f0..f2');
    const domain = lineError(tape('{"op":"destroy","dom":"d2","expect":{}}'));
    expect(domain.message).toContain('unknown domain "d2"');
    const deep = lineError(
      tape('{"op":"gnt_map","maps":[{"h":0,"dom":"d1","ref":0,"flags":2,"pte":{"f":"d1.SL1","i":0}}],"expect":{}}'),
    );
    expect(deep.message).toContain('unknown frame "d1.SL1"');
  });

  test('the guests of a tape with agents have special frames of their own', () => {
    const op = '{"op":"m2p","f":"d1.SL1","by":"d1","expect":{"fault":0}}';
    expect(parseLine(tape(op, ',"agents":true'), at).tape.ops).toHaveLength(1);
  });
});
