/**
 * Reads `.jsonl` and `.jsonl.gz` files a line at a time, and lines as tapes.
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

/** A line that is not blank, its number from 1 on, and how many bytes of the file were read up to about here. */
export interface Line {
  readonly text: string;
  readonly line: number;
  readonly bytes: number;
}

/** Longest line, in characters: a thousand times the longest recorded one. */
const MAX_LINE = 32 * 1024 * 1024;

/**
 * Hands every line of a file to `each`, in order, until `each` answers false. The file is not read on while `each` is
 * waited for. Throws LabError when it cannot be read.
 */
export async function readLines(file: string, each: (line: Line) => boolean | Promise<boolean>): Promise<void> {
  const raw = createReadStream(file);
  const input = file.endsWith('.gz') ? raw.pipe(createGunzip()) : raw;
  if (input !== raw) raw.on('error', (e) => input.destroy(e));
  input.setEncoding('utf8');
  let line = 0;
  const pieces: string[] = [];
  let held = 0;
  const hold = (piece: string): void => {
    pieces.push(piece);
    held += piece.length;
    if (held > MAX_LINE) throw tooLong(file, line + 1);
  };
  const one = (end: string): boolean | Promise<boolean> => {
    hold(end);
    const text = pieces.join('');
    pieces.length = 0;
    held = 0;
    line++;
    return text.trim() === '' || each({ text, line, bytes: raw.bytesRead });
  };
  try {
    for await (const chunk of input) {
      let start = 0;
      const text = chunk as string;
      for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', start)) {
        const more = one(text.slice(start, end));
        if (!(typeof more === 'boolean' ? more : await more)) return;
        start = end + 1;
      }
      hold(text.slice(start));
    }
    if (held > 0) await one('');
  } catch (e) {
    throw isReadError(e) ? readError(file, line + 1, e) : e;
  } finally {
    raw.destroy();
  }
}

/**
 * Hands every tape of a file to `each`, in the file's order, until `each` answers false.
 * Throws LabError at the first line that is no tape.
 */
export async function readTapes(file: string, each: (tape: PlacedTape) => boolean): Promise<void> {
  await readLines(file, ({ text, line }) => each(parseLine(text, { file, line, column: 1 })));
}

/** One line of a tape file. */
export const parseLine = (text: string, position: SourcePosition): PlacedTape => ({
  tape: parseTape(parseJson(text, position), position),
  position,
});

/** A line's JSON as a tape. */
export function parseTape(json: unknown, position: SourcePosition): Tape {
  const parsed = tapeSchema.safeParse(json);
  if (!parsed.success) throw shapeError(parsed.error.issues[0], json, position);
  const unknown = unknownName(parsed.data);
  if (unknown === undefined) return parsed.data;
  const { path, what, name, hint } = unknown;
  const message = `tape ${parsed.data.id}: ${path}: unknown ${what} "${name}"`;
  throw new LabError('TAPE_NAME', message, { position, hint });
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

const tooLong = (file: string, line: number): LabError =>
  new LabError('TAPE_LINE', `the line is longer than ${String(MAX_LINE / 1024 / 1024)} MiB`, {
    position: { file, line, column: 1 },
    hint: 'each line of a tape file is one whole JSON object; is it a .jsonl file?',
  });

export function parseJson(text: string, position: SourcePosition): unknown {
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
