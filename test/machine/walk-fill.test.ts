/** The kernel `walkFill` against its twin, over random entries on all four levels. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { makeVa, mfnWord, type Mfn, type Va } from '../../src/abi/frames.js';
import { PAGE_ACCESSED, PAGE_DIRTY } from '../../src/abi/pte.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { ownerWord } from '../../src/machine/frame.js';
import type { Kernels } from '../../src/machine/kernels/kernels.js';
import { twin } from '../../src/machine/kernels/twin.js';
import { wasmKernels } from '../../src/machine/kernels/wasm.js';
import { FRAME_TABLE, FRAMES, TLB_SLOT_WORDS, tlbOf } from '../../src/machine/layout.js';
import { slotIsLive, slotIsWritable, slotMfn, slotOf, slotPage } from '../../src/machine/tlb-slot.js';
import { ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE, tlbInit } from '../../src/machine/tlb.js';
import { words } from '../../src/ops/memory.js';
import { CONTROL } from '../../src/sync/actor.js';
import { pokeDouble } from '../../src/sync/primitives.js';

const wasm = wasmKernels();
const ROOT = 20;
const DATA = 24;
const slot = slotOf(tlbOf(0), makeVa(300, 5, 511, 17));

/** Mostly an entry that lets the walk through; sometimes one with a bit too few or too many, or a frame that is none. */
const entry: fc.Arbitrary<{ lo: number; hi: number; frame: number }> = fc.record({
  lo: fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(0x67, 0x27, 0x167, 0x65, 0x63) },
    fc.constantFrom(0, 0x66, 0xe7, 0x47, 0x7),
  ),
  hi: fc.oneof({ weight: 12, arbitrary: fc.constant(0) }, fc.constantFrom(1 << 31, 1, 0x000fffff, 0x7ff00000)),
  frame: fc.oneof({ weight: 20, arbitrary: fc.constant(0) }, fc.constantFrom(FRAMES, 0xfffff)),
});
interface Miss {
  readonly entries: readonly { lo: number; hi: number; frame: number }[];
  readonly path: readonly number[];
  readonly access: number;
  readonly root: number;
}
const miss: fc.Arbitrary<Miss> = fc.record({
  entries: fc.array(entry, { minLength: 4, maxLength: 4 }),
  path: fc.tuple(...[511, 511, 511, 511, 4095].map((max) => fc.integer({ min: 0, max }))),
  access: fc.constantFrom(ACCESS_READ, ACCESS_WRITE, ACCESS_EXEC),
  root: fc.oneof({ weight: 20, arbitrary: fc.constant(ROOT) }, fc.constant(-1)),
});

const vaOf = ({ path: [l4, l3, l2, l1, offset] }: Miss): Va => makeVa(l4 ?? 0, l3, l2, l1, offset);
/** Address of the entry of level 4 - i. */
const entryAt = (m: Miss, i: number): number => mfnWord((ROOT + i) as Mfn) + 2 * (m.path[i] ?? 0);

/** The answer, the entries and the slot that one implementation leaves behind. */
function outcome(m: Miss, k: Kernels): readonly number[] {
  words.fill(0, mfnWord(ROOT as Mfn), mfnWord(DATA as Mfn));
  m.entries.forEach((e, i) => {
    const frame = e.frame === 0 ? ROOT + i + 1 : e.frame;
    words[entryAt(m, i)] = (frame << 12) | e.lo;
    words[entryAt(m, i) + 1] = e.hi;
  });
  tlbInit(CONTROL);
  pokeDouble(vcpu.tlbKey(CONTROL), 7 * 2 ** 48);
  pokeDouble(vcpu.tlbGlobalKey(CONTROL), 0xfffe * 2 ** 48);
  words[ownerWord(DATA as Mfn)] = 0x50003;
  const at = slotOf(tlbOf(0), vaOf(m));
  const answer = k.walkFill(vaOf(m), m.root, at, vcpu.tlbKey(CONTROL), m.access, FRAME_TABLE, FRAMES);
  if (answer >= 0) expect([slotIsLive(CONTROL, at), slotPage(at)]).toEqual([true, vaOf(m) - (vaOf(m) & 4095)]);
  const tables = m.entries.flatMap((_, i) => [words[entryAt(m, i)] ?? 0, words[entryAt(m, i) + 1] ?? 0]);
  return [answer, ...tables, ...words.slice(at, at + TLB_SLOT_WORDS)];
}

it('answers, sets and remembers what the twin does', () => {
  let filled = 0;
  let refused = 0;
  fc.assert(
    fc.property(miss, (m) => {
      const expected = outcome(m, twin);
      expect(outcome(m, wasm)).toEqual(expected);
      if ((expected[0] ?? -1) < 0) refused++;
      else filled++;
    }),
    { seed: 21, numRuns: 2000 },
  );
  expect(Math.min(filled, refused)).toBeGreaterThan(300);
});

it.each([
  ['twin', twin],
  ['wasm', wasm],
])('%s: a write sets A and D of the leaf and makes the slot writable, a read sets A alone', (_name, k) => {
  const m = (access: number): Miss => ({
    entries: [0x67, 0x67, 0x67, 0x07].map((lo) => ({ lo, hi: 0, frame: 0 })),
    path: [300, 5, 511, 17, 8],
    access,
    root: ROOT,
  });
  const leaf = (): number => (words[entryAt(m(ACCESS_READ), 3)] ?? 0) & 0xfff;
  expect(outcome(m(ACCESS_READ), k)[0]).toBe(mfnWord(DATA as Mfn) + 2);
  expect([leaf(), slotMfn(slot), slotIsWritable(slot)]).toEqual([0x07 | PAGE_ACCESSED, DATA, false]);
  expect(outcome(m(ACCESS_WRITE), k)[0]).toBe(mfnWord(DATA as Mfn) + 2);
  expect([leaf(), slotMfn(slot), slotIsWritable(slot)]).toEqual([0x07 | PAGE_ACCESSED | PAGE_DIRTY, DATA, true]);
});
