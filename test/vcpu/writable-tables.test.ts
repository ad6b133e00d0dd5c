/** Stores to a read-only mapping of an L1 in use are emulated as checked updates; everything else faults ([X36]). */
import { beforeEach, describe, expect, it } from 'vitest';
import { mfnWord, type Mfn, type Va } from '../../src/abi/frames.js';
import { entryLo } from '../../src/abi/pte.js';
import { HYPERVISOR_vm_assist } from '../../src/abi/hypercall.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { countInfo, PGC_count_mask, PGT_count_mask, typeInfo } from '../../src/machine/frame.js';
import { FRAMES } from '../../src/machine/layout.js';
import { words } from '../../src/ops/memory.js';
import { hi64, run } from '../../src/sync/primitives.js';
import type { Vcpu } from '../../src/vcpu/guest-cpu.js';
import { ALIAS_L1, ALIAS_L2, bootGuest, DATA, HOLE, kernelVa, Noted, processor, type Image } from './guest.js';

const VMASST_writable_pagetables = 2;
const SLOT = kernelVa(ALIAS_L1, 8 * HOLE);
let image: Image;
let handlers: Noted;
let g: Vcpu;
let spare: Mfn;

beforeEach(() => {
  image = bootGuest();
  handlers = new Noted();
  g = processor(image, 0, handlers);
  spare = image.spare.at(-1) as Mfn;
  run(function* () {
    yield* g.start();
    g.arg(0, 0, 0);
    g.arg(1, VMASST_writable_pagetables, 0);
    expect(yield* g.hypercall(HYPERVISOR_vm_assist)).toBe(0);
  });
});

const slot = (): [number, number] => {
  const a = mfnWord(image.l1) + 2 * HOLE;
  return [words[a] as number, words[a + 1] as number];
};
const refs = (mfn: Mfn): [number, number] => [
  (words[countInfo(mfn)] as number) & PGC_count_mask,
  (words[typeInfo(mfn)] as number) & PGT_count_mask,
];
const emulated = (): number => words[vcpu.nEmulations(g.cpu)] as number;

describe('a store to the alias of an L1 in use', () => {
  it('makes the entry, adjusted, with its references; the new mapping works at once', () => {
    run(function* () {
      yield* g.store(SLOT, entryLo(spare, 0x63), 0);
      yield* g.store32(kernelVa(HOLE), 42);
    });
    // Accessed and dirty were given; the kernel's page is marked by bit 52 and gets the user bit.
    expect(slot()).toEqual([entryLo(spare, 0x67), 0x00100000]);
    expect(refs(spare)).toEqual([2, 1]);
    expect([words[mfnWord(spare)], emulated(), handlers.log]).toEqual([42, 1, []]);
  });

  it('may come in halves, bytes, compare-exchanges and exchanges', () => {
    run(function* () {
      yield* g.store32(SLOT, entryLo(spare, 0x67));
      expect(refs(spare)).toEqual([2, 1]);
      yield* g.store8(SLOT, 0x65);
      expect(refs(spare)).toEqual([2, 0]);
      yield* g.store16((SLOT + 6) as Va, 0x8000);
      expect(yield* g.cmpxchg(SLOT, 1, 1, 0, 0)).toBe(0);
      expect(yield* g.cmpxchg(SLOT, slot()[0], slot()[1], entryLo(spare, 0x67), 0)).toBe(1);
      expect(refs(spare)).toEqual([2, 1]);
      const was = slot();
      const lo = yield* g.xchg(SLOT, 0, 0);
      expect([lo, hi64()]).toEqual(was);
    });
    expect(slot()).toEqual([0, 0]);
    expect(refs(spare)).toEqual([1, 0]);
    expect(handlers.log).toEqual([]);
  });

  it('that is refused gives the guest its fault with code 3 and changes nothing', () => {
    run(function* () {
      yield* g.store(SLOT, entryLo(image.l1, 0x67), 0);
      yield* g.store(SLOT, entryLo(FRAMES as Mfn, 0x67), 0);
      expect(yield* g.cmpxchg(SLOT, 0, 0, entryLo(image.l1, 0x67), 0)).toBe(0);
    });
    expect(handlers.log).toEqual(Array(3).fill(`fault kernel ${String(ALIAS_L1)}+${String(8 * HOLE)} 3`));
    expect([slot(), emulated()]).toEqual([[0, 0], 0]);
  });

  it('is not emulated from user mode, nor across entries, nor for a whole page', () => {
    run(function* () {
      yield* g.store((SLOT + 4) as Va, 0, 0);
      yield* g.clearPage(kernelVa(ALIAS_L1));
      yield* g.toUser();
      yield* g.store(SLOT, 0, 0);
    });
    expect(emulated()).toBe(0);
    expect(handlers.log.map((l) => l.split(' ').slice(3).join(' '))).toEqual(['3', '3', '6']);
  });

  it('raw words of an entry that is not present are stored as they are', () => {
    run(function* () {
      yield* g.store(SLOT, 0x5a, -1);
    });
    expect(slot()).toEqual([0x5a, -1]);
  });
});

describe('a store to the alias of a table above', () => {
  it('is a plain page fault', () => {
    run(function* () {
      yield* g.store(kernelVa(ALIAS_L2, 8), entryLo(image.l1, 0x67), 0);
    });
    expect([handlers.log, emulated()]).toEqual([[`fault kernel ${String(ALIAS_L2)}+8 3`], 0]);
  });
});

describe('a read of the alias', () => {
  it('shows the entries as they are stored', () => {
    const got = run(function* () {
      return [yield* g.load(kernelVa(ALIAS_L1, 8 * DATA)), hi64()];
    });
    expect(got[0]).toBe(words[mfnWord(image.l1) + 2 * DATA]);
    expect(got[1]).toBe(0x00100000);
  });
});
