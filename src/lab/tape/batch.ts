/**
 * A thread's share of a conformance run: some lines of a file, each replayed and compared.
 *
 * Invariant: results come in the order of the lines; a line that cannot be used ends the share.
 * Source: tapes FORMAT.md; DESIGN decision 10.
 */
import { LabError, type SourcePosition } from '../../abi/errors.js';
import { parseJson, parseTape } from './reader.js';
import { refusedInput, type RefusedInput } from './refused.js';
import { replayTape, type TapeResult } from './replay.js';

/** Lines of one file, and what to do with them. Goes to a thread as a message. */
export interface BatchTask extends ReplayOptions {
  readonly file: string;
  readonly lines: readonly (readonly [line: number, text: string])[];
  /** Not 0 when the thread shall come to an end. */
  readonly stopped: Int32Array;
}
export interface ReplayOptions {
  /** Only tapes whose id is this, or begins with this when it ends in `*`. */
  readonly tape?: string | undefined;
  /** Preempts hypercalls at each check of this number; absent: never. */
  readonly quantum?: number | undefined;
  /** The design of the kernel that a recording of Linux is held against; absent: the one as merged. */
  readonly design?: string | undefined;
  /** Ends at the first tape that differs. */
  readonly stopFirst?: boolean | undefined;
}

/** What came of one line. */
/** What became of one line, a tape or a recording. */
export type LineResult = TapeResult;

export interface PlacedResult extends LineResult {
  readonly position: SourcePosition;
}

export interface BatchResult {
  /** Of the chosen tapes, in order. */
  readonly results: readonly PlacedResult[];
  /** Why there are no more results. */
  readonly refused: RefusedInput | undefined;
  readonly stopped: boolean;
}

/** A kind of recording: which lines are such, and how one is replayed. Throws LabError for a line it cannot use. */
export interface Format {
  matches(json: unknown): boolean;
  idOf(json: unknown): unknown;
  replay(json: unknown, position: SourcePosition, options: ReplayOptions): LineResult;
}

/** Sequences of hypercalls; whatever is nothing else is taken for one, and its faults are told in those terms. */
export const TAPES: Format = {
  matches: () => true,
  idOf: (json) => (typeof json === 'object' && json !== null && 'id' in json ? json.id : undefined),
  replay: (json, position, { quantum }) => replayTape(parseTape(json, position), quantum),
};

const chosen = (pattern: string | undefined, id: unknown): boolean =>
  pattern === undefined ||
  typeof id !== 'string' ||
  (pattern.endsWith('*') ? id.startsWith(pattern.slice(0, -1)) : id === pattern);

/** Replays the lines, each by the first of `formats` that knows it. */
export function replayBatch(task: BatchTask, formats: readonly Format[]): BatchResult {
  const results: PlacedResult[] = [];
  for (const [line, text] of task.lines) {
    if (Atomics.load(task.stopped, 0) !== 0) return { results, refused: undefined, stopped: true };
    const position = { file: task.file, line, column: 1 };
    try {
      const json = parseJson(text, position);
      const format = formats.find((f) => f.matches(json)) ?? TAPES;
      if (!chosen(task.tape, format.idOf(json))) continue;
      const result = format.replay(json, position, task);
      results.push({ ...result, position });
      if (task.stopFirst === true && result.difference !== undefined) break;
    } catch (e) {
      if (!(e instanceof LabError)) throw e;
      return { results, refused: refusedInput(e, position), stopped: false };
    }
  }
  return { results, refused: undefined, stopped: false };
}
