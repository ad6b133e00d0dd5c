/** The WebAssembly kernels against their plain twins, over random frames and tables. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mfnWord, PAGE_WORDS, type Mfn } from '../../src/abi/frames.js';
import { ENTRIES, PAGE_NX_HI, PAGE_PAT, PAGE_PCD, PAGE_PWT } from '../../src/abi/pte.js';
import { FLUSH_CLOCK } from '../../src/machine/clock.js';
import * as chosen from '../../src/machine/kernels/index.js';
import { CHANGED_HANDS, type Kernels } from '../../src/machine/kernels/kernels.js';
import { twin } from '../../src/machine/kernels/twin.js';
import { wasmKernels } from '../../src/machine/kernels/wasm.js';
import { FRAME_TABLE, FRAME_WORDS, FRAMES } from '../../src/machine/layout.js';
import {
  countInfo,
  ownerWord,
  PGC_allocated,
  PGC_count_mask,
  PGC_xen_heap,
  PGT_l1_page_table,
  PGT_locked,
  PGT_partial,
  PGT_validated,
  PGT_writable_page,
  stampWord,
  typeInfo,
} from '../../src/machine/frame.js';
import { words } from '../../src/ops/memory.js';
import { BUILD } from '../../src/sync/primitives.js';

const build: string = BUILD;
const wasm = wasmKernels();
const TABLE = 7 as Mfn;
const OUT = mfnWord(9 as Mfn);
/** Frames that the random entries name. */
const FIRST = 16;
const COUNT = 24;
const OWNER = 3;
const BAD_LO = PAGE_PAT | PAGE_PCD | PAGE_PWT;
const BAD_HI = 1 << 30;
const TOP = PGC_count_mask;

interface Frame {
  readonly count: number;
  readonly type: number;
  readonly owner: number;
}
interface Entry {
  readonly frame: number;
  readonly lo: number;
  readonly hi: number;
}

const WRITABLE = PGT_writable_page | PGT_validated;
const goodFrame: fc.Arbitrary<Frame> = fc.record({
  count: fc.integer({ min: 1, max: 5 }).map((n) => n | PGC_allocated),
  type: fc.integer({ min: 0, max: 4 }).map((n) => n | WRITABLE),
  owner: fc.constant(OWNER | (5 << 16)),
});
const anyFrame: fc.Arbitrary<Frame> = fc.record({
  count: fc
    .tuple(
      fc.constantFrom(0, 1, 2, 3, TOP - 2, TOP - 1, TOP),
      fc.constantFrom(0, PGC_allocated, PGT_locked, PGC_xen_heap),
    )
    .map(([n, flags]) => n | flags),
  type: fc
    .tuple(
      fc.constantFrom(0, 1, 2, 3, TOP),
      fc.constantFrom(
        WRITABLE,
        PGT_writable_page,
        PGT_l1_page_table | PGT_validated,
        PGT_writable_page | PGT_partial,
        0,
      ),
    )
    .map(([n, type]) => n | type),
  owner: fc.constantFrom(OWNER, OWNER + 1, 0xffff),
});
const goodEntry: fc.Arbitrary<Entry> = fc.record({
  frame: fc.integer({ min: FIRST, max: FIRST + COUNT - 1 }),
  lo: fc.constantFrom(0x000, 0x001, 0x003, 0x005, 0x007, 0x063, 0x067, 0xe65, 0x107),
  hi: fc.constantFrom(0, PAGE_NX_HI, 0x00100000, 0x7ff00000 & ~BAD_HI),
});
const anyEntry: fc.Arbitrary<Entry> = fc.record({
  frame: fc.constantFrom(FIRST, FIRST + 1, FIRST + 2, FRAMES - 1, FRAMES, 0xfffff),
  lo: fc.constantFrom(0x007, 0x001, 0x087, 0x01f),
  hi: fc.constantFrom(0, 1, 0xfffff, BAD_HI, 0x00200000),
});
/** Mostly entries and frames of the common kind, so that runs get far, and a few of every other. */
const world = fc.record({
  frames: fc.array(fc.oneof({ weight: 30, arbitrary: goodFrame }, { weight: 1, arbitrary: anyFrame }), {
    minLength: COUNT,
    maxLength: COUNT,
  }),
  entries: fc.array(fc.oneof({ weight: 200, arbitrary: goodEntry }, { weight: 1, arbitrary: anyEntry }), {
    minLength: ENTRIES,
    maxLength: ENTRIES,
  }),
  from: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: ENTRIES })),
  to: fc.oneof(fc.constant(ENTRIES), fc.integer({ min: 0, max: ENTRIES })),
});
type World = typeof world extends fc.Arbitrary<infer T> ? T : never;

