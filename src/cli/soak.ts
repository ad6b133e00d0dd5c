/** `xenolith soak`: scenarios over and over, to see that no run hangs and none is unexpected. */
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { loadCatalog } from '../lab/catalog.js';
import { readScenario, scenarioFiles } from '../lab/scenario-file.js';
import { soak, type SoakRun } from '../lab/soak.js';
import { EXIT_OK, EXIT_UNEXPECTED } from './exit.js';
import { interruptible } from './interrupt.js';
import { count } from './table.js';
import type { Terminal } from './terminal.js';
import { whole } from './whole.js';

const SHIPPED = new URL('../../guests/scenarios/', import.meta.url);
const SCRIPT = fileURLToPath(new URL('main.js', import.meta.url));

interface SoakFlags {
  readonly minutes: number;
  readonly seed: number;
  readonly bound: number;
  readonly json?: true;
  readonly quiet?: true;
}

const EXAMPLE = `
Example:
  $ xenolith soak --minutes 10
  $ xenolith soak guests/scenarios/busy-page.yaml --minutes 1 --json

Exit codes: 0 everything as expected, 1 not, or interrupted, 2 bad input, 3 the laboratory broke.
`;

/** Adds the command; `done` receives the exit code. */
export function addSoak(program: Command, t: Terminal, done: (code: number) => void): void {
  program
    .command('soak')
    .description('run scenarios again and again with changing seeds, each in a process of its own')
    .argument('[files...]', 'scenarios (YAML), or folders of them; the shipped ones unless named')
    .option('--minutes <n>', 'how long', whole(1, 10_080), 10)
    .option('--seed <n>', 'seed of the first run; each later run takes the next', whole(0, 0xffffffff), 1)
    .option('--bound <s>', 'seconds after which a run counts as hung', whole(1, 86_400), 900)
    .option('--json', 'the report as JSON on stdout')
    .option('-q, --quiet', 'no progress on stderr')
    .addHelpText('after', EXAMPLE)
    .action(async (files: string[], flags: SoakFlags) => {
      const catalog = loadCatalog();
      const named = scenarioFiles(files);
      for (const file of named) readScenario(file, catalog);
      const { runs, complete } = await interruptible(t, async (stop) => {
        const all = await soak({
          script: SCRIPT,
          files: named.length > 0 ? named : shipped(),
          minutes: flags.minutes,
          firstSeed: flags.seed,
          boundSeconds: flags.bound,
          stop,
          onRun: (r) => {
            if (flags.quiet !== true) t.err(sentence(r));
          },
        });
        return { runs: all, complete: !stop.aborted };
      });
      t.out(flags.json === true ? `${JSON.stringify({ runs, complete }, null, 2)}\n` : summary(runs));
      done(runs.every(good) && complete ? EXIT_OK : EXIT_UNEXPECTED);
    });
}

const good = (r: SoakRun): boolean => r.stopped || (r.code === EXIT_OK && !r.hung);

function shipped(): string[] {
  const names = readdirSync(SHIPPED).filter((f) => f.endsWith('.yaml'));
  return names.sort().map((f) => fileURLToPath(new URL(f, SHIPPED)));
}

function sentence(r: SoakRun): string {
  const how = r.hung
    ? 'HUNG'
    : r.stopped
      ? 'interrupted'
      : r.code === EXIT_OK
        ? 'as expected'
        : `exit ${String(r.code)}: ${r.unexpected.join(', ')}`;
  return `${r.file} --seed ${String(r.seed)}: ${how} (${r.seconds.toFixed(1)} s, ${count(r.hypercalls)} hypercalls)`;
}

function summary(runs: readonly SoakRun[]): string {
  const sum = (f: (r: SoakRun) => number): string => count(Math.round(runs.reduce((n, r) => n + f(r), 0)));
  const bad = runs.filter((r) => !good(r));
  const lines = [
    `${count(runs.length)} runs, ${sum((r) => r.designs)} designs, ${sum((r) => r.hypercalls)} hypercalls, ${sum((r) => r.seconds)} s`,
    `${count(runs.filter((r) => r.hung).length)} hung, ${count(bad.length)} not as expected`,
    ...bad.map((r) => `  ${sentence(r)}`),
  ];
  return `${lines.join('\n')}\n`;
}
