/**
 * The frame records of a tape's frames, decoded for people: reference and type counts, type, owner.
 *
 * Invariant: reads a still machine only, and nothing of it decides whether a tape is equal.
 * Source: src/machine/frame.ts.
 */
import {
  isTableType,
  linearCount,
  nrValidated,
  NO_OWNER,
  ownerOf,
  PGC_allocated,
  PGC_count_mask,
  PGC_state,
  PGC_state_free,
  PGC_xen_heap,
  PGT_count_mask,
  PGT_locked,
  PGT_partial,
  PGT_pinned,
  PGT_validated,
  typeName,
} from '../../machine/frame.js';
import { frameRecord } from '../../machine/layout.js';
import { peek } from '../../sync/primitives.js';
import { domainName } from './symbols.js';
import type { TapeMachine } from './tape-machine.js';

const RECORD = 4;

/** The records of all named frames at one time, undecoded. */
export interface FrameSnapshot {
  readonly names: readonly (readonly [name: string, mfn: number])[];
  readonly words: Int32Array;
}

/** One frame's record, in words a reader of Xen knows. */
export interface FrameText {
  readonly name: string;
  readonly mfn: number;
  readonly text: string;
}

export function snapshot(m: TapeMachine): FrameSnapshot {
  const names = [...m.symbols.frames()];
  const words = new Int32Array(names.length * RECORD);
  for (const [i, [, mfn]] of names.entries()) {
    for (let k = 0; k < RECORD; k++) words[i * RECORD + k] = peek(frameRecord(mfn) + k);
  }
  return { names, words };
}

export function decodeSnapshot(s: FrameSnapshot): FrameText[] {
  return s.names.map(([name, mfn], i) => ({ name, mfn, text: text(s.words.subarray(i * RECORD, (i + 1) * RECORD)) }));
}

/** `d0 ref 2 alloc | l1 1 pinned validated`. */
function text(record: Int32Array): string {
  const [count = 0, type = 0, owner = 0, last = 0] = record;
  if ((count & PGC_state) === PGC_state_free) return 'free';
  const left = [
    ownerOf(owner) === NO_OWNER ? 'nobody' : domainName(ownerOf(owner)),
    `ref ${String(count & PGC_count_mask)}`,
    ...named(count, [
      [PGC_allocated, 'alloc'],
      [PGC_xen_heap, 'xenheap'],
      [PGT_locked, 'LOCKED'],
    ]),
  ];
  const right = [
    `${typeName(type)} ${String(type & PGT_count_mask)}`,
    ...named(type, [
      [PGT_pinned, 'pinned'],
      [PGT_validated, 'validated'],
      [PGT_partial, 'partial'],
    ]),
  ];
  if (isTableType(type) && (type & PGT_count_mask) !== 0) {
    right.push(`nr ${String(nrValidated(last))}`, `linear ${String(linearCount(last))}`);
  }
  return `${left.join(' ')} | ${right.join(' ')}`;
}

const named = (word: number, bits: readonly (readonly [number, string])[]): string[] =>
  bits.filter(([bit]) => (word & bit) !== 0).map(([, name]) => name);
