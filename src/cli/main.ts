#!/usr/bin/env node
/** The executable: the process around `program.ts`. */
import { explain } from './exit.js';
import { main } from './program.js';
import { terminalOver } from './terminal.js';

const t = terminalOver(process.stdout, process.stderr, process.env);
process.on('uncaughtException', (e) => {
  const told = explain(e);
  t.err(told.text);
  process.exit(told.code);
});
process.exitCode = await main(process.argv.slice(2), t);
