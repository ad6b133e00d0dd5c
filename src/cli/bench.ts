/** `xenolith bench teardown`: what the end of an address space costs under each design. */
import { writeFileSync } from 'node:fs';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { LabError } from '../abi/errors.js';
import { measuredNs, modelledNs, plotsOf } from '../lab/bench/figures.js';
import { htmlReport } from '../lab/bench/html.js';
import { DEFAULT_MODEL, readModel, type CostModel } from '../lab/bench/model.js';
import {
  MAX_GRANTS,
  MAX_PAGES,
  parseShare,
  pointsOf,
  RESTORES,
  type Point,
  type Restore,
  type Share,
} from '../lab/bench/plan.js';
import { benchTeardown, type TeardownReport } from '../lab/bench/teardown.js';
import { loadCatalog } from '../lab/catalog.js';
import { hintFor } from '../scenario/suggest.js';
import { plotText } from './bench-plot.js';
import { csvReport, jsonReport, tables } from './bench-print.js';
import { EXIT_OK, EXIT_UNEXPECTED } from './exit.js';
import { interruptible } from './interrupt.js';
import type { Terminal } from './terminal.js';
import { whole } from './whole.js';
import { mustBeWritable } from './writable.js';

interface TeardownFlags {
  readonly designs?: readonly string[];
  readonly pages: readonly number[];
  readonly grants: readonly Share[];
  readonly vcpus: readonly number[];
  readonly threadsPerMm: readonly number[];
  readonly lazy: number;
  readonly restore: Restore;
  readonly repeat?: number;
  readonly bystander: boolean;
  readonly model?: string;
  readonly json?: true;
  readonly csv?: true;
  readonly html?: string;
  readonly quiet?: true;
}

const EXAMPLES = `
Examples:
  $ xenolith bench teardown
  $ xenolith bench teardown --designs notifier-async,pre-post --pages 256,4096,65536 --grants 0,1 --html cost.html
  $ xenolith bench teardown --pages 4096 --grants 0,1%,10%,50%,100% --json > cost.json
  $ xenolith bench teardown --pages 1024 --grants 0,10% --vcpus 4 --threads-per-mm 1,2 --lazy 2

Counted costs come from the controlled build and are exact; times come from the parallel build of this emulator, where a
hypercall is a function call; modelled times weigh the counted events with a cost model (--model FILE changes it):
  weights:
    hypercalls: 150
    emulations: {ns: 1200, source: measured on my machine}

Exit codes: 0 measured, 1 interrupted or a design broke, 2 bad input, 3 the laboratory broke.
`;

/** Rounds kept at a point unless said: fewer where one takes long. */
const roundsFor = (p: Point): number => Math.max(15, Math.min(100, Math.round(100 * (2048 / p.pages))));
const BYSTANDER_ROUNDS = 20;

/** Adds the command; `done` receives the exit code. */
export function addBench(program: Command, t: Terminal, done: (code: number) => void): void {
  const bench = program.command('bench').description('measure what designs cost');
  bench
    .command('teardown')
    .description('what the end of an address space costs under each design: counted, measured, modelled')
    .option('-d, --designs <names>', 'designs, with commas between; all right ones unless said', list(String))
    .addOption(
      listed('--pages <n,...>', 'pages of the process, granted ones included', whole(1, MAX_PAGES), '256,4096'),
    )
    .addOption(listed('--grants <n|n%,...>', 'how many of them are granted', share, '0,1,10%,50%,100%'))
    .addOption(listed('--vcpus <n,...>', 'vCPUs of its domain', whole(1, 63), '1'))
    .addOption(listed('--threads-per-mm <n,...>', 'threads of the process, each on a vCPU', whole(1, 63), '1'))
    .option('--lazy <n>', 'vCPUs that keep its tables loaded without running it', whole(0, 62), 0)
    .addOption(
      new Option('--restore <how>', "what becomes of the kernel's pages behind grants")
        .choices(RESTORES)
        .default('balloon'),
    )
    .option('--repeat <n>', 'rounds kept at each point', whole(1, 100_000))
    .option('--no-bystander', 'leave out what a vCPU beside it notices')
    .option('--model <file>', 'cost model (YAML)')
    .addOption(new Option('--json', 'the report as JSON on stdout').conflicts('csv'))
    .option('--csv', 'a line per point and design on stdout')
    .option('--html <file>', 'also write plots and tables to a file that needs nothing else')
    .option('-q, --quiet', 'no progress on stderr')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: TeardownFlags) => {
      done(await teardown(flags, t));
    });
  for (const c of bench.commands) c.copyInheritedSettings(program);
}

