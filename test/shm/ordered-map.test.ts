import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { words } from '../../src/ops/memory.js';
import {
  mapCeil,
  mapCount,
  mapFind,
  mapFirst,
  mapFloor,
  mapInit,
  mapInsert,
  mapKeyHi,
  mapKeyLo,
  mapLast,
  mapNext,
  mapPrev,
  mapRekey,
  mapRemove,
  MAP_NODE_WORDS,
} from '../../src/shm/ordered-map.js';
import { run } from '../../src/sync/primitives.js';

const M = 1024;
const node = (i: number): number => M + 16 + i * MAP_NODE_WORDS;

/** An unsigned 64-bit key as one bigint, and as the two words of the map. */
const hi = (k: bigint): number => Number(BigInt.asIntN(32, k >> BigInt(32)));
const lo = (k: bigint): number => Number(BigInt.asIntN(32, k));
const keyOf = (n: number): bigint =>
  (BigInt((words[mapKeyHi(n)] as number) >>> 0) << BigInt(32)) | BigInt((words[mapKeyLo(n)] as number) >>> 0);

/** Few keys, so that they meet; with the sign bit of either word set and clear. */
const word = fc.constantFrom(0, 1, 2, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff);
const key = fc.tuple(word, fc.oneof(word, fc.nat({ max: 40 }))).map(([h, l]) => (BigInt(h) << BigInt(32)) | BigInt(l));

const insert = (n: number, k: bigint): boolean => run(() => mapInsert(M, n, hi(k), lo(k)));

function walk(first: typeof mapFirst, next: typeof mapNext): number[] {
  return run(function* () {
    const found: number[] = [];
    for (let n = yield* first(M); n !== 0; n = yield* next(M, n)) found.push(n);
    return found;
  });
}

/** Longest path from the root; the shape is read from the words. */
function depth(at: number): number {
  return at === 0 ? 0 : 1 + Math.max(depth(words[at] as number), depth(words[at + 1] as number));
}

beforeEach(() => {
  words.fill(0);
  run(() => mapInit(M));
});

describe('ordered map', () => {
  it('answers find, floor, ceil, first, last, next and previous as a sorted array does', () => {
    const step = fc.tuple(fc.constantFrom('in', 'in', 'out', 'ask'), key);
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        words.fill(0, M, node(100));
        const model = new Map<bigint, number>();
        let fresh = 0;
        for (const [what, k] of steps) {
          const has = model.get(k);
          if (what === 'in') {
            const n = node(fresh);
            expect(insert(n, k)).toBe(has === undefined);
            if (has === undefined) {
              model.set(k, n);
              fresh++;
            }
          } else if (what === 'out' && has !== undefined) {
            run(() => mapRemove(M, has));
            model.delete(k);
          }
          const sorted = [...model.keys()].sort((a, b) => (a < b ? -1 : 1));
          const ask = (f: typeof mapFind): number => run(() => f(M, hi(k), lo(k)));
          expect(ask(mapFind)).toBe(model.get(k) ?? 0);
          expect(ask(mapFloor)).toBe(model.get(sorted.findLast((o) => o <= k) ?? BigInt(-1)) ?? 0);
          expect(ask(mapCeil)).toBe(model.get(sorted.find((o) => o >= k) ?? BigInt(-1)) ?? 0);
        }
        const order = [...model].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, n]) => n);
        expect(walk(mapFirst, mapNext)).toEqual(order);
        expect(walk(mapLast, mapPrev)).toEqual(order.toReversed());
        expect(mapCount(M)).toBe(model.size);
        for (const [k, n] of model) expect(keyOf(n)).toBe(k);
      }),
      { numRuns: 300 },
    );
  });

  it.each([
    ['rising', (i: number) => i],
    ['falling', (i: number) => 5000 - i],
  ])('stays shallow when keys come in %s order', (_what, keyAt) => {
    for (let i = 0; i < 4000; i++) insert(node(i), BigInt(keyAt(i)));
    expect(mapCount(M)).toBe(4000);
    expect(depth(words[M] as number)).toBeLessThan(40);
  });

  it('has the same shape whatever the order of insertion', () => {
    const shape = (order: number[]): number[] => {
      words.fill(0, M, node(100));
      for (const i of order) insert(node(i), BigInt(i));
      return [...words.subarray(M, node(40))];
    };
    const rising = Array.from({ length: 40 }, (_, i) => i);
    expect(shape(rising.toReversed())).toEqual(shape(rising));
  });

  it('gives a node a new key in place', () => {
    for (const [i, k] of [10, 20, 30].entries()) insert(node(i), BigInt(k));
    run(() => mapRekey(node(1), 0, 25));
    expect(run(() => mapFind(M, 0, 20))).toBe(0);
    expect(run(() => mapFind(M, 0, 25))).toBe(node(1));
    expect(run(() => mapFloor(M, 0, 24))).toBe(node(0));
  });

  it('calls inserting a node twice and removing it twice a bug', () => {
    insert(node(0), BigInt(1));
    expect(() => insert(node(0), BigInt(2))).toThrow(/is in a map/);
    run(() => mapRemove(M, node(0)));
    expect(() => {
      run(() => mapRemove(M, node(0)));
    }).toThrow(/is in no map/);
    expect(mapCount(M)).toBe(0);
  });
});
