/**
 * Arena: hands out runs of chunks (CHUNK words each) of one region of the shared memory, first fit.
 *
 * Invariant: free runs are linked in address order and never touch each other (neighbours are coalesced);
 * a chunk is in exactly one free run or belongs to exactly one caller. The header takes the region's first chunk.
 * Lock: the arena's own word, rank `arena`, the last of the order, so a run can be had under any other lock.
 * Source: DESIGN "Performance" (no allocation by the JS heap in a hypercall); Knuth 2.5, first fit by address.
 */
import { HypervisorBug } from '../abi/errors.js';
import type { Cpu } from '../sync/actor.js';
import { RANK } from '../sync/lock-order.js';
import { fill, ld, lock, peek, poke, st, unlock } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';

/** Words of one chunk. */
export const CHUNK = 1024;

const LOCK = 0;
const HEAD = 16;
const CHUNKS = 17;
const FREE = 18;

/** Within a free run: the next one, and its size in chunks. */
const NEXT = 0;
const SIZE = 1;

/** Makes an arena of the `chunks` chunks from `base` on (even); all but the first are for use. Boot only. */
export function arenaInit(base: number, chunks: number): void {
  if (chunks < 2 || (base & 1) !== 0) throw new HypervisorBug('arena: region too small or odd');
  const first = base + CHUNK;
  poke(base + LOCK, 0);
  poke(base + HEAD, first);
  poke(base + CHUNKS, chunks);
  poke(base + FREE, chunks - 1);
  poke(first + NEXT, 0);
  poke(first + SIZE, chunks - 1);
}

/** `n` zeroed chunks in a row; 0 when no free run is that long. */
export function* arenaAlloc(cpu: Cpu, base: number, n: number): Steps<number> {
  if (n < 1) throw new HypervisorBug(`arena: ${String(n)} chunks asked`);
  yield* lock(cpu, base + LOCK, RANK.arena);
  const a = yield* takeRun(base, n);
  yield* unlock(cpu, base + LOCK);
  if (a !== 0) yield* fill(a, n * CHUNK);
  return a;
}

/** Cuts `n` chunks off the end of the first run that has them. */
function* takeRun(base: number, n: number): Steps<number> {
  let link = base + HEAD;
  for (;;) {
    const at = yield* ld(link);
    if (at === 0) return 0;
    const size = yield* ld(at + SIZE);
    if (size >= n) {
      if (size === n) yield* st(link, yield* ld(at + NEXT));
      else yield* st(at + SIZE, size - n);
      yield* st(base + FREE, (yield* ld(base + FREE)) - n);
      return at + (size - n) * CHUNK;
    }
    link = at + NEXT;
  }
}

/** Gives back `n` chunks at `a`; free chunks among them, or ones outside the region, are a bug. */
export function* arenaFree(cpu: Cpu, base: number, a: number, n: number): Steps<void> {
  const end = base + peek(base + CHUNKS) * CHUNK;
  if (n < 1 || a < base + CHUNK || a + n * CHUNK > end || (a - base) % CHUNK !== 0) {
    throw new HypervisorBug(`arena: ${String(n)} chunks at ${String(a)} are not of this arena`);
  }
  yield* lock(cpu, base + LOCK, RANK.arena);
  yield* giveRun(base, a, n);
  yield* st(base + FREE, (yield* ld(base + FREE)) + n);
  yield* unlock(cpu, base + LOCK);
}

/** Links the run in by address and merges it with the run before and the run after. */
function* giveRun(base: number, a: number, n: number): Steps<void> {
  const end = a + n * CHUNK;
  let prev = 0;
  let prevEnd = 0;
  let next = yield* ld(base + HEAD);
  while (next !== 0 && next < a) {
    prev = next;
    prevEnd = prev + (yield* ld(prev + SIZE)) * CHUNK;
    next = yield* ld(prev + NEXT);
  }
  if (prevEnd > a || (next !== 0 && next < end)) {
    throw new HypervisorBug(`arena: double free of ${String(n)} chunks at ${String(a)}`);
  }
  let size = n;
  if (next === end) {
    size += yield* ld(next + SIZE);
    next = yield* ld(next + NEXT);
  }
  if (prev !== 0 && prevEnd === a) {
    yield* st(prev + SIZE, (yield* ld(prev + SIZE)) + size);
    yield* st(prev + NEXT, next);
    return;
  }
  yield* st(a + NEXT, next);
  yield* st(a + SIZE, size);
  yield* st(prev === 0 ? base + HEAD : prev + NEXT, a);
}

/** Free chunks; of a still machine. */
export const arenaAvailable = (base: number): number => peek(base + FREE);

/** Free runs as [address, chunks], in address order; of a still machine. */
export function arenaRuns(base: number): [number, number][] {
  const runs: [number, number][] = [];
  for (let at = peek(base + HEAD); at !== 0; at = peek(at + NEXT)) runs.push([at, peek(at + SIZE)]);
  return runs;
}
