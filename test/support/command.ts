/** The command as a process, as its users start it. */
import { spawn, type ChildProcess } from 'node:child_process';

const SCRIPT = 'dist/parallel/src/cli/main.js';

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}
export interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves when stderr has said it. */
  readonly says: (text: string) => Promise<void>;
}

export const start = (...args: string[]): Started => startWith(['--enable-source-maps'], args);

/** The same with flags of Node. */
export function startWith(node: readonly string[], args: readonly string[]): Started {
  const child = spawn(process.execPath, [...node, SCRIPT, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code, signal) => {
      resolve({ code, signal, out, err });
    });
  });
  const says = async (text: string): Promise<void> => {
    while (!err.includes(text) && child.exitCode === null) await new Promise((r) => setTimeout(r, 20));
  };
  return { child, ended, says };
}
