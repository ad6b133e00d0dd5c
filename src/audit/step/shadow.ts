/**
 * What the words of frames and TLB slots were before a step, to see what a step changed in them.
 *
 * Invariant: equal to the memory but for the frame at which a step is being looked at; put back with it by `reset`.
 */
import type { Mfn } from '../../abi/frames.js';
import { FRAME_TABLE, FRAME_WORDS, FRAMES, TLB_SLOT_WORDS, TLB_SLOTS, tlbOf } from '../../machine/layout.js';
import { MAX_CPUS } from '../../sync/actor.js';
import { peek } from '../../sync/primitives.js';

/** Count, type and owner word of a frame as they were. */
export interface Was {
  count: number;
  type: number;
  owner: number;
}

export interface Shadow {
  reset(): void;
  /** The frame's words before the step, put into `was`; from now on they are those of now. */
  take(mfn: Mfn, was: Was): void;
  /** Is slot `i` another one than when it was last asked for? */
  slotMoved(index: number, i: number): boolean;
}

const FIELDS = 3;
const SEEN = 4;

export function makeShadow(): Shadow {
  const frames = new Int32Array(FRAMES * FIELDS);
  const slots = new Int32Array(MAX_CPUS * TLB_SLOTS * SEEN);
  const isDirty = new Uint8Array(FRAMES);
  let dirty: number[] = [];
  let moved: number[] = [];
  let known = false;
  const read = (m: number): void => {
    for (let k = 0; k < FIELDS; k++) frames[m * FIELDS + k] = peek(FRAME_TABLE + m * FRAME_WORDS + k);
  };
  return {
    reset: () => {
      if (known) for (const m of dirty) read(m);
      else for (let m = 0; m < FRAMES; m++) read(m);
      known = true;
      for (const m of dirty) isDirty[m] = 0;
      dirty = [];
      for (const at of moved) slots.fill(0, at, at + SEEN);
      moved = [];
    },
    take: (mfn, was) => {
      const at = mfn * FIELDS;
      was.count = frames[at] as number;
      was.type = frames[at + 1] as number;
      was.owner = frames[at + 2] as number;
      if (isDirty[mfn] === 0) {
        isDirty[mfn] = 1;
        dirty.push(mfn);
      }
      read(mfn);
    },
    slotMoved: (index, i) => {
      const slot = tlbOf(index) + i * TLB_SLOT_WORDS;
      const at = (index * TLB_SLOTS + i) * SEEN;
      // Read tag, its high word with the key, write tag, frame and flags.
      const same =
        slots[at] === peek(slot) &&
        slots[at + 1] === peek(slot + 1) &&
        slots[at + 2] === peek(slot + 2) &&
        slots[at + 3] === peek(slot + 5);
      if (same) return false;
      moved.push(at);
      slots[at] = peek(slot);
      slots[at + 1] = peek(slot + 1);
      slots[at + 2] = peek(slot + 2);
      slots[at + 3] = peek(slot + 5);
      return true;
    },
  };
}
