/**
 * Slab: records of one size, cut out of arena chunks; grows by chunks, never gives them back.
 *
 * Invariant: two words in front of every record say whose it is: `s` while it is live, `~s` while it is free, 0 while
 * it was never handed out; so a double free, or a free to another slab, is seen.
 * Lock: the slab's own word, of the rank given at init, which must be below `arena`.
 *
 * A fresh or freed record is always handed out zeroed. Order is last freed, first used; then by address.
 */
import { HypervisorBug } from '../abi/errors.js';
import type { Cpu } from '../sync/actor.js';
import { fill, ld, lock, peek, poke, st, unlock } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { arenaAlloc, CHUNK } from './arena.js';

const LOCK = 0;
const RANK_OF = 1;
const RECORD = 2;
const STRIDE = 3;
const ARENA_OF = 4;
const GROW = 5;
const FREE = 6;
const BUMP = 7;
const BUMP_END = 8;
const LIVE = 9;
const REGIONS = 10;

/** Words of a slab's header. */
export const SLAB_WORDS = 16;

/** In front of a record. */
const PREFIX = 2;
const tag = (r: number): number => r - 2;
const nextFree = (r: number): number => r - 1;

/** In front of a region: the region before it, and where its records end. */
const REGION_PREFIX = 2;

/** Chunks to grow by: the fewest, up to eight, that waste no more than an eighth. */
function growChunks(stride: number): number {
  const least = Math.ceil((stride + REGION_PREFIX) / CHUNK);
  for (let n = least; n <= 8; n++) {
    if ((n * CHUNK - REGION_PREFIX) % stride <= (n * CHUNK) >> 3) return n;
  }
  return least;
}

/** Makes the slab header at `s` (SLAB_WORDS) for records of `recordWords`, fed by the arena at `arenaBase`. */
export function* slabInit(_cpu: Cpu, s: number, recordWords: number, arenaBase: number, rank: number): Steps<void> {
  if (recordWords < 1) throw new HypervisorBug('slab: empty records');
  const stride = ((recordWords + 1) & ~1) + PREFIX;
  yield* fill(s, SLAB_WORDS);
  poke(s + RANK_OF, rank);
  poke(s + RECORD, recordWords);
  poke(s + STRIDE, stride);
  poke(s + ARENA_OF, arenaBase);
  poke(s + GROW, growChunks(stride));
}

/** A zeroed record at an even address; 0 when the arena has no more. */
export function* slabAlloc(cpu: Cpu, s: number): Steps<number> {
  yield* lock(cpu, s + LOCK, peek(s + RANK_OF));
  let r = yield* ld(s + FREE);
  const reused = r !== 0;
  if (reused) yield* st(s + FREE, yield* ld(nextFree(r)));
  else r = yield* bump(cpu, s);
  if (r !== 0) {
    yield* st(tag(r), s);
    yield* st(s + LIVE, (yield* ld(s + LIVE)) + 1);
  }
  yield* unlock(cpu, s + LOCK);
  if (reused) yield* fill(r, peek(s + RECORD));
  return r;
}

/** The next record that was never used, growing when there is none. */
function* bump(cpu: Cpu, s: number): Steps<number> {
  const stride = peek(s + STRIDE);
  let at = yield* ld(s + BUMP);
  if (at + stride > (yield* ld(s + BUMP_END))) {
    at = yield* grow(cpu, s);
    if (at === 0) return 0;
  }
  yield* st(s + BUMP, at + stride);
  return at + PREFIX;
}

/** A new region; answers where its first record's prefix lies, 0 when the arena refuses. */
function* grow(cpu: Cpu, s: number): Steps<number> {
  const n = peek(s + GROW);
  const region = yield* arenaAlloc(cpu, peek(s + ARENA_OF), n);
  if (region === 0) return 0;
  yield* st(region, yield* ld(s + REGIONS));
  yield* st(region + 1, region + n * CHUNK);
  yield* st(s + REGIONS, region);
  yield* st(s + BUMP_END, region + n * CHUNK);
  return region + REGION_PREFIX;
}

/** Gives the record back; it must be a live one of this slab. */
export function* slabFree(cpu: Cpu, s: number, r: number): Steps<void> {
  yield* lock(cpu, s + LOCK, peek(s + RANK_OF));
  const was = yield* ld(tag(r));
  if (was !== s) {
    throw new HypervisorBug(`slab: ${was === ~s ? 'double free' : 'foreign record'} at ${String(r)}`);
  }
  yield* st(tag(r), ~s);
  yield* st(nextFree(r), yield* ld(s + FREE));
  yield* st(s + FREE, r);
  yield* st(s + LIVE, (yield* ld(s + LIVE)) - 1);
  yield* unlock(cpu, s + LOCK);
}

/** Live records; of a still machine, or a figure for people. */
export const slabLive = (s: number): number => peek(s + LIVE);

/** Whether `r`, once handed out by this slab, is live. */
export const slabIsLive = (s: number, r: number): boolean => peek(tag(r)) === s;

/** Addresses of all live records, newest region first; of a still machine (auditor, tests). */
export function slabRecords(s: number): number[] {
  const live: number[] = [];
  const stride = peek(s + STRIDE);
  for (let region = peek(s + REGIONS); region !== 0; region = peek(region)) {
    const end = peek(region + 1);
    for (let at = region + REGION_PREFIX; at + stride <= end; at += stride) {
      if (slabIsLive(s, at + PREFIX)) live.push(at + PREFIX);
    }
  }
  return live;
}
