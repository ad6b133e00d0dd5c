/**
 * Ctrl-C and SIGTERM: the first asks for an orderly end and a report, the second ends the process at once.
 *
 * Invariant: once the process watches, a signal that comes before there is anything to end is kept for the first work.
 * Lock: none; the one state here is the process's, whose signals these are.
 */
import type { Terminal } from './terminal.js';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
/** 128 + SIGINT, as shells expect: the second interrupt. */
export const EXIT_AT_ONCE = 130;
const TOLD = 'stopping; the report of what ran follows (once more to end at once)';

/** What the first signal ends. */
const watched: { stop: AbortController | undefined } = { stop: undefined };

/** Takes the signals over for the rest of the process's life; to be called before anything that takes time. */
export function watchSignals(tell: (line: string) => void): void {
  const stop = new AbortController();
  watched.stop = stop;
  for (const s of SIGNALS) process.on(s, onSignal(stop, tell));
}

const onSignal = (stop: AbortController, tell: (line: string) => void) => (): void => {
  if (stop.signal.aborted) process.exit(EXIT_AT_ONCE);
  tell(TOLD);
  stop.abort();
};

/** Calls `body` with a signal that the first interrupt aborts, or has aborted already. */
export async function interruptible<T>(t: Terminal, body: (stop: AbortSignal) => Promise<T>): Promise<T> {
  if (watched.stop !== undefined) return await body(watched.stop.signal);
  const stop = new AbortController();
  const listener = onSignal(stop, (line) => {
    t.err(line);
  });
  for (const s of SIGNALS) process.on(s, listener);
  try {
    return await body(stop.signal);
  } finally {
    for (const s of SIGNALS) process.off(s, listener);
  }
}
