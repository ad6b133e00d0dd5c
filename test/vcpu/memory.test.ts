/** Loads and stores of every size, compare-exchanges, pages, faults and what the handler makes of them. */
import { beforeEach, describe, expect, it } from 'vitest';
import { mfnWord, type Va } from '../../src/abi/frames.js';
import { entryLo } from '../../src/abi/pte.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { words } from '../../src/ops/memory.js';
import { hi64, run } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { Vcpu } from '../../src/vcpu/guest-cpu.js';
import { bootGuest, DATA, DATA2, HOLE, kernelVa, Noted, NX, processor, RO, TEXT, userVa, type Image } from './guest.js';

let image: Image;
let handlers: Noted;
let g: Vcpu;

beforeEach(() => {
  image = bootGuest();
  handlers = new Noted();
  g = processor(image, 0, handlers);
  run(function* () {
    yield* g.start();
  });
});

const word = (page: number, i: number): number => words[mfnWord(image.page(page)) + i] as number;
/** The answer of a 64-bit read, both halves. */
const pair = (f: () => Steps<number>): [number, number] =>
  run(function* () {
    const lo = yield* f();
    return [lo, hi64()] as [number, number];
  });
const does = <T>(f: () => Steps<T>): T => run(f);

describe('loads and stores', () => {
  it('of all sizes read back what was stored, little end first', () => {
    does(function* () {
      yield* g.store(kernelVa(DATA, 8), 0x04030201, 0x08070605);
      yield* g.store32(kernelVa(DATA, 16), -2);
      yield* g.store16(kernelVa(DATA, 22), 0x1234);
      yield* g.store8(kernelVa(DATA, 21), 0xab);
    });
    expect([word(DATA, 2), word(DATA, 3), word(DATA, 4), word(DATA, 5)]).toEqual([
      0x04030201, 0x08070605, -2, 0x1234ab00,
    ]);
    expect(pair(() => g.load(kernelVa(DATA, 8)))).toEqual([0x04030201, 0x08070605]);
    expect(does(() => g.load32(kernelVa(DATA, 16)))).toBe(-2);
    expect(does(() => g.load16(kernelVa(DATA, 22)))).toBe(0x1234);
    expect([8, 11, 15, 21].map((o) => does(() => g.load8(kernelVa(DATA, o))))).toEqual([1, 4, 8, 0xab]);
  });

  it('need not be aligned, and may cross into the next page', () => {
    const va = kernelVa(DATA, 4091);
    does(() => g.store(va, 0x44332211, 0x88776655 | 0));
    expect(pair(() => g.load(va))).toEqual([0x44332211, 0x88776655 | 0]);
    expect(word(DATA, 1023) >>> 24).toBe(0x22 + 0x33);
    expect([word(DATA, 1022) >>> 24, word(DATA, 1023) >>> 0]).toEqual([0x11, 0x55443322]);
    expect(word(DATA2, 0) & 0xffffff).toBe(0x887766);
    expect(does(() => g.load16(kernelVa(DATA, 4095)))).toBe(0x6655);
  });

  it('a store across pages of which the second refuses writes nothing', () => {
    const va = kernelVa(RO, -3);
    does(() => g.store(va, -1, -1));
    expect(g.faulted()).toBe(true);
    expect(handlers.log).toEqual(['fault kernel 5+4 3']);
    expect(does(() => g.load32(kernelVa(RO, -4)))).toBe(0);
  });

  it('compare-exchange tells whether it took place, at 64, 32 and 16 bits', () => {
    const va = kernelVa(DATA, 64);
    const answers = does(function* () {
      yield* g.store(va, 7, 8);
      return [
        yield* g.cmpxchg(va, 7, 9, 1, 1),
        yield* g.cmpxchg(va, 7, 8, 0x00020001, -1),
        yield* g.cmpxchg32((va + 4) as Va, -2, 5),
        yield* g.cmpxchg32((va + 4) as Va, -1, 5),
        yield* g.cmpxchg16((va + 2) as Va, 1, 6),
        yield* g.cmpxchg16((va + 2) as Va, 2, 0xfffe),
      ];
    });
    expect(answers).toEqual([0, 1, 0, 1, 0, 1]);
    expect(pair(() => g.load(va))).toEqual([0xfffe0001 | 0, 5]);
    expect(pair(() => g.xchg(va, 1, 2))).toEqual([0xfffe0001 | 0, 5]);
    expect(pair(() => g.load(va))).toEqual([1, 2]);
  });

  it('a compare-exchange that is not aligned is refused', () => {
    expect(does(() => g.cmpxchg(kernelVa(DATA, 4), 0, 0, 1, 1))).toBe(0);
    expect(g.faulted()).toBe(true);
    expect(word(DATA, 1)).toBe(0);
  });

  it('pages are cleared and copied, words moved in and out over page borders', () => {
    does(function* () {
      yield* g.store32(kernelVa(DATA, 4), 11);
      yield* g.store32(kernelVa(DATA, 4092), 12);
      yield* g.copyPage(kernelVa(DATA2), kernelVa(DATA));
      yield* g.clearPage(kernelVa(DATA));
    });
    expect([word(DATA2, 1), word(DATA2, 1023), word(DATA, 1), word(DATA, 1023)]).toEqual([11, 12, 0, 0]);
    const scratch = vcpu.copied(g.cpu);
    const ok = does(function* () {
      for (let i = 0; i < 6; i++) yield* g.store32(kernelVa(DATA, 4084 + 4 * i), 100 + i);
      return (yield* g.loadWords(scratch, kernelVa(DATA, 4088), 5)) && (yield* g.storeWords(userVa(1, 8), scratch, 5));
    });
    expect(ok).toBe(true);
    expect([...words.slice(mfnWord(image.userPage) + 2, mfnWord(image.userPage) + 7)]).toEqual([
      101, 102, 103, 104, 105,
    ]);
  });

  it('words moved to a page that refuses come back false', () => {
    expect(does(() => g.storeWords(kernelVa(RO), vcpu.copied(g.cpu), 2))).toBe(false);
    expect(does(() => g.loadWords(vcpu.copied(g.cpu), kernelVa(HOLE), 2))).toBe(false);
  });
});

