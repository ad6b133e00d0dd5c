import { describe, expect, test } from 'vitest';
import { compareAnswer, compareProbes, type Answer, type ProbeState } from '../../src/lab/tape/compare.js';
import { opSchema, type Op } from '../../src/lab/tape/schema.js';

const op = (o: object): Op => opSchema.parse(o);
const peek = (v: unknown): Op => op({ op: 'peek', f: 'f1', i: 0, expect: { rc: 0, v } });
const none = new Set<string>();
const upper = new Set(['f1']);
const fields = (o: Op, a: Answer, u = none): string[] => compareAnswer(o, a, u).map((d) => d.field);

describe('comparing answers', () => {
  test('equal answers are equal, and every field that differs, is missing or is extra is named', () => {
    const o = op({ op: 'mmuext', ops: [], expect: { rc: 0, done: 1, types: { f1: null } } });
    expect(fields(o, { rc: 0, done: 1 })).toEqual([]);
    expect(fields(o, { rc: -22, done: 0 })).toEqual(['rc', 'done']);
    expect(fields(o, { rc: 0 })).toEqual(['done']);
    expect(fields(o, { rc: 0, done: 1, status: 0 })).toEqual(['status']);
  });

  test('batches are compared entry by entry', () => {
    const o = op({ op: 'gnt_unmap', unmaps: [], expect: { rc: 0, status: [0, -4] } });
    expect(fields(o, { rc: 0, status: [0, -4] })).toEqual([]);
    expect(fields(o, { rc: 0, status: [0, -1] })).toEqual(['status']);
    expect(fields(o, { rc: 0, status: [0] })).toEqual(['status']);
  });

  test('accessed and dirty bits count in level 1 entries and not above', () => {
    expect(fields(peek({ f: 'f2', fl: '0x7' }), { rc: 0, v: { f: 'f2', fl: '0x67' } })).toEqual(['v']);
    expect(fields(peek({ f: 'f2', fl: '0x7' }), { rc: 0, v: { f: 'f2', fl: '0x67' } }, upper)).toEqual([]);
    expect(fields(peek({ f: 'f2', fl: '0x7' }), { rc: 0, v: { f: 'f2', fl: '0x5' } }, upper)).toEqual(['v']);
    expect(fields(peek({ f: 'f2', fl: '0x7' }), { rc: 0, v: { f: 'f3', fl: '0x7' } }, upper)).toEqual(['v']);
  });

  test("Xen's own entries are not compared, but there must be one", () => {
    expect(fields(peek('xen'), { rc: 0, v: { f: 'other', fl: '0x63' } })).toEqual([]);
    expect(fields(peek('xen'), { rc: 0 })).toEqual(['v']);
  });

  test("a snapshot of an L4 leaves out Xen's entries, but not the self map and not the guest's", () => {
    const self = { f: 'f1', fl: '0x63' };
    const o = op({ op: 'snap', f: 'f1', expect: { rc: 0, v: { '256': 'xen', '258': self, '511': '0x7' } } });
    const other = { f: 'other', fl: '0x63' };
    expect(fields(o, { rc: 0, v: { '257': other, '258': self, '511': '0x7' } }, upper)).toEqual([]);
    expect(fields(o, { rc: 0, v: { '258': other, '511': '0x7' } }, upper)).toEqual(['v[258]']);
    expect(fields(o, { rc: 0, v: { '258': self } }, upper)).toEqual(['v[511]']);
    expect(fields(o, { rc: 0, v: { '255': '0x1', '258': self, '511': '0x7' } }, upper)).toEqual(['v[255]']);
  });

  test('a snapshot without such entries hides nothing', () => {
    const o = op({ op: 'snap', f: 'f1', expect: { rc: 0, v: { '0': '0x1' } } });
    expect(fields(o, { rc: 0, v: { '0': '0x1', '260': '0x1' } })).toEqual(['v[260]']);
    expect(fields(o, { rc: -16 })).toEqual(['rc', 'v']);
  });

  test('a snapshot of a full frame is compared as far as it was recorded', () => {
    const words = (n: number): Record<string, string> =>
      Object.fromEntries(Array.from({ length: n }, (_, i) => [String(i), '0x1']));
    const o = op({ op: 'snap', f: 'f1', expect: { rc: 0, v: words(24) } });
    expect(fields(o, { rc: 0, v: words(30) })).toEqual([]);
    expect(fields(o, { rc: 0, v: words(20) })).toHaveLength(4);
  });
});

describe('comparing probes', () => {
  const state = (types: [string, string | null][], grants: ProbeState['grants'] = new Map()): ProbeState => ({
    types: new Map(types),
    doms: new Map([['d0', { dying: 0, shutdown: 0, tot: 0, shr: 0 }]]),
    grants,
  });

  test('what is not listed in either has no owner', () => {
    expect(compareProbes(state([]), state([['f1', null]]))).toEqual([]);
    expect(compareProbes(state([['f1', null]]), state([]))).toEqual([]);
    expect(compareProbes(state([]), state([['f1', 'd0:NOTAB']]))).toMatchObject([
      { field: 'types.f1', expected: null },
    ]);
    expect(compareProbes(state([['f1', 'd0:L1']]), state([]))).toMatchObject([{ field: 'types.f1', actual: null }]);
  });

  test('a status word of zero is as good as none; any other counts', () => {
    const grants = (status?: number): ProbeState['grants'] =>
      new Map([
        ['d1.0', status === undefined ? { flags: 1, dom: 'd0', f: 'f1' } : { flags: 1, dom: 'd0', f: 'f1', status }],
      ]);
    expect(compareProbes(state([], grants()), state([], grants(0)))).toEqual([]);
    expect(compareProbes(state([], grants()), state([], grants(8)))).toMatchObject([{ field: 'grants.d1.0' }]);
  });
});
