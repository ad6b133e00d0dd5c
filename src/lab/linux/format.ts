/**
 * Recordings of Linux's teardown as a kind of input of a conformance run.
 *
 * A recording's operations are its compared lines and figures are told under the phase they belong to; the first
 * difference comes with the steps around it.
 * Source: ../linux-teardown FORMAT.md.
 */
import type { SourcePosition } from '../../abi/errors.js';
import type { Format, LineResult, ReplayOptions } from '../tape/batch.js';
import type { TapeDifference } from '../tape/replay.js';
import type { Mismatch } from './compare.js';
import { DEFAULT_DESIGN } from './designs.js';
import { checkRecording, looksLikeRecording } from './recording.js';
import { runRecording, type RecordedGuests, type Together } from './run.js';

const FAMILY = 'linux-teardown';
/** Fields of a difference that are told; the rest are of the same cause as a rule. */
const TOLD = 12;

/** The kind of input, for `guests` whose processors run `together`. */
export const recordings = (guests: RecordedGuests, together: Together): Format => ({
  matches: looksLikeRecording,
  idOf: (json) => (json as { id?: unknown }).id,
  replay(json: unknown, position: SourcePosition, { design }: ReplayOptions): LineResult {
    const { recording } = checkRecording(json, position);
    const { recorded, mismatches, hypercalls } = runRecording(recording, design ?? DEFAULT_DESIGN, guests, together);
    const { id } = recording;
    return {
      tape: id,
      family: FAMILY,
      ops: recording.steps.length,
      hypercalls,
      continuations: 0,
      difference: mismatches.length === 0 ? undefined : differenceOf(id, mismatches, recorded.steps.length),
    };
  },
});

function differenceOf(tape: string, mismatches: readonly Mismatch[], steps: number): TapeDifference {
  const order = mismatches.find((m) => m.around !== undefined);
  const first = mismatches[0];
  const fields = mismatches
    .slice(0, TOLD)
    .map(({ phase, field, expected, actual }) => ({ field: `${phase} ${field}`, expected, actual }));
  const around = order?.around;
  return {
    tape,
    family: FAMILY,
    index: order?.index ?? steps,
    where: first === undefined ? '' : `${first.phase}: ${first.field}`,
    op: undefined,
    differences: around === undefined ? fields : [...fields, { field: 'steps around', ...around }],
    frames: [],
  };
}
