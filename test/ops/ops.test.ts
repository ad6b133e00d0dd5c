import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import * as atomics from '../../src/ops/atomics.js';
import { TOTAL_WORDS, words } from '../../src/ops/memory.js';
import type { Ops } from '../../src/ops/ops.js';
import * as plain from '../../src/ops/plain.js';
import * as wasm from '../../src/ops/wasm.js';

const IMPLEMENTATIONS: readonly (readonly [string, Ops])[] = [
  ['plain', plain],
  ['atomics', atomics],
  ['wasm', wasm],
];

/** Each implementation works in a region of its own; addresses of a program are offsets into it. */
const REGION = 32;
const BASES = [1024, 2048, 3072];

/** Few values, so that compare-exchanges often succeed; the corners, signed and unsigned; anything. */
const value = fc.oneof(
  fc.integer({ min: 0, max: 2 }),
  fc.constantFrom(-1, 0x7fffffff, -0x80000000, 0x80000000, 0xffffffff, 0xffff, 0x10000),
  fc.integer(),
);
const half = fc.oneof(fc.integer({ min: 0, max: 2 }), fc.constantFrom(0x7fff, 0x8000, 0xffff));
const at = fc.integer({ min: 0, max: REGION - 1 });
const even = fc.integer({ min: 0, max: REGION / 2 - 1 }).map((i) => 2 * i);
const range = fc.tuple(at, fc.integer({ min: 0, max: REGION })).map(([a, n]) => [a, Math.min(n, REGION - a)] as const);

type Step = (o: Ops, base: number) => number;

const high = (o: Ops, lo: number): number => Math.imul(lo, 31) ^ o.hi64();

const step: fc.Arbitrary<Step> = fc.oneof(
  at.map(
    (a): Step =>
      (o, b) =>
        o.ld(b + a),
  ),
  at.map(
    (a): Step =>
      (o, b) =>
        o.ldPlain(b + a),
  ),
  fc.tuple(at, value).map(
    ([a, v]): Step =>
      (o, b) => (o.st(b + a, v), 0),
  ),
  fc.tuple(at, value).map(
    ([a, v]): Step =>
      (o, b) => (o.stPlain(b + a, v), 0),
  ),
  fc.tuple(even, value, value).map(
    ([a, v, w]): Step =>
      (o, b) => (o.stPlain64(b + a, v, w), o.ld64(b + a)),
  ),
  fc.tuple(at, value, value).map(
    ([a, v, w]): Step =>
      (o, b) =>
        o.cas(b + a, v, w),
  ),
  fc.tuple(at, value).map(
    ([a, v]): Step =>
      (o, b) =>
        o.add(b + a, v),
  ),
  fc.tuple(at, value).map(
    ([a, v]): Step =>
      (o, b) =>
        o.and(b + a, v),
  ),
  fc.tuple(at, value).map(
    ([a, v]): Step =>
      (o, b) =>
        o.or(b + a, v),
  ),
  fc.tuple(at, value).map(
    ([a, v]): Step =>
      (o, b) =>
        o.xchg(b + a, v),
  ),
  fc.tuple(at, fc.boolean(), half, half).map(
    ([a, up, v, w]): Step =>
      (o, b) =>
        o.cas16(2 * (b + a) + (up ? 1 : 0), v, w),
  ),
  even.map(
    (a): Step =>
      (o, b) =>
        high(o, o.ld64(b + a)),
  ),
  fc.tuple(even, value, value).map(
    ([a, v, w]): Step =>
      (o, b) => (o.st64(b + a, v, w), 0),
  ),
  fc.tuple(even, value, value).map(
    ([a, v, w]): Step =>
      (o, b) =>
        high(o, o.xchg64(b + a, v, w)),
  ),
  fc.tuple(even, value, value, value, value).map(
    ([a, v, w, x, y]): Step =>
      (o, b) =>
        o.cas64(b + a, v, w, x, y),
  ),
  range.map(
    ([a, n]): Step =>
      (o, b) => (o.fill(b + a, n), 0),
  ),
  fc.tuple(range, at).map(
    ([[a, n], to]): Step =>
      (o, b) => (o.copy(b + to, b + a, Math.min(n, REGION - to)), 0),
  ),
);

beforeEach(() => words.fill(0));

