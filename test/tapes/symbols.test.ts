import { describe, expect, test } from 'vitest';
import { domainName, domidOf, Symbols, vaWord } from '../../src/lab/tape/symbols.js';
import { add64, fromInteger, hex64, parseHex } from '../../src/lab/tape/value.js';

describe('64-bit values', () => {
  test('hex goes into two words and back, whole', () => {
    for (const text of ['0x0', '0x7', '0xfffffffff', '0x8000000000000063', '0xffffffffffffffff', '0x100000000']) {
      const { lo, hi } = parseHex(text);
      expect(hex64(lo, hi)).toBe(text);
    }
    expect(parseHex('0x80000000ffffffff')).toEqual({ lo: -1, hi: -0x80000000 });
  });

  test('sums carry into the high word and wrap', () => {
    expect(add64(parseHex('0xffffffff'), fromInteger(1))).toEqual({ lo: 0, hi: 1 });
    expect(add64(parseHex('0xffffffffffffffff'), fromInteger(2))).toEqual({ lo: 1, hi: 0 });
  });
});

describe('symbols', () => {
  const symbols = new Symbols();
  symbols.define('f0', 0x123);
  symbols.define('KL3', 0xabcde);

  test('entries are made of a frame and flags on both ends', () => {
    const v = symbols.value({ f: 'f0', fl: '0x8010000000000067' });
    expect(hex64(v.lo, v.hi)).toBe('0x8010000000123067');
    expect(symbols.encode(v.lo, v.hi)).toEqual({ f: 'f0', fl: '0x8010000000000067' });
    const k = symbols.value({ f: 'KL3', fl: '0x7' });
    expect(hex64(k.lo, k.hi)).toBe('0xabcde007');
  });

  test('a bad frame and a name without one are far beyond memory', () => {
    for (const f of ['bad', 'f7']) {
      const v = symbols.value({ f, fl: '0x7' });
      expect(hex64(v.lo, v.hi)).toBe('0xfffff0000007');
    }
    expect(symbols.encode(7, 0xffff)).toEqual({ f: 'other', fl: '0x7' });
    expect(symbols.encode(parseHex('0xfffff0000005').lo, 0xffff)).toEqual({ f: 'bad', fl: '0x5' });
    expect(hex64(symbols.mfnWord('bad').lo, symbols.mfnWord('bad').hi)).toBe('0xfffff0000');
  });

  test('values without a frame stay raw, frames without a name are others', () => {
    expect(symbols.encode(0x5a, 0)).toBe('0x5a');
    expect(symbols.encode(0x61, 1 << 20)).toBe('0x10000000000061');
    expect(symbols.encode(0x124067, 0)).toEqual({ f: 'other', fl: '0x67' });
  });

  test('freed names keep matching until their frame has a newer name', () => {
    const s = new Symbols();
    s.define('f1', 9);
    s.define('f2', 9);
    expect([s.mfn('f1'), s.frameName(9, 0)]).toEqual([9, 'f2']);
  });

  test('domains and addresses', () => {
    for (const name of ['d0', 'd3', 'self', 'io', 'xen', 'inv', 'none']) expect(domainName(domidOf(name))).toBe(name);
    const hex = (va: number | string, off = 0): string => hex64(vaWord(va, off).lo, vaWord(va, off).hi);
    expect(hex(0)).toBe('0xffffa00000000000');
    expect(hex(512 * 3 + 5, 24)).toBe('0xffffa00000605018');
    expect(hex(512 ** 3)).toBe('0xffffa08000000000');
    expect(hex('0x1000', 8)).toBe('0x1008');
  });
});
