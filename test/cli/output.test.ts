import { EventEmitter } from 'node:events';
import { describe, expect, test, vi } from 'vitest';
import { humanReport, jsonReport } from '../../src/cli/print.js';
import { block, count, table, wrap } from '../../src/cli/table.js';
import { terminalOver } from '../../src/cli/terminal.js';
import type { DesignReport } from '../../src/lab/run/scenario-run.js';
import { parseScenario } from '../../src/scenario/load.js';
import { catalog, minimal } from '../scenario/catalog.js';

class FakeStream extends EventEmitter {
  text = '';
  isTTY: boolean;
  columns: number;
  constructor(isTTY: boolean, columns = 80) {
    super();
    this.isTTY = isTTY;
    this.columns = columns;
  }
  write(text: string): boolean {
    this.text += text;
    return true;
  }
}

describe('the terminal', () => {
  const open = (tty: boolean, env: NodeJS.ProcessEnv = {}) => {
    const out = new FakeStream(tty);
    const err = new FakeStream(tty, 20);
    return { out, err, t: terminalOver(out as never, err as never, env) };
  };

  test('has colour on a terminal only, and none under NO_COLOR', () => {
    expect(open(true).t.colour).toBe(true);
    expect(open(false).t.colour).toBe(false);
    expect(open(true, { NO_COLOR: '1' }).t.colour).toBe(false);
    expect(open(true, { TERM: 'dumb' }).t.colour).toBe(false);
  });

  test('draws a status line on a terminal only, cut to its width, and clears it before other text', () => {
    const { err, out, t } = open(true);
    t.status('a status line that is far too long');
    expect(err.text).toBe('\r\u001b[Ka status line that…');
    t.out('result\n');
    expect(err.text.endsWith('\r\u001b[K')).toBe(true);
    expect(out.text).toBe('result\n');
  });

  test('elsewhere says how far it is in a line now and then', () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    try {
      const { err, t } = open(false);
      t.status('at once');
      expect(err.text).toBe('');
      vi.advanceTimersByTime(6000);
      t.status('later');
      t.status('again');
      t.status('');
      expect(err.text).toBe('later\n');
    } finally {
      vi.useRealTimers();
    }
  });

  test('stops writing when its reader has gone, and does not hide other errors', () => {
    const { out, t } = open(false);
    t.out('a');
    out.emit('error', Object.assign(new Error('gone'), { code: 'EPIPE' }));
    t.out('b');
    expect(out.text).toBe('a');
    expect(() => out.emit('error', Object.assign(new Error('disk'), { code: 'ENOSPC' }))).toThrow('disk');
  });
});

describe('tables', () => {
  const columns = [{ title: 'name' }, { title: 'n', right: true }];

  test('align their columns', () => {
    expect(table(columns, [['a', '1'], ['long', '22']], 80)).toEqual(['name   n', 'a      1', 'long  22']); // prettier-ignore
  });

  test('are refused when a line would not fit, and a row becomes a block', () => {
    expect(table(columns, [['a', '1']], 6)).toBeUndefined();
    expect(block(columns, ['a', '1'], Infinity)).toEqual(['name  a', 'n     1']);
    expect(block(columns, ['a long one', '1'], 12)).toEqual(['name  a long', '      one', 'n     1']);
  });

  test('wrapped text keeps its words and its indent', () => {
    expect(wrap('one two three', 9, '  ')).toEqual(['  one two', '  three']);
    expect(wrap('unbreakable', 4, '  ')).toEqual(['  unbreakable']);
    expect(wrap('one two', Infinity, '')).toEqual(['one two']);
  });

  test('numbers are grouped', () => {
    expect(count(1234567)).toBe('1,234,567');
  });
});

const report = (over: Partial<DesignReport>): DesignReport => ({
  design: 'zap-pte',
  buggy: false,
  verdict: 'clean',
  expected: true,
  violations: [],
  counters: { exitMmaps: 1000, hypercalls: 5 },
  overlap: { hypercalls: 3, contendedLocks: 2 },
  notes: ['a note'],
  deaths: [],
  ...over,
});
const leak = (n: number) => ({
  invariant: 'I10',
  detail: `handle ${String(n)} has no PTE`,
  holders: ['dom0'],
  severity: 'leaked' as const,
});

describe('the report', () => {
  const scenario = parseScenario('s', minimal, catalog);
  const clean = report({});
  const broken = report({
    design: 'early-unpin',
    verdict: 'broken',
    expected: false,
    violations: [1, 2, 3, 4, 5].map(leak),
  });
  const all = { scenario: 'small', seed: 1, designs: [clean, broken] };

  test('as JSON has the documented keys and no others', () => {
    const parsed = JSON.parse(jsonReport(all)) as { designs: Record<string, unknown>[] };
    expect(Object.keys(parsed)).toEqual(['scenario', 'seed', 'designs']);
    for (const d of parsed.designs) {
      expect(Object.keys(d)).toEqual(['design', 'buggy', 'verdict', 'expected', 'violations', 'counters', 'overlap']);
    }
    expect((parsed.designs[1]?.['violations'] as unknown[])[0]).toEqual({
      invariant: 'I10',
      detail: 'handle 1 has no PTE',
      holders: ['dom0'],
      since: null,
    });
  });

  test('for people shows each design, its first violations with their holders, and what was not expected', () => {
    const text = humanReport(scenario, all, { columns: Infinity, colour: false });
    expect(text).toContain('small: 2 domains, 4 vCPUs, 64 MiB, seed 1, 100 rounds a thread');
    expect(text).toMatch(/^zap-pte +clean +yes +1,000 .* 3\/2$/m);
    expect(text).toMatch(/^early-unpin +broken +NO +I10 /m);
    expect(text).toContain('    I10 handle 3 has no PTE; held by dom0\n    I10 … and 2 more\n    a note\n');
    expect(text.trimEnd()).toMatch(/2 of 3 designs, not as expected: early-unpin$/);
    expect(text.split('a note')).toHaveLength(2); // a design that did as expected keeps its notes to itself
  });

  test('fits a narrow terminal', () => {
    const text = humanReport(scenario, all, { columns: 40, colour: false });
    const body = text.split('\n').filter((line) => !line.startsWith('small:') && !line.startsWith('overlap:'));
    expect(Math.max(...body.map((line) => line.length))).toBeLessThanOrEqual(56);
    expect(text).toContain('verdict     broken');
  });

  test('paints a line only when asked to', () => {
    expect(humanReport(scenario, all, { columns: Infinity, colour: true })).toContain('\u001b[31mearly-unpin');
    expect(humanReport(scenario, all, { columns: Infinity, colour: false })).not.toContain('\u001b');
  });

  test('says of a debug hypervisor that no recording covers it', () => {
    const debug = { ...scenario, hypervisor: { build: 'debug' as const, quantum: 0, twin: '' as const } };
    expect(humanReport(debug, all, { columns: Infinity, colour: false })).toContain(
      'by reference, no recording covers it',
    );
  });
});
