/**
 * The audit after recorded tapes: nothing is wrong but what a tape's own history makes wrong by Xen's rules.
 *
 * A sample here; `npm run test:audit-tapes` takes every tape, and every operation of one in ten.
 */
import { describe, expect, test, vi } from 'vitest';

// What TAPE_MEMORY_MIB says.
vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '96';
});

import type { Mfn } from '../../src/abi/frames.js';
import { auditMachine, type Violation } from '../../src/audit/index.js';
import { readTapes } from '../../src/lab/tape/reader.js';
import { replayTape } from '../../src/lab/tape/replay.js';
import { countInfo } from '../../src/machine/frame.js';
import { peek, poke } from '../../src/sync/primitives.js';
import { FAMILIES, tapeFile } from '../tapes/data.js';
import { expectedFindings, handleKey } from './tape-expectation.js';
import { TapeHistory } from './tape-history.js';
import type { Tape } from '../../src/lab/tape/schema.js';

const ALL = process.env['MODE'] === 'exhaustive';
/** Every how many tapes one is audited at its end, and one after each operation. */
const AT_END = ALL ? 1 : 24;
const AT_EACH = ALL ? 10 : 120;
const QUANTUM = 2;

/** What a finding is about, as expectations write it. */
function keyOf(v: Violation, t: TapeHistory): string {
  const holder = v.holders[0] ?? '';
  const handle = /^(d\d+) handle (\d+) of /.exec(holder);
  const ofHandle = t.handles.find((h) => h.mapper === handle?.[1] && h.number === Number(handle[2]));
  if ((v.invariant === 'I10' || v.invariant === 'I12') && ofHandle !== undefined) {
    return `${v.invariant} ${handleKey(t, ofHandle)}`;
  }
  const translation = /^(d\d+)v\d+ TLB va \S+ -> mfn (0x[\da-f]+)/.exec(holder);
  if (translation !== null) return `${v.invariant} TLB ${translation[1] ?? ''} ${translation[2] ?? ''}`;
  if (v.invariant === 'I11') {
    const [, mapper = '', mode = '', mfn = ''] = /^(d\d+) L1 .* (r.) names mfn (0x[\da-f]+) /.exec(v.detail) ?? [];
    return `I11 ${mapper} ${mfn} ${mode}`;
  }
  if (v.invariant === 'I5') return 'I5';
  const [, granter, ref] = /^(d\d+) ref (\d+)/.exec(v.detail) ?? [];
  return granter === undefined || ref === undefined ? `${v.invariant} ${v.detail}` : `${v.invariant} ${granter} ${ref}`;
}

/** Findings that were not expected as often as they came, or did not come. */
function surprises(t: TapeHistory, tally: Tally): string[] {
  const found = new Map<string, number>();
  for (const v of auditMachine()) {
    found.set(keyOf(v, t), (found.get(keyOf(v, t)) ?? 0) + 1);
    tally.found.set(v.invariant, (tally.found.get(v.invariant) ?? 0) + 1);
  }
  const expected = expectedFindings(t);
  return [...new Set([...found.keys(), ...expected.keys()])].flatMap((key) => {
    const n = found.get(key) ?? 0;
    const [least, most] = expected.get(key) ?? [0, 0];
    return n < least || n > most ? [`${key}: found ${String(n)}, expected ${String(least)} to ${String(most)}`] : [];
  });
}

interface Tally {
  tapes: number;
  audits: number;
  readonly found: Map<string, number>;
}

/** Replays the tape, auditing the still machine at its end or after each operation. */
function replayAudited(tape: Tape, each: boolean, quantum: number, tally: Tally): void {
  let t: TapeHistory | undefined;
  const last = tape.ops.length - 1;
  const result = replayTape(tape, quantum, (m, index, op) => {
    t ??= new TapeHistory(m);
    if (op !== undefined) t.after(op);
    if (!each && index !== last) return;
    tally.audits++;
    expect([tape.id, index, ...surprises(t, tally)]).toEqual([tape.id, index]);
  });
  expect(result.difference?.differences).toBeUndefined();
  expect(t?.unexplained).toEqual([]);
  tally.tapes++;
}

describe('recorded tapes leave nothing that the audit cannot account for', () => {
  const total: Tally = { tapes: 0, audits: 0, found: new Map() };
  test.each(FAMILIES)('family %s', { timeout: 900_000 }, async (family) => {
    let n = 0;
    await readTapes(tapeFile(family), ({ tape }) => {
      n++;
      const each = n % AT_EACH === 1;
      if (n % AT_END === 0 || each) replayAudited(tape, each, n % 2 === 0 ? QUANTUM : 0, total);
      return true;
    });
    expect(n).toBeGreaterThan(100);
  });

  test('not vacuously: leaked handles and entries overwritten by their granter were among them', () => {
    for (const id of ['I9', 'I10', 'I12']) expect(total.found.get(id) ?? 0).toBeGreaterThan(0);
    expect(total.audits).toBeGreaterThan(300);
  });
});

test('a reference that no history explains is a surprise', async () => {
  await readTapes(tapeFile('grant'), ({ tape }) => {
    const tally: Tally = { tapes: 0, audits: 0, found: new Map() };
    replayTape(tape, 0, (m, index, op) => {
      if (op !== undefined || index !== -1) return;
      const t = new TapeHistory(m);
      expect(surprises(t, tally)).toEqual([]);
      const word = countInfo(m.symbols.mfn('f0') as Mfn);
      poke(word, peek(word) + 1);
      expect(surprises(t, tally)).toEqual(['I5: found 1, expected 0 to 0']);
      poke(word, peek(word) - 1);
    });
    return false;
  });
});
