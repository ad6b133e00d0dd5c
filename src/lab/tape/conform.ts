/**
 * Replays files of tapes and counts: the reusable part of the command that asks "is this Xen?".
 *
 * Source: tapes FORMAT.md.
 */
import type { SourcePosition } from '../../abi/errors.js';
import { readTapes, type PlacedTape } from './reader.js';
import { REPLAY_BUILD, replayTape, type TapeResult } from './replay.js';
import type { ConformReport, FamilyCount, PlacedDifference } from './report.js';

export interface ConformOptions {
  /** Only tapes whose id is this, or begins with this when it ends in `*`. */
  readonly tape?: string | undefined;
  /** Preempts hypercalls at each check of this number; absent: never. */
  readonly quantum?: number | undefined;
  /** Ends at the first tape that differs. */
  readonly stopFirst?: boolean | undefined;
  /** Asked before each tape: true ends the replay, with a report of what was replayed. */
  readonly stop?: (() => boolean) | undefined;
  readonly progress?: ((tapes: number, different: number) => void) | undefined;
  readonly different?: ((d: PlacedDifference) => void) | undefined;
}

const chosen = (pattern: string | undefined, id: string): boolean =>
  pattern === undefined || (pattern.endsWith('*') ? id.startsWith(pattern.slice(0, -1)) : id === pattern);

/** Replays every chosen tape of `files`; throws LabError when a file cannot be read or holds something else. */
export async function conform(files: readonly string[], options: ConformOptions = {}): Promise<ConformReport> {
  const tally = new Tally(options);
  for (const file of files) {
    await readTapes(file, (placed) => tally.take(placed));
    if (tally.ended) break;
  }
  return tally.report();
}

/** Counts of the tapes replayed so far. */
class Tally {
  /** No further tape is wanted. */
  ended = false;
  readonly #options: ConformOptions;
  readonly #families: Record<string, FamilyCount> = {};
  readonly #differences: PlacedDifference[] = [];
  #complete = true;
  #tapes = 0;
  #operations = 0;
  #hypercalls = 0;
  #continuations = 0;

  constructor(options: ConformOptions) {
    this.#options = options;
  }

  /** Replays a tape if it is one of those; answers whether to go on. */
  take({ tape, position }: PlacedTape): boolean {
    if (this.#options.stop?.() === true) {
      this.#complete = false;
      this.ended = true;
    } else if (chosen(this.#options.tape, tape.id)) {
      this.#count(replayTape(tape, this.#options.quantum), position);
      this.ended = this.#options.stopFirst === true && this.#differences.length > 0;
    }
    return !this.ended;
  }

  #count(result: TapeResult, position: SourcePosition): void {
    const family = (this.#families[result.family] ??= { tapes: 0, equal: 0 });
    family.tapes++;
    this.#tapes++;
    this.#operations += result.ops;
    this.#hypercalls += result.hypercalls;
    this.#continuations += result.continuations;
    if (result.difference === undefined) family.equal++;
    else {
      const placed = { ...result.difference, position };
      this.#differences.push(placed);
      this.#options.different?.(placed);
    }
    this.#options.progress?.(this.#tapes, this.#differences.length);
  }

  report(): ConformReport {
    const different = this.#differences.length;
    return {
      build: REPLAY_BUILD,
      complete: this.#complete,
      tapes: this.#tapes,
      operations: this.#operations,
      hypercalls: this.#hypercalls,
      continuations: this.#continuations,
      equal: this.#tapes - different,
      different,
      families: this.#families,
      firstDifferences: this.#differences,
    };
  }
}
