/**
 * Recordings of a real kernel's teardown: one line per case, read and checked.
 *
 * Invariant: a recording that comes out has the fields of the format; everything else is a LabError with file, line, hint.
 * Source: ../linux-teardown FORMAT.md; DESIGN decision 10.
 */
import * as z from 'zod';
import { LabError, type SourcePosition } from '../../abi/errors.js';

const counts = z.record(z.string(), z.number());

const schema = z.object({
  id: z.string(),
  case: z.string(),
  pages: z.number().int().nonnegative(),
  grants: z.number().int().nonnegative(),
  vcpus: z.number().int().positive(),
  results: z.record(z.string(), z.unknown()),
  totals: counts,
  by_phase: z.record(z.string(), counts),
  varies: z.object({ totals: z.record(z.string(), z.array(z.number())) }),
  steps: z.array(z.array(z.unknown()).min(1)),
});
export type Recording = z.infer<typeof schema>;

export interface PlacedRecording {
  readonly recording: Recording;
  readonly position: SourcePosition;
}

/** Whether a line is a recording of this kind rather than a tape: by its fields. */
export const looksLikeRecording = (json: unknown): boolean =>
  typeof json === 'object' && json !== null && 'steps' in json && 'by_phase' in json && 'case' in json;

export function checkRecording(json: unknown, position: SourcePosition): PlacedRecording {
  const parsed = schema.safeParse(json);
  if (parsed.success) return { recording: parsed.data, position };
  const issue = parsed.error.issues[0];
  const path = issue === undefined ? 'the line' : issue.path.map(String).join('.');
  throw new LabError('RECORDING_SHAPE', `${path}: ${issue?.message ?? 'not a recording'}`, {
    position,
    hint: 'the fields of a recording are listed in linux-teardown/FORMAT.md',
  });
}

/** A step: its kind, its plain arguments, the fields of its objects, and who made it. */
export interface Step {
  readonly kind: string;
  readonly args: readonly unknown[];
  readonly fields: Readonly<Record<string, unknown>>;
  readonly by: string;
}

export function stepOf(raw: readonly unknown[]): Step {
  const [kind, ...rest] = raw;
  const objects = rest.filter((x) => typeof x === 'object' && x !== null && !Array.isArray(x)) as Record<
    string,
    unknown
  >[];
  const fields = Object.assign({}, ...objects) as Record<string, unknown>;
  const by = typeof fields['by'] === 'string' ? fields['by'] : 'main';
  return { kind: String(kind), args: rest.filter((x) => !objects.includes(x as Record<string, unknown>)), fields, by };
}

export const stepsOf = (r: Recording): Step[] => r.steps.map(stepOf);
