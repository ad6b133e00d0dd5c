/**
 * Which chunks of the memory were written since the log was cleared: what a reset to a snapshot has to put back.
 *
 * Invariant: a chunk written through `plain.ts` since `clearDirty` is in the list once, or the list has overflowed.
 * Lock: none; the plain ops belong to a build of one thread. Words written past the ops (a lock list in an actor record,
 * fault counters, trace rings) are not logged: who resets knows them.
 */
import { TOTAL_WORDS } from './memory.js';

/** A chunk is 16 words, one cache line. */
export const DIRTY_SHIFT = 4;
export const DIRTY_WORDS = 1 << DIRTY_SHIFT;
const LISTED = 1 << 16;

const marks = new Uint8Array((TOTAL_WORDS >>> DIRTY_SHIFT) + 1);
const list = new Int32Array(LISTED);
let listed = 0;

/** Notes that the word at `a` is about to change. */
export function mark(a: number): void {
  const c = a >>> DIRTY_SHIFT;
  if (marks[c] !== 0) return;
  marks[c] = 1;
  if (listed < LISTED) list[listed] = c;
  listed++;
}

/** The same for `n` words from `a` on. */
export function markRange(a: number, n: number): void {
  for (let c = a >>> DIRTY_SHIFT; c <= (a + n - 1) >>> DIRTY_SHIFT; c++) mark(c << DIRTY_SHIFT);
}

/** Chunk numbers written since the log was cleared; only the first `dirtyCount` entries count. */
export const dirtyChunks: Readonly<Int32Array> = list;
export const dirtyCount = (): number => listed;
/** More chunks were written than the list holds: everything is to be taken for dirty. */
export const dirtyOverflow = (): boolean => listed > LISTED;

/** Whether the chunk of the word at `a` was written. */
export const isDirty = (a: number): boolean => marks[a >>> DIRTY_SHIFT] !== 0;

export function clearDirty(): void {
  if (dirtyOverflow()) marks.fill(0);
  else for (let i = 0; i < listed; i++) marks[list[i] as number] = 0;
  listed = 0;
}
