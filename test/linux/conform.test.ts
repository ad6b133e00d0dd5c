/**
 * The check of the check: a recording of the real Linux that was spoiled differs from our kernel, and says where.
 *
 * That all of them as they are are equal is all.test.ts.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { recordings as recordingsFormat } from '../../src/lab/linux/format.js';
import { checkRecording, looksLikeRecording, type Recording } from '../../src/lab/linux/recording.js';
import { runRecording, type Together } from '../../src/lab/linux/run.js';
import { replayBatch, type BatchResult } from '../../src/lab/tape/batch.js';
import { recordedGuests } from '../../workers/recorded.js';

const position = { file: 'teardown.jsonl.gz', line: 1, column: 1 };
const lines = gunzipSync(readFileSync(new URL('../data/linux/teardown.jsonl.gz', import.meta.url)))
  .toString()
  .trim()
  .split('\n');
const recordings = lines.map((text) => checkRecording(JSON.parse(text), position).recording);
const ofOne = recordings.filter((r) => r.vcpus === 1);
const named = (id: string): Recording => {
  const found = recordings.find((r) => r.id.startsWith(id));
  if (found === undefined) throw new Error(`no recording ${id}`);
  return found;
};
const refuse: Together = () => {
  throw new Error('a recording of one processor runs in one thread');
};
const mismatchesOf = (r: Recording, design = 'notifier-async'): readonly unknown[] =>
  runRecording(r, design, recordedGuests, refuse).mismatches;

test('the recordings are all there, and are told from tapes by their fields', () => {
  expect([recordings.length, ofOne.length]).toEqual([56, 42]);
  expect(lines.every((text) => looksLikeRecording(JSON.parse(text)))).toBe(true);
  expect(looksLikeRecording({ id: 'x', ops: [] })).toBe(false);
});

describe('a spoiled recording differs', () => {
  const spoil = (id: string, change: (r: Recording) => void): readonly unknown[] => {
    const copy = structuredClone(named(id));
    change(copy);
    return mismatchesOf(copy);
  };

  test('in every total that may not vary, one by one', () => {
    const r = named('gnt-munmap-exit.p1.g64');
    const fields = Object.keys(r.totals).filter((f) => !f.endsWith('(continuation)'));
    expect(fields.length).toBeGreaterThan(30);
    for (const field of fields) {
      const found = spoil(r.id, (copy) => (copy.totals[field] = (copy.totals[field] ?? 0) + 2));
      expect(found).toContainEqual(expect.objectContaining({ phase: 'total', field }));
    }
  });

  test('in a figure of one phase', () => {
    const found = spoil('anon-exit.p1', (r) => ((r.by_phase['unpin'] ?? {})['batch_entries'] = 18));
    expect(found).toEqual([
      expect.objectContaining({ phase: 'unpin', field: 'batch_entries', expected: 18, actual: 17 }),
    ]);
  });

  test('in a phase that is not there', () => {
    const found = spoil('anon-exit.p1', (r) => (r.by_phase['worker'] = { 'x:grant_table_op': 2 }));
    expect(found).toEqual([expect.objectContaining({ phase: 'worker', expected: 2, actual: 0 })]);
  });

  test('in the order of two steps, with the steps around', () => {
    const found = spoil('gnt-exit.p1.g16', (r) => {
      const at = r.steps.findIndex(([kind]) => kind === 'notifier_release');
      const [step] = r.steps.splice(at, 1);
      r.steps.splice(
        r.steps.findIndex(([kind]) => kind === 'pgd_unpin_ret'),
        0,
        step ?? ['?'],
      );
    });
    expect(found).toEqual([
      expect.objectContaining({
        phase: 'order',
        expected: 'gntdev_invalidate RELEASE all',
        actual: 'notifier_release',
      }),
    ]);
  });

  test('in what a buffer held', () => {
    const found = spoil('anon-exit.p1', (r) => {
      const flush = r.steps.find(([kind, f]) => kind === 'flush' && (f as { entries: number }).entries === 17);
      (flush?.[1] as { what: unknown[] }).what.reverse();
    });
    expect(found).toEqual([expect.objectContaining({ phase: 'order' })]);
  });

  test('in how the process ended', () => {
    const found = spoil('gnt-dontneed', (r) => (r.results['status'] = 11));
    expect(found).toContainEqual(expect.objectContaining({ phase: 'result', expected: 11, actual: 7 }));
  });
});

test('a design that unpins first is found out', () => {
  expect(mismatchesOf(named('gnt-exit.p1.g16'), 'early-unpin')).not.toEqual([]);
});

test('a line that lacks a field is refused, with the field', () => {
  const { totals: _totals, ...rest } = named('anon-exit.p1');
  expect(() => checkRecording(rest, position)).toThrow('totals');
});

describe('as an input of the command', () => {
  const formats = [recordingsFormat(recordedGuests, refuse)];
  const replay = (...texts: string[]): BatchResult =>
    replayBatch(
      {
        file: 'mixed.jsonl',
        lines: texts.map((text, i) => [i + 1, text] as const),
        stopped: new Int32Array(new SharedArrayBuffer(4)),
      },
      formats,
    );
  test('a first difference says phase, field, both values and the steps around', () => {
    const r = structuredClone(named('gnt-exit.p1.g1'));
    const at = r.steps.findIndex(([kind]) => kind === 'gnttab_unmap_refs');
    r.steps[at] = ['gnttab_unmap_refs', { count: 2 }];
    (r.by_phase['release'] ?? {})['x:grant_table_op'] = 3;
    const { results } = replay(JSON.stringify(r));
    expect(results[0]?.difference).toMatchObject({
      tape: r.id,
      index: 7,
      where: 'release: x:grant_table_op',
      differences: [
        { field: 'release x:grant_table_op', expected: 3, actual: 2 },
        { field: 'order step 7', expected: 'gnttab_unmap_refs 2', actual: 'gnttab_unmap_refs 1' },
        { field: 'steps around' },
      ],
    });
    expect(results[0]?.difference?.differences[2]?.actual).toHaveLength(9);
  });

  test('a broken recording is refused with its line', () => {
    const { totals: _totals, ...rest } = named('anon-exit.p1');
    expect(replay(JSON.stringify(named('anon-exit.p1')), JSON.stringify(rest)).refused).toMatchObject({
      code: 'RECORDING_SHAPE',
      position: { file: 'mixed.jsonl', line: 2 },
    });
  });
});