describe('ops', () => {
  it('are the same in all three implementations: every answer and every word', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (program) => {
        const seen = IMPLEMENTATIONS.map(([, o], i) => {
          const base = BASES[i] ?? 0;
          words.fill(0, base - 1, base + REGION + 1);
          const answers = program.map((s) => s(o, base));
          return { answers, memory: [...words.subarray(base - 1, base + REGION + 1)] };
        });
        expect(seen[1]).toEqual(seen[0]);
        expect(seen[2]).toEqual(seen[0]);
      }),
      { numRuns: 1000 },
    );
  });

  describe.each(IMPLEMENTATIONS)('%s', (_name, o) => {
    it('answers old words signed, whatever was stored', () => {
      o.st(1024, 0xffffffff);
      expect(o.ld(1024)).toBe(-1);
      expect(o.add(1024, 1)).toBe(-1);
      expect(o.xchg(1024, 0x80000000)).toBe(0);
      expect(o.cas(1024, 0x80000000, 7)).toBe(-0x80000000);
      expect(o.ld(1024)).toBe(7);
    });

    it('compare-exchanges 64 bits only when both words match', () => {
      o.st64(1024, -1, 0x80000000);
      expect(o.cas64(1024, -1, 0, 1, 1)).toBe(0);
      expect(o.cas64(1024, 0, 0x80000000, 1, 1)).toBe(0);
      expect(o.ld64(1024)).toBe(-1);
      expect(o.hi64()).toBe(-0x80000000);
      expect(o.cas64(1024, 0xffffffff, -0x80000000, 5, 6)).toBe(1);
      expect([words[1024], words[1025]]).toEqual([5, 6]);
    });

    it('keeps the high word of the last 64-bit read over other operations', () => {
      o.st64(1024, 1, 2);
      o.st64(1026, 3, 4);
      expect(o.ld64(1024)).toBe(1);
      o.st(1028, 9);
      o.cas64(1026, 3, 4, 5, 6);
      expect(o.hi64()).toBe(2);
      expect(o.xchg64(1026, 7, -8)).toBe(5);
      expect(o.hi64()).toBe(6);
      expect(o.xchg64(1026, 0, 0)).toBe(7);
      expect(o.hi64()).toBe(-8);
    });

    it('compare-exchanges one half of a word and leaves the other', () => {
      o.st(1024, 0x8001ffff);
      expect(o.cas16(2048, 0xffff, 0)).toBe(0xffff);
      expect(words[1024]).toBe(0x80010000 | 0);
      expect(o.cas16(2049, 0x8000, 1)).toBe(0x8001);
      expect(o.cas16(2049, 0x8001, 0xffff)).toBe(0x8001);
      expect(words[1024]).toBe(0xffff0000 | 0);
    });

    it('copies overlapping ranges as if through a buffer, both ways', () => {
      for (let i = 0; i < 8; i++) o.st(1024 + i, i);
      o.copy(1026, 1024, 6);
      expect([...words.subarray(1024, 1032)]).toEqual([0, 1, 0, 1, 2, 3, 4, 5]);
      o.copy(1024, 1026, 6);
      expect([...words.subarray(1024, 1032)]).toEqual([0, 1, 2, 3, 4, 5, 4, 5]);
      o.fill(1025, 0);
      expect(words[1025]).toBe(1);
    });

    it('reaches the last words of the memory', () => {
      const last = TOTAL_WORDS - 1;
      o.st(last, 11);
      expect(o.ld(last)).toBe(11);
      expect(o.cas(last, 11, 12)).toBe(11);
      expect(o.cas16(2 * last + 1, 0, 0xabcd)).toBe(0);
      expect(o.ld(last)).toBe(0xabcd000c | 0);
      o.st64(last - 1, 3, 4);
      expect(o.xchg64(last - 1, 5, 6)).toBe(3);
      expect(o.hi64()).toBe(4);
      expect(o.cas64(last - 1, 5, 6, 7, 8)).toBe(1);
      o.copy(last - 3, last - 1, 2);
      expect([...words.subarray(last - 3)]).toEqual([7, 8, 7, 8]);
      o.fill(last - 3, 4);
      expect([...words.subarray(last - 3)]).toEqual([0, 0, 0, 0]);
    });
  });
});
