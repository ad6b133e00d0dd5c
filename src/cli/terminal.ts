/**
 * Where a command writes: results on stdout, everything else on stderr; width and colour as the two ends allow.
 *
 * Invariant: a reader that goes away (EPIPE) ends the output, never the program; no line of ours needs a terminal.
 */
import type { WriteStream } from 'node:tty';

export interface Terminal {
  /** Result text. */
  out(text: string): void;
  /** A line for people on stderr. */
  err(line: string): void;
  /** How far long work is: replaces the status line on a terminal; elsewhere a line of its own now and then. '' ends it. */
  status(line: string): void;
  /** Columns that results may use; Infinity when they go to no terminal. */
  readonly columns: number;
  readonly colour: boolean;
  /** Whether stderr is a terminal, so that a status line can be redrawn. */
  readonly live: boolean;
  /** Aborted when the reader of the results has gone; absent where that cannot be. */
  readonly gone?: AbortSignal;
}

type Stream = Pick<WriteStream, 'write' | 'on'> & { readonly isTTY?: boolean; readonly columns?: number };

/** Between two lines about how far it is, where stderr is no terminal: at first, each time longer, at most. */
const PLAIN_MS = 5000;
const LONGER = 1.5;
const PLAIN_MOST_MS = 60_000;
const CLEAR = '\r\u001b[K';

/** A terminal over two streams, usually those of the process. */
export function terminalOver(stdout: Stream, stderr: Stream, env: NodeJS.ProcessEnv): Terminal {
  const gone = new AbortController();
  const out = guarded(stdout, () => {
    gone.abort();
  });
  const err = guarded(stderr, () => undefined);
  const noColour = (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb';
  const live = stderr.isTTY === true && env['TERM'] !== 'dumb';
  let drawn = false;
  let plainMs = performance.now();
  let everyMs = PLAIN_MS;
  const clear = (): void => {
    if (drawn) err(CLEAR);
    drawn = false;
  };
  return {
    out: (text) => {
      clear();
      out(text);
    },
    err: (line) => {
      clear();
      err(`${line}\n`);
    },
    status: (line) => {
      if (!live) {
        if (line === '' || performance.now() - plainMs < everyMs) return;
        plainMs = performance.now();
        everyMs = Math.min(PLAIN_MOST_MS, everyMs * LONGER);
        err(`${line}\n`);
        return;
      }
      const width = stderr.columns ?? 80;
      err(`${CLEAR}${line.length < width ? line : `${line.slice(0, width - 2)}…`}`);
      drawn = line !== '';
    },
    columns: stdout.isTTY === true ? (stdout.columns ?? 80) : Infinity,
    colour: stdout.isTTY === true && !noColour,
    live,
    gone: gone.signal,
  };
}

/** A writer that stops when its reader is gone. */
function guarded(stream: Stream, onGone: () => void): (text: string) => void {
  let open = true;
  stream.on('error', (e: NodeJS.ErrnoException) => {
    if (e.code !== 'EPIPE' && e.code !== 'ERR_STREAM_DESTROYED') throw e;
    open = false;
    onGone();
  });
  return (text) => {
    if (open) stream.write(text);
  };
}
