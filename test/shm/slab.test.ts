import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { words } from '../../src/ops/memory.js';
import { arenaAlloc, arenaAvailable, arenaInit, CHUNK } from '../../src/shm/arena.js';
import { slabAlloc, slabFree, slabInit, slabIsLive, slabLive, slabRecords, SLAB_WORDS } from '../../src/shm/slab.js';
import { CONTROL } from '../../src/sync/actor.js';
import { RANK } from '../../src/sync/lock-order.js';
import { run } from '../../src/sync/primitives.js';

const S = 1024;
const OTHER = S + SLAB_WORDS;
const BASE = 65536;

const init = (recordWords: number, chunks: number, s = S): void => {
  arenaInit(BASE, chunks);
  run(() => slabInit(CONTROL, s, recordWords, BASE, RANK.guestSlab));
};
const alloc = (s = S): number => run(() => slabAlloc(CONTROL, s));
const free = (r: number, s = S): void => {
  run(() => slabFree(CONTROL, s, r));
};
const take = (most: number): number[] => {
  const got: number[] = [];
  for (let r = alloc(); r !== 0 && got.length < most; r = alloc()) got.push(r);
  return got;
};

beforeEach(() => words.fill(0));

describe('slab', () => {
  it('hands out zeroed records that never overlap, as a model of live records does', () => {
    const steps = fc.array(fc.oneof(fc.constant(-1), fc.nat()), { maxLength: 150 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 700 }), steps, (size, choices) => {
        words.fill(0, S, S + SLAB_WORDS);
        init(size, 12);
        const live = new Map<number, number>();
        let mark = 1;
        for (const c of choices) {
          const all = [...live.keys()];
          if (c === -1 || all.length === 0) {
            const r = alloc();
            if (r === 0) continue;
            expect(r & 1).toBe(0);
            expect(words.subarray(r, r + size).every((w) => w === 0)).toBe(true);
            words.fill(++mark, r, r + size);
            live.set(r, mark);
          } else {
            const r = all[c % all.length] as number;
            live.delete(r);
            free(r);
          }
        }
        for (const [r, m] of live) expect(words.subarray(r, r + size).every((w) => w === m)).toBe(true);
        expect(slabLive(S)).toBe(live.size);
        expect(slabRecords(S).sort((a, b) => a - b)).toEqual([...live.keys()].sort((a, b) => a - b));
      }),
      { numRuns: 100 },
    );
  });

  it('answers 0 on exhaustion, loses nothing, and goes on after a release', () => {
    init(30, 4);
    const all = take(1000);
    // Stride 32, three chunks of one region each, two words of which are the region's own.
    expect(all).toHaveLength(3 * Math.floor((CHUNK - 2) / 32));
    expect(alloc()).toBe(0);
    expect(slabLive(S)).toBe(all.length);
    free(all[5] as number);
    expect(alloc()).toBe(all[5]);
    expect(alloc()).toBe(0);
    for (const r of all) free(r);
    expect(slabLive(S)).toBe(0);
    expect(take(1000).sort()).toEqual(all.sort());
  });

  it('is left as it was when the arena has chunks, but not enough in a row', () => {
    init(2000, 6);
    const spare = [1, 2, 3, 4, 5].map(() => run(() => arenaAlloc(CONTROL, BASE, 1)));
    expect(spare).not.toContain(0);
    expect(alloc()).toBe(0);
    expect(slabLive(S)).toBe(0);
    expect(slabRecords(S)).toEqual([]);
  });

  it.each([1, 5, 100, 340, 500, 510, 600, 1100, 1500, 2000])(
    'wastes no more than an eighth of what it takes from the arena: records of %i words',
    (size) => {
      init(size, 100);
      const before = arenaAvailable(BASE);
      const n = take(100_000).length;
      const used = (before - arenaAvailable(BASE)) * CHUNK;
      expect(n * (2 + size + (size & 1))).toBeGreaterThanOrEqual((used * 7) / 8 - 2);
    },
  );

  it('calls a double free a bug, and the free of a foreign or unused record', () => {
    init(6, 8);
    run(() => slabInit(CONTROL, OTHER, 6, BASE, RANK.guestSlab));
    const r = alloc();
    const other = alloc(OTHER);
    expect(slabIsLive(S, r)).toBe(true);
    expect(slabIsLive(S, other)).toBe(false);
    const calls: [() => void, RegExp][] = [
      [() => [r, r].forEach((same) => free(same)), /double free/],
      [() => free(other), /foreign/],
      [() => free(r + 8), /foreign/],
      [() => free(r + 2), /foreign/],
    ];
    for (const [call, message] of calls) {
      words.fill(0, CONTROL, CONTROL + 64);
      words[S] = 0;
      expect(call).toThrow(message);
    }
  });

  it('refuses empty records', () => {
    expect(() => {
      init(0, 8);
    }).toThrow(/empty/);
  });
});
