/** The log of a command: pino, synchronous, to stderr or a file; silent unless asked for. */
import { openSync } from 'node:fs';
import { pino, type Logger } from 'pino';
import { LabError } from '../abi/errors.js';

export const LOG_LEVELS = ['silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** A logger; a file alone means level `info`. A file that cannot be opened is a LabError. */
export function openLog(level: LogLevel | undefined, file: string | undefined): Logger {
  const chosen = level ?? (file === undefined ? 'silent' : 'info');
  return pino({ level: chosen, base: {} }, pino.destination({ dest: file === undefined ? 2 : open(file), sync: true }));
}

function open(file: string): number {
  try {
    return openSync(file, 'a');
  } catch (e) {
    const reason = e instanceof Error ? e.message : String(e);
    throw new LabError('LOG_UNWRITABLE', `the log cannot be written: ${reason}`, {
      hint: 'name a file in an existing folder',
    });
  }
}
