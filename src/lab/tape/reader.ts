/**
 * Reads tapes from `.jsonl` and `.jsonl.gz` files, a line at a time.
 *
 * Invariant: a tape that comes out is shaped well and names only what it has; everything else is a LabError with the
 * file, the line and a hint. Lines are read as a stream: a file may be larger than memory.
 * Source: tapes FORMAT.md; DESIGN decision 10.
 */
import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';
import type * as z from 'zod';
import { LabError, type SourcePosition } from '../../abi/errors.js';
import { tapeSchema, type Tape } from './schema.js';
import { unknownName } from './names.js';

/** A tape and where it stands. */
export interface PlacedTape {
  readonly tape: Tape;
  readonly position: SourcePosition;
}

/**
 * Hands every tape of a file to `each`, in the file's order, until `each` answers false.
 * Throws LabError at the first line that is no tape.
 */
export async function readTapes(file: string, each: (tape: PlacedTape) => boolean): Promise<void> {
  let line = 0;
  const one = (text: string): boolean => {
    line++;
    return text.trim() === '' || each(parseLine(text, { file, line, column: 1 }));
  };
  const raw = createReadStream(file);
  const input = file.endsWith('.gz') ? raw.pipe(createGunzip()) : raw;
  if (input !== raw) raw.on('error', (e) => input.destroy(e));
  input.setEncoding('utf8');
  let rest = '';
  try {
    for await (const chunk of input) {
      const lines = (rest + (chunk as string)).split('\n');
      rest = lines.pop() ?? '';
      for (const text of lines) if (!one(text)) return;
    }
  } catch (e) {
    throw isReadError(e) ? readError(file, line + 1, e) : e;
  }
  if (rest !== '') one(rest);
}

/** One line of a tape file. */
export function parseLine(text: string, position: SourcePosition): PlacedTape {
  const json = parseJson(text, position);
  const parsed = tapeSchema.safeParse(json);
  if (!parsed.success) throw shapeError(parsed.error.issues[0], json, position);
  const unknown = unknownName(parsed.data);
  if (unknown !== undefined) {
    throw new LabError(
      'TAPE_NAME',
      `tape ${parsed.data.id}: ${unknown.path}: unknown ${unknown.what} "${unknown.name}"`,
      {
        position,
        hint: unknown.hint,
      },
    );
  }
  return { tape: parsed.data, position };
}

/** An error of the file system or of zlib: those carry a code in capitals. */
const isReadError = (e: unknown): e is NodeJS.ErrnoException =>
  e instanceof Error && !(e instanceof LabError) && 'code' in e && /^[EZ]/.test(String(e.code));

function readError(file: string, line: number, e: NodeJS.ErrnoException): LabError {
  const missing = e.code === 'ENOENT';
  return new LabError(missing ? 'TAPE_NOT_FOUND' : 'TAPE_UNREADABLE', `cannot read ${file}: ${e.message}`, {
    position: { file, line, column: 1 },
    hint: missing ? 'give the path of a .jsonl or .jsonl.gz file of tapes' : 'is it a whole .jsonl or .jsonl.gz file?',
  });
}

function parseJson(text: string, position: SourcePosition): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (e) {
    const message = (e as Error).message;
    const at = /position (\d+)/.exec(message)?.[1];
    throw new LabError('TAPE_JSON', `not JSON: ${message}`, {
      position: { ...position, column: at === undefined ? Math.max(text.length, 1) : Number(at) + 1 },
      hint: 'each line of a tape file is one whole JSON object; was the file cut?',
    });
  }
}

function shapeError(issue: z.core.$ZodIssue | undefined, json: unknown, position: SourcePosition): LabError {
  const path = issue === undefined ? '' : pathText(issue.path);
  const id = typeof json === 'object' && json !== null && 'id' in json ? `tape ${String(json.id)}: ` : '';
  return new LabError('TAPE_SHAPE', `${id}${path === '' ? 'the line' : path}: ${issue?.message ?? 'not a tape'}`, {
    position,
    hint: 'the fields of a tape and of its operations are listed in tapes/FORMAT.md',
  });
}

function pathText(path: readonly PropertyKey[]): string {
  let out = '';
  for (const step of path)
    out += typeof step === 'number' ? `[${String(step)}]` : out === '' ? String(step) : `.${String(step)}`;
  return out;
}
