import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { words } from '../../src/ops/memory.js';
import { arenaAlloc, arenaAvailable, arenaFree, arenaInit, arenaRuns, CHUNK } from '../../src/shm/arena.js';
import { CONTROL } from '../../src/sync/actor.js';
import { run } from '../../src/sync/primitives.js';

const BASE = 65536;
const CHUNKS = 24;
const END = BASE + CHUNKS * CHUNK;

const alloc = (n: number): number => run(() => arenaAlloc(CONTROL, BASE, n));
const free = (a: number, n: number): void => {
  run(() => arenaFree(CONTROL, BASE, a, n));
};

beforeEach(() => {
  words.fill(0);
  arenaInit(BASE, CHUNKS);
});

/** Held runs as [address, chunks]; the model is a set of owned chunks. */
type Held = [number, number][];

/** Free runs as the model sees them: maximal runs of chunks that nobody holds. */
function modelRuns(held: Held): [number, number][] {
  const owned = new Set(held.flatMap(([a, n]) => Array.from({ length: n }, (_, i) => a + i * CHUNK)));
  const runs: [number, number][] = [];
  for (let a = BASE + CHUNK; a < END; a += CHUNK) {
    const last = runs.at(-1);
    if (owned.has(a)) continue;
    if (last !== undefined && last[0] + last[1] * CHUNK === a) last[1]++;
    else runs.push([a, 1]);
  }
  return runs;
}

describe('arena', () => {
  it('keeps every chunk with exactly one owner and coalesces neighbours, as a model of owned chunks does', () => {
    const step = fc.oneof(fc.record({ take: fc.integer({ min: 1, max: 9 }) }), fc.record({ give: fc.nat() }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        words.fill(0, BASE, END);
        arenaInit(BASE, CHUNKS);
        const held: Held = [];
        for (const s of steps) {
          const before = modelRuns(held);
          if ('take' in s) {
            const a = alloc(s.take);
            expect(a === 0).toBe(before.every(([, n]) => n < s.take));
            if (a === 0) continue;
            expect(before.some(([f, n]) => f <= a && a + s.take * CHUNK <= f + n * CHUNK)).toBe(true);
            expect(words.subarray(a, a + s.take * CHUNK).every((w) => w === 0)).toBe(true);
            words.fill(-1, a, a + s.take * CHUNK);
            held.push([a, s.take]);
          } else if (held.length > 0) {
            free(...(held.splice(s.give % held.length, 1)[0] as [number, number]));
          }
          expect(arenaRuns(BASE)).toEqual(modelRuns(held));
          expect(arenaAvailable(BASE)).toBe(modelRuns(held).reduce((sum, [, n]) => sum + n, 0));
        }
        for (const [a, n] of held) expect(words.subarray(a, a + n * CHUNK).every((w) => w === -1)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  it('answers 0 on exhaustion and loses nothing', () => {
    const all: number[] = [];
    for (let a = alloc(1); a !== 0; a = alloc(1)) all.push(a);
    expect(all).toHaveLength(CHUNKS - 1);
    expect(new Set(all).size).toBe(CHUNKS - 1);
    for (const a of all) free(a, 1);
    expect(alloc(CHUNKS - 1)).toBe(BASE + CHUNK);
    expect(alloc(1)).toBe(0);
  });

  it('gives back part of a run', () => {
    const a = alloc(CHUNKS - 1);
    free(a + 3 * CHUNK, 2);
    expect(arenaRuns(BASE)).toEqual([[a + 3 * CHUNK, 2]]);
    expect(alloc(2)).toBe(a + 3 * CHUNK);
  });

  it.each([
    ['a free run', (a: number) => [a, 2]],
    ['a run that begins in a free one', (a: number) => [a - CHUNK, 1]],
    ['a run that ends in a free one', (a: number) => [a + 2 * CHUNK, 9]],
  ] as const)('calls the release of %s a bug', (_what, which) => {
    const low = alloc(20);
    const a = low + 4 * CHUNK;
    free(a - 2 * CHUNK, 4);
    free(a + 4 * CHUNK, 2);
    const [at = 0, n = 0] = which(a);
    expect(() => {
      free(at, n);
    }).toThrow(/double free/);
  });

  it.each([
    ['the header', BASE, 1],
    ['below', BASE - CHUNK, 1],
    ['beyond the end', END - CHUNK, 2],
    ['between two chunks', BASE + CHUNK + 16, 1],
    ['nothing', BASE + CHUNK, 0],
  ])('calls the release of chunks outside a bug: %s', (_what, a, n) => {
    alloc(CHUNKS - 1);
    expect(() => {
      free(a, n);
    }).toThrow(/not of this arena/);
  });

  it('refuses regions it cannot use and requests that mean nothing', () => {
    expect(() => {
      arenaInit(BASE, 1);
    }).toThrow(/too small/);
    expect(() => {
      arenaInit(BASE + 1, 8);
    }).toThrow(/odd/);
    expect(() => alloc(0)).toThrow(/0 chunks/);
  });
});
