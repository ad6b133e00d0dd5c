/** Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends the process at once. */
import type { Terminal } from './terminal.js';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
/** 128 + SIGINT, as shells expect. */
const EXIT_SIGINT = 130;

/** Calls `body` with a signal that the first interrupt aborts; the handlers are gone when it has ended. */
export async function interruptible<T>(t: Terminal, body: (stop: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const onSignal = (): void => {
    if (stop.signal.aborted) process.exit(EXIT_SIGINT);
    t.err('stopping; the report of what ran follows (once more to end at once)');
    stop.abort();
  };
  for (const s of SIGNALS) process.on(s, onSignal);
  try {
    return await body(stop.signal);
  } finally {
    for (const s of SIGNALS) process.off(s, onSignal);
  }
}