function lay(w: World): void {
  w.frames.forEach((f, i) => {
    const mfn = (FIRST + i) as Mfn;
    words[countInfo(mfn)] = f.count;
    words[typeInfo(mfn)] = f.type;
    words[ownerWord(mfn)] = f.owner;
    words[stampWord(mfn)] = 0;
  });
  w.entries.forEach((e, i) => {
    words[mfnWord(TABLE) + 2 * i] = (e.frame << 12) | e.lo;
    words[mfnWord(TABLE) + 2 * i + 1] = e.hi;
  });
  words[FLUSH_CLOCK] = 77;
}

const records = (): Int32Array =>
  words.slice(FRAME_TABLE + FIRST * FRAME_WORDS, FRAME_TABLE + (FIRST + COUNT) * FRAME_WORDS);
const table = (): Int32Array => words.slice(mfnWord(TABLE), mfnWord(TABLE) + PAGE_WORDS);

/** The kernel's answer, and all that it may have written. */
function outcome(w: World, f: (k: Kernels) => number, k: Kernels): { answer: number; state: string } {
  lay(w);
  const answer = f(k);
  return { answer, state: [...records(), ...table()].join() };
}

const validate = (k: Kernels, from: number): number =>
  k.validateL1(mfnWord(TABLE), from, OWNER, FRAME_TABLE, FRAMES, BAD_LO, BAD_HI);
const unvalidate = (k: Kernels, from: number, to: number): number =>
  k.unvalidateL1(mfnWord(TABLE), from, to, FRAME_TABLE, FRAMES, BAD_HI, FLUSH_CLOCK);

/** Frames whose references can be dropped as easily as taken. */
const general = (w: World): boolean => w.frames.every((f) => (f.count & (PGT_locked | PGC_xen_heap)) === 0);

