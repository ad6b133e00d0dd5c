/**
 * The command line as a whole: parses, runs one command, answers the exit code.
 *
 * Invariant: nothing here ends the process; a usage error is 2, whatever commander calls it.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { addBench } from './bench.js';
import { addConform } from './conform.js';
import { addDeaths } from './deaths.js';
import { addDescriptions } from './describe.js';
import { EXIT_INPUT, EXIT_OK, explain } from './exit.js';
import { addFuzz } from './fuzz.js';
import { addExplore } from './explore.js';
import { addFaults } from './faults.js';
import { addHostile } from './hostile.js';
import { addReplay } from './replay.js';
import { addInject } from './inject.js';
import { addRun } from './run.js';
import { addSoak } from './soak.js';
import type { Terminal } from './terminal.js';

const EXAMPLES = `
Examples:
  $ xenolith run guests/scenarios/teardown.yaml
  $ xenolith explore guests/scenarios/small/exit-revoke.yaml
  $ xenolith validate guests/scenarios/*.yaml
  $ xenolith designs
  $ xenolith conform
  $ xenolith bench teardown --pages 256,4096

Ctrl-C ends a command in order: it reports what there is. A second one ends it at once.
Exit codes: 0 as expected, 1 not as expected, or interrupted, 2 bad input, 3 the laboratory broke, 130 ended at once.
`;

/** Runs the command that `args` (without node and script) name; answers the exit code. */
export async function main(args: readonly string[], t: Terminal): Promise<number> {
  let code = EXIT_OK;
  const done = (c: number): void => {
    code = c;
  };
  const program = new Command('xenolith');
  program
    .description('Run paging-lifetime designs of a paravirtual machine instead of arguing about them.')
    .version(version())
    .showHelpAfterError('(add --help for the flags and examples)')
    .addHelpText('after', EXAMPLES);
  program.configureOutput({
    writeOut: (text) => {
      t.out(text);
    },
    writeErr: (text) => {
      t.err(text.trimEnd());
    },
    getOutHelpWidth: () => Math.min(t.columns, 100),
    getErrHelpWidth: () => Math.min(t.columns, 100),
  });
  program.exitOverride();
  addRun(program, t, done);
  addExplore(program, t, done);
  addReplay(program, t, done);
  addSoak(program, t, done);
  addConform(program, t, done);
  addFuzz(program, t, done);
  addBench(program, t, done);
  addInject(program, t, done);
  addFaults(program, t, done);
  addDeaths(program, t, done);
  addHostile(program, t, done);
  addDescriptions(program, t, done);
  for (const c of program.commands) c.copyInheritedSettings(program);
  try {
    await program.parseAsync(args, { from: 'user' });
    return code;
  } catch (e) {
    if (e instanceof CommanderError) return e.exitCode === 0 ? EXIT_OK : EXIT_INPUT;
    const told = explain(e);
    t.err(told.text);
    return told.code;
  }
}

/** The package's version, from the nearest package.json above this file (source and build lie at different depths). */
function version(): string {
  for (const up of ['../../package.json', '../../../../package.json']) {
    try {
      const text = readFileSync(new URL(up, import.meta.url), 'utf8');
      return String((JSON.parse(text) as { version?: unknown }).version);
    } catch {
      continue;
    }
  }
  return 'unknown';
}
