#!/usr/bin/env node
/** The executable: hears signals first, then loads and runs the command line. */
import { watchSignals } from './interrupt.js';

watchSignals((line) => {
  process.stderr.write(`\n${line}\n`);
});
const { start } = await import('./start.js');
process.exitCode = await start();
