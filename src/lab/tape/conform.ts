/**
 * Replays files of tapes and counts: the reusable part of the command that asks "is this Xen?".
 *
 * Source: tapes FORMAT.md.
 */
import type { FamilyCount, ConformReport, PlacedDifference } from './report.js';
import { readTapes } from './reader.js';
import { REPLAY_BUILD, replayTape } from './replay.js';

export interface ConformOptions {
  /** Only tapes whose id is this, or begins with this when it ends in `*`. */
  readonly tape?: string | undefined;
  /** Ends at the first tape that differs. */
  readonly stopFirst?: boolean | undefined;
  readonly progress?: ((tapes: number, different: number) => void) | undefined;
  readonly different?: ((d: PlacedDifference) => void) | undefined;
}

const chosen = (pattern: string | undefined, id: string): boolean =>
  pattern === undefined || (pattern.endsWith('*') ? id.startsWith(pattern.slice(0, -1)) : id === pattern);

/** Replays every chosen tape of `files`; throws LabError when a file cannot be read or holds something else. */
export async function conform(files: readonly string[], options: ConformOptions = {}): Promise<ConformReport> {
  const families: Record<string, FamilyCount> = {};
  const firstDifferences: PlacedDifference[] = [];
  let tapes = 0;
  let operations = 0;
  for (const file of files) {
    await readTapes(file, ({ tape, position }) => {
      if (!chosen(options.tape, tape.id)) return true;
      const result = replayTape(tape);
      const count = (families[tape.family] ??= { tapes: 0, equal: 0 });
      tapes++;
      count.tapes++;
      operations += result.ops;
      if (result.difference === undefined) count.equal++;
      else {
        const placed = { ...result.difference, position };
        firstDifferences.push(placed);
        options.different?.(placed);
      }
      options.progress?.(tapes, firstDifferences.length);
      return !(options.stopFirst === true && firstDifferences.length > 0);
    });
    if (options.stopFirst === true && firstDifferences.length > 0) break;
  }
  const different = firstDifferences.length;
  return { build: REPLAY_BUILD, tapes, operations, equal: tapes - different, different, families, firstDifferences };
}