async function teardown(flags: TeardownFlags, t: Terminal): Promise<number> {
  const designs = chosen(flags.designs);
  const model = flags.model === undefined ? DEFAULT_MODEL : readModel(flags.model);
  const { threadsPerMm: threads, pages, grants, vcpus, lazy, restore } = flags;
  const points = pointsOf({ pages, grants, vcpus, threads, lazy });
  const tooMany = points.find((p) => p.grants > MAX_GRANTS);
  if (tooMany !== undefined) {
    throw new LabError('TOO_MANY_GRANTS', `${String(tooMany.grants)} grants do not fit the tables of one domain`, {
      hint: `at most ${String(MAX_GRANTS)}`,
    });
  }
  if (flags.html !== undefined) mustBeWritable(flags.html, '--html');
  const show = progress(t, flags.quiet === true);
  const report = await interruptible(t, (stop) =>
    benchTeardown({
      designs,
      points,
      restore,
      rounds: (p) => flags.repeat ?? roundsFor(p),
      bystanderRounds: () => (flags.bystander ? BYSTANDER_ROUNDS : 0),
      stop,
      onProgress: show,
    }),
  );
  t.status('');
  if (flags.html !== undefined) await writeHtml(flags.html, report, model, t);
  if (flags.json === true) t.out(jsonReport(report, model));
  else if (flags.csv === true) t.out(csvReport(report, model));
  else t.out(humanReport(report, model, t));
  const broke = report.points.some((p) => p.designs.some((d) => d.failed !== ''));
  return report.complete && !broke ? EXIT_OK : EXIT_UNEXPECTED;
}

const MEASURED = 'measured time of an exit in this emulator';
const MODELLED = 'modelled time of an exit';

function humanReport(report: TeardownReport, model: CostModel, t: Terminal): string {
  const plots = [...plotsOf(report, measuredNs, MEASURED), ...plotsOf(report, modelledNs(model), MODELLED)];
  const width = Math.min(t.columns, 110);
  return [tables(report, model, t.columns), ...plots.map((p) => plotText(p, width))].join('\n');
}

async function writeHtml(file: string, report: TeardownReport, model: CostModel, t: Terminal): Promise<void> {
  const plots = [...plotsOf(report, modelledNs(model), MODELLED), ...plotsOf(report, measuredNs, MEASURED)];
  const page = await htmlReport('xenolith bench teardown', plots, tables(report, model, Infinity));
  try {
    writeFileSync(file, page);
  } catch (e) {
    throw new LabError('NO_FILE', `the page cannot be written: ${e instanceof Error ? e.message : String(e)}`, {
      hint: 'look at --html',
    });
  }
  t.err(`written: ${file}`);
}

/** The designs asked for; without a word all that are not known wrong. */
function chosen(names: readonly string[] | undefined): string[] {
  const { designs } = loadCatalog();
  const known = designs.map((d) => d.name);
  if (names === undefined) return designs.filter((d) => !d.buggy).map((d) => d.name);
  for (const n of names) {
    if (!known.includes(n)) {
      throw new LabError('UNKNOWN_DESIGN', `there is no design '${n}'`, { hint: hintFor(n, known) });
    }
  }
  return [...new Set(names)];
}

/** On a terminal a line that changes, elsewhere also one for each point. */
function progress(t: Terminal, quiet: boolean): (text: string) => void {
  let point = '';
  return (text) => {
    if (quiet) return;
    t.status(text);
    const now = text.split(':')[0] ?? '';
    if (!t.live && now !== point && text.includes('warming')) t.err(`${now} …`);
    if (text.includes('warming')) point = now;
  };
}

/** A flag that is a list, its default shown as it would be typed. */
function listed(flag: string, description: string, one: (text: string) => unknown, usual: string): Option {
  return new Option(flag, description).argParser(list(one)).default(list(one)(usual), usual);
}

function list<T>(one: (text: string) => T): (text: string) => readonly T[] {
  return (text) => text.split(',').map((part) => one(part.trim()));
}

function share(text: string): Share {
  const s = parseShare(text);
  if (s === undefined) throw new InvalidArgumentError('a number of grants, or a share like 10%, is needed.');
  return s;
}