describe('kernels', () => {
  it('validation: WebAssembly and twin stop at the same entry with the same counts and entries', () => {
    let complete = 0;
    let stopped = 0;
    fc.assert(
      fc.property(world, (w) => {
        const a = outcome(w, (k) => validate(k, w.from), twin);
        expect(outcome(w, (k) => validate(k, w.from), wasm)).toEqual(a);
        if (a.answer === ENTRIES) complete++;
        else stopped++;
      }),
      { seed: 11, numRuns: 300 },
    );
    expect(complete).toBeGreaterThan(10);
    expect(stopped).toBeGreaterThan(10);
  });

  it('devalidation: WebAssembly and twin stop at the same entry with the same counts and stamps', () => {
    fc.assert(
      fc.property(world, (w) => {
        const a = outcome(w, (k) => unvalidate(k, w.from, w.to), twin);
        expect(outcome(w, (k) => unvalidate(k, w.from, w.to), wasm)).toEqual(a);
      }),
      { seed: 12, numRuns: 300 },
    );
  });

  it.each([
    ['twin', twin],
    ['wasm', wasm],
  ])('%s: dropping what a stopped validation took leaves every count as it was', (_name, k) => {
    fc.assert(
      fc.property(world, (w) => {
        fc.pre(general(w));
        lay(w);
        const before = records();
        const stop = validate(k, 0);
        expect(stop & CHANGED_HANDS).toBe(0);
        expect(unvalidate(k, 0, stop)).toBe(stop);
        const after = records();
        for (let i = 0; i < COUNT; i++) {
          expect([after[4 * i], after[4 * i + 1]]).toEqual([before[4 * i], before[4 * i + 1]]);
        }
      }),
      { seed: 13, numRuns: 100 },
    );
  });

  it('runs of updates: WebAssembly and twin do as many with the same counts, entries and left-overs', () => {
    const reqs = mfnWord(9 as Mfn);
    const request = fc.record({
      index: fc.integer({ min: 0, max: 63 }),
      other: fc.oneof({ weight: 60, arbitrary: fc.constant(0) }, fc.constantFrom(1, 2, 4, 0x1000, -1)),
      entry: fc.oneof({ weight: 40, arbitrary: goodEntry }, anyEntry),
    });
    const program = fc.tuple(world, fc.array(request, { minLength: 1, maxLength: 32 }));
    const run = (
      w: World,
      requests: readonly (typeof request extends fc.Arbitrary<infer T> ? T : never)[],
      k: Kernels,
    ) => {
      lay(w);
      requests.forEach((r, i) => {
        const ptr = (TABLE << 12) | (8 * r.index);
        words[reqs + 4 * i] = r.other === -1 ? ptr : ptr ^ r.other;
        words[reqs + 4 * i + 1] = r.other === -1 ? 1 : 0;
        words[reqs + 4 * i + 2] = (r.entry.frame << 12) | r.entry.lo;
        words[reqs + 4 * i + 3] = r.entry.hi;
      });
      const n = requests.length;
      const answer = k.updateL1(reqs, n, TABLE, OWNER, FRAME_TABLE, FRAMES, BAD_LO, BAD_HI, FLUSH_CLOCK);
      return { answer, state: [...records(), ...table(), ...words.slice(reqs, reqs + 4 * n)].join() };
    };
    const done = new Set<boolean>();
    fc.assert(
      fc.property(program, ([w, requests]) => {
        const a = run(w, requests, twin);
        expect(run(w, requests, wasm)).toEqual(a);
        done.add(a.answer === requests.length);
      }),
      { seed: 15, numRuns: 600 },
    );
    expect(done.size).toBe(2);
  });

  it('an entry is stored as Xen adjusts it: kernel pages marked, user pages global', () => {
    const frames = Array.from({ length: COUNT }, () => ({ count: 2 | PGC_allocated, type: WRITABLE, owner: OWNER }));
    const entries = Array.from({ length: ENTRIES }, (_, i) => ({
      frame: FIRST,
      lo: i === 0 ? 0x003 : i === 1 ? 0x007 : i === 2 ? 0x005 : 0,
      hi: i === 2 ? 0x00100000 : 0,
    }));
    for (const k of [twin, wasm]) {
      lay({ frames, entries, from: 0, to: ENTRIES });
      expect(validate(k, 0)).toBe(ENTRIES);
      expect([...table().slice(0, 6)]).toEqual([
        (FIRST << 12) | 0x007,
        0x00100000,
        (FIRST << 12) | 0x107,
        0,
        (FIRST << 12) | 0x005,
        0x00100000,
      ]);
      expect([words[countInfo(FIRST as Mfn)], words[typeInfo(FIRST as Mfn)]]).toEqual([
        5 | PGC_allocated,
        WRITABLE + 2,
      ]);
    }
  });

  it('counts and lists present entries alike', () => {
    fc.assert(
      fc.property(world, (w) => {
        lay(w);
        const expected = w.entries.flatMap((e, i) => ((e.lo & 1) !== 0 ? [i] : []));
        for (const k of [twin, wasm]) {
          expect(k.countPresent(mfnWord(TABLE))).toBe(expected.length);
          expect(k.listPresent(mfnWord(TABLE), OUT)).toBe(expected.length);
          expect([...words.slice(OUT, OUT + expected.length)]).toEqual(expected);
        }
      }),
      { seed: 14, numRuns: 50 },
    );
  });

  it('zeroes and copies exactly one page', () => {
    for (const k of [twin, wasm]) {
      const from = mfnWord(30 as Mfn);
      for (let i = -1; i <= PAGE_WORDS; i++) words[from + i] = i + 5;
      const to = mfnWord(40 as Mfn);
      words.fill(-1, to - 1, to + PAGE_WORDS + 1);
      k.copyPage(to, from);
      expect([words[to - 1], words[to], words[to + PAGE_WORDS - 1], words[to + PAGE_WORDS]]).toEqual([-1, 5, 1028, -1]);
      k.zeroPage(to);
      expect(words.slice(to - 1, to + PAGE_WORDS + 1).filter((x) => x !== 0).length).toBe(2);
    }
  });

  it('the build uses the implementation that fits it', () => {
    expect(chosen.validateL1 === twin.validateL1).toBe(build === 'controlled');
  });
});
