/**
 * One deterministic program over records, slabs, an ordered map, a list and locks, in both builds.
 *
 * The expected figure is computed here once more by plain JS over a Map, and written down as a constant (computed by a
 * third program in another language), so that the two builds are held against each other as well as against the model.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { listAddTail, listDel, listFirst, listInit, listNext, LIST_WORDS } from '../../src/shm/list.js';
import {
  MAP_NODE_WORDS,
  mapCeil,
  mapFind,
  mapFirst,
  mapFloor,
  mapInit,
  mapInsert,
  mapNext,
  mapRemove,
  MAP_WORDS,
} from '../../src/shm/ordered-map.js';
import { arenaInit } from '../../src/shm/arena.js';
import { record, type Ref } from '../../src/shm/record.js';
import { slabAlloc, slabFree, slabInit, slabLive, SLAB_WORDS } from '../../src/shm/slab.js';
import { words } from '../../src/ops/memory.js';
import { CONTROL } from '../../src/sync/actor.js';
import { RANK } from '../../src/sync/lock-order.js';
import { add, cas64, hi64, ld, ld64, lock, run, st, st64, unlock } from '../../src/sync/primitives.js';
import { readLock, readUnlock, RWLOCK_WORDS, writeLock, writeUnlock } from '../../src/sync/rwlock.js';
import type { Steps } from '../../src/sync/steps.js';

const item = record('item', { node: MAP_NODE_WORDS, link: LIST_WORDS, value: 2, touched: 1 });
type Item = Ref<'item'>;
const LINK = item.link(0 as Item);

const SLAB = 1024;
const MAP = SLAB + SLAB_WORDS;
const LIST = MAP + MAP_WORDS;
const MUTEX = LIST + LIST_WORDS;
const RW = MUTEX + 16;
const TOTAL = RW + RWLOCK_WORDS;
const ARENA = 65536;

const STEPS = 20_000;
const EXPECTED = 0x692c446a;

/** A linear congruential generator; the program's only source of choices. */
const next = (x: number): number => (Math.imul(x, 1664525) + 1013904223) | 0;
const mix = (h: number, v: number): number => Math.imul(h ^ v, 0x01000193);
const keyHi = (x: number): number => ((x >>> 9) & 1 ? -1 : 1);
const keyLo = (x: number): number => ((x >>> 10) & 0x1ff) - 0x100;

function* put(hi: number, lo: number, v: number): Steps<number> {
  const found = (yield* mapFind(MAP, hi, lo)) as Item;
  if (found !== 0) {
    const wasLo = yield* ld64(item.value(found));
    const wasHi = hi64();
    yield* cas64(item.value(found), wasLo, wasHi, wasHi, v);
    yield* add(item.touched(found), 1);
    return wasLo;
  }
  const fresh = (yield* slabAlloc(CONTROL, SLAB)) as Item;
  yield* mapInsert(MAP, item.node(fresh), hi, lo);
  yield* listAddTail(LIST, item.link(fresh));
  yield* st64(item.value(fresh), v, hi);
  return 0;
}

function* take(hi: number, lo: number): Steps<number> {
  const found = (yield* mapCeil(MAP, hi, lo)) as Item;
  if (found === 0) return -1;
  const v = (yield* ld64(item.value(found))) + (yield* ld(item.touched(found)));
  yield* mapRemove(MAP, item.node(found));
  yield* listDel(item.link(found));
  yield* slabFree(CONTROL, SLAB, found);
  return v;
}

function* look(hi: number, lo: number): Steps<number> {
  yield* readLock(CONTROL, RW, RANK.grantTable);
  const found = (yield* mapFloor(MAP, hi, lo)) as Item;
  const v = found === 0 ? -2 : yield* ld64(item.value(found));
  yield* readUnlock(CONTROL, RW);
  return v;
}

function* program(): Steps<number> {
  let x = 12345;
  let h = 0x811c9dc5;
  for (let i = 0; i < STEPS; i++) {
    x = next(x);
    const what = (x >>> 28) % 3;
    const hi = keyHi(x);
    const lo = keyLo(x);
    if (what === 2) h = mix(h, yield* look(hi, lo));
    else {
      yield* writeLock(CONTROL, RW, RANK.grantTable);
      yield* lock(CONTROL, MUTEX, RANK.pageLock);
      h = mix(h, what === 0 ? yield* put(hi, lo, i) : yield* take(hi, lo));
      yield* st(TOTAL, (yield* ld(TOTAL)) + 1);
      yield* unlock(CONTROL, MUTEX);
      yield* writeUnlock(CONTROL, RW);
    }
  }
  for (let n = yield* mapFirst(MAP); n !== 0; n = yield* mapNext(MAP, n))
    h = mix(h, yield* ld64(item.value(n as Item)));
  for (let n = yield* listFirst(LIST); n !== 0; n = yield* listNext(LIST, n)) {
    h = mix(h, yield* ld(item.touched((n - LINK) as Item)));
  }
  return mix(mix(h, slabLive(SLAB)), yield* ld(TOTAL)) >>> 0;
}

interface Model {
  value: number;
  high: number;
  touched: number;
}

/** The same in plain JS: a Map keeps insertion order (the list), sorted keys give the map's order. */
function model(): number {
  const items = new Map<number, Model>();
  const key = (hi: number, lo: number): number => (hi < 0 ? 2 : 1) * 2 ** 32 + (lo >>> 0);
  const sorted = (): number[] => [...items.keys()].sort((a, b) => a - b);
  let x = 12345;
  let h = 0x811c9dc5;
  let total = 0;
  const step = (what: number, k: number, hi: number, i: number): number => {
    if (what === 2) return items.get(sorted().findLast((o) => o <= k) ?? NaN)?.value ?? -2;
    total++;
    if (what === 1) {
      const at = sorted().find((o) => o >= k) ?? NaN;
      const found = items.get(at);
      items.delete(at);
      return found === undefined ? -1 : found.value + found.touched;
    }
    const found = items.get(k);
    if (found === undefined) items.set(k, { value: i, high: hi, touched: 0 });
    else {
      const was = found.value;
      items.set(k, Object.assign(found, { value: found.high, high: i, touched: found.touched + 1 }));
      return was;
    }
    return 0;
  };
  for (let i = 0; i < STEPS; i++) {
    x = next(x);
    h = mix(h, step((x >>> 28) % 3, key(keyHi(x), keyLo(x)), keyHi(x), i));
  }
  for (const k of sorted()) h = mix(h, items.get(k)?.value ?? NaN);
  for (const { touched } of items.values()) h = mix(h, touched);
  return mix(mix(h, items.size), total) >>> 0;
}

beforeEach(() => words.fill(0));

describe('one program, two builds', () => {
  it('gives the same figure as the model, and the same in both builds', () => {
    arenaInit(ARENA, 64);
    run(function* () {
      yield* slabInit(CONTROL, SLAB, item.words, ARENA, RANK.heap);
      yield* mapInit(MAP);
      yield* listInit(LIST);
    });
    const figure = run(program);
    expect(figure).toBe(model());
    expect(figure).toBe(EXPECTED);
  });
});