describe('a page fault', () => {
  it('that the handler gives up has no effect, answers 0, and is told once', () => {
    expect(pair(() => g.load(kernelVa(HOLE, 16)))).toEqual([0, 0]);
    expect([g.faulted(), g.faulted()]).toEqual([true, false]);
    does(() => g.store32(kernelVa(RO), 1));
    expect([g.faulted(), word(RO, 0)]).toEqual([true, 0]);
    expect(handlers.log).toEqual(['fault kernel 20+16 0', 'fault kernel 5+0 3']);
    expect(words[vcpu.nFaults(g.cpu)]).toBe(2);
  });

  it('that the handler repairs is retried, as often as it says so', () => {
    let times = 0;
    handlers.onFault = function* () {
      times++;
      if (times === 2) {
        // The first word of the L1 slot; the second stays 0.
        words[mfnWord(image.l1) + 2 * HOLE] = entryLo(image.page(DATA), 0x67);
      }
      yield* g.load32(kernelVa(DATA));
      return true;
    };
    does(() => g.store32(kernelVa(HOLE, 4), 77));
    expect([times, word(DATA, 1), g.faulted()]).toEqual([2, 77, false]);
  });

  it('of a fetch says so; no-execute refuses fetches and nothing else', () => {
    does(function* () {
      yield* g.fetch(kernelVa(TEXT));
      yield* g.load(kernelVa(NX));
      yield* g.fetch(kernelVa(NX));
      yield* g.fetch(kernelVa(HOLE));
    });
    expect(handlers.log).toEqual(['fault kernel 21+0 17', 'fault kernel 20+0 16']);
  });

  it('in user mode runs its handler in kernel mode with bit 2 set, and comes back to user mode', () => {
    handlers.onFault = function* (cpu) {
      expect(cpu.userMode()).toBe(false);
      yield* cpu.store32(kernelVa(DATA), 5);
      return false;
    };
    does(function* () {
      yield* g.toUser();
      yield* g.store32(userVa(1), 9);
      yield* g.load32(kernelVa(DATA));
      yield* g.store32(userVa(2), 9);
      yield* g.load32(userVa(7));
    });
    expect(g.userMode()).toBe(true);
    expect(handlers.log).toEqual(['fault kernel 2+0 4', 'fault user 2+0 7', 'fault user 7+0 4']);
    expect([words[mfnWord(image.userPage)], word(DATA, 0)]).toEqual([9, 5]);
  });

  it('leaves a frame on the kernel stack with the error code', () => {
    does(() => g.store32(kernelVa(RO), 1));
    expect(word(1, 1024 - 16 + 4)).toBe(3);
  });
});
