/**
 * Which entries in force name a frame, without looking at every table.
 *
 * Invariant: an entry that names a frame either did so when the index was made, and stands in it, or lies in a chunk that
 * was written since, and the ops log those. Nothing is believed of either: an entry is read again where it stands. When the
 * log has overflowed every word of the machine is looked at.
 * Lock: none; called between two steps.
 * Source: [X26] as entries.ts has it; src/ops/dirty.ts.
 */
import type { Mfn } from '../../abi/frames.js';
import { PAGE_PRESENT } from '../../abi/pte.js';
import { FRAME_TABLE, FRAMES } from '../../machine/layout.js';
import { DIRTY_SHIFT, DIRTY_WORDS, dirtyChunks, dirtyCount, dirtyOverflow } from '../../ops/dirty.js';
import { peek } from '../../sync/primitives.js';
import { namingAt } from './entries.js';
import type { Finding } from './finding.js';

export interface Naming {
  /** The machine was put back to what it was when this was made, and the log with it. */
  reset(): void;
  /** What is wrong with an entry in force, of any table, that names `mfn`. */
  fault(mfn: Mfn): Finding | undefined;
}

/** The frame that the word would name if it were an entry's low one. */
const frameIn = (lo: number): number => ((lo & PAGE_PRESENT) === 0 || lo >>> 12 >= FRAMES ? -1 : lo >>> 12);

/** Addresses by the frame that the words there name: those of frame m from `first[m]` on, to `first[m + 1]`. */
function makeIndex(): { first: Int32Array; entries: Int32Array } {
  const first = new Int32Array(FRAMES + 1);
  for (let a = 0; a < FRAME_TABLE; a += 2) {
    const m = frameIn(peek(a));
    if (m >= 0) first[m]!++;
  }
  let sum = 0;
  for (let m = 0; m <= FRAMES; m++) first[m] = sum += first[m]!;
  const entries = new Int32Array(sum);
  for (let a = FRAME_TABLE - 2; a >= 0; a -= 2) {
    const m = frameIn(peek(a));
    if (m >= 0) entries[--first[m]!] = a;
  }
  return { first, entries };
}

function faultIn(mfn: Mfn, from: number, words: number): Finding | undefined {
  for (let a = from; a < from + words; a += 2) {
    const wrong = peek(a) >>> 12 === mfn ? namingAt(a, mfn) : undefined;
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

/** Of the machine as it is now. */
export function makeNaming(): Naming {
  const { first, entries } = makeIndex();
  /** Chunks of the log below `seen` that are machine memory. */
  let written: number[] = [];
  let seen = 0;
  const catchUp = (): void => {
    for (const n = dirtyCount(); seen < n; seen++) {
      const from = dirtyChunks[seen]! << DIRTY_SHIFT;
      if (from < FRAME_TABLE) written.push(from);
    }
  };
  return {
    reset: () => {
      written = [];
      seen = 0;
    },
    fault: (mfn) => {
      if (dirtyOverflow()) return faultIn(mfn, 0, FRAME_TABLE);
      for (let k = first[mfn]!; k < first[mfn + 1]!; k++) {
        const wrong = faultIn(mfn, entries[k]!, 2);
        if (wrong !== undefined) return wrong;
      }
      catchUp();
      for (const from of written) {
        const wrong = faultIn(mfn, from, DIRTY_WORDS);
        if (wrong !== undefined) return wrong;
      }
      return undefined;
    },
  };
}
