/**
 * The state around a difference: the records of the frames it is about, before and after, and who holds them now.
 *
 * Invariant: reads a still machine only; holders are the audit's, which never reads the counts they stand beside.
 * Source: DESIGN decision 8; src/audit/ledger.ts.
 */
import { holdersOf } from '../../audit/ledger.js';
import { takeStock } from '../../audit/stock.js';
import { decodeSnapshot, snapshot, type FrameSnapshot, type FrameText } from './frame-words.js';
import type { TapeMachine } from './tape-machine.js';

export interface FrameState {
  readonly name: string;
  readonly mfn: number;
  /** Owner, references, type and its count before the operation; absent: the name had no frame. */
  readonly before: string | undefined;
  readonly after: string;
  /** Who holds a reference or a type of it now. */
  readonly holders: readonly string[];
}

/** The frames that `text` (JSON) names, and those whose record is not what it was. */
export function framesAround(m: TapeMachine, was: FrameSnapshot, text: string): FrameState[] {
  const before = new Map(decodeSnapshot(was).map((f) => [f.name, f.text]));
  const wanted = ({ name, text: now }: FrameText): boolean =>
    text.includes(`"${name}"`) || text.includes(`.${name}"`) || (before.size > 0 && before.get(name) !== now);
  const frames = decodeSnapshot(snapshot(m)).filter(wanted);
  const holders = holdersOf(takeStock(), new Set(frames.map((f) => f.mfn)), []);
  return frames.map(({ name, mfn, text: after }) => ({
    name,
    mfn,
    before: before.get(name),
    after,
    holders: (holders.get(mfn) ?? []).map((line) => inNames(line, m)),
  }));
}

/** The line with machine frame numbers as the tape calls them. */
function inNames(line: string, m: TapeMachine): string {
  return line.replaceAll(/\bmfn 0x([0-9a-f]+)/g, (number, hex: string) => {
    return m.symbols.nameOf(Number.parseInt(hex, 16)) ?? number;
  });
}
