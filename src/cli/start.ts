/** The process around `program.ts`: its streams, its arguments, and what nobody caught. */
import { explain } from './exit.js';
import { main } from './program.js';
import { terminalOver } from './terminal.js';

/** Runs the command that the process was called with; answers the exit code. */
export async function start(): Promise<number> {
  const t = terminalOver(process.stdout, process.stderr, process.env);
  process.on('uncaughtException', (e) => {
    const told = explain(e);
    t.err(told.text);
    process.exit(told.code);
  });
  return await main(process.argv.slice(2), t);
}
