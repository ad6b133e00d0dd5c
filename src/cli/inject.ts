/** `xenolith inject`: faults by name, one run with chosen ones, or a sweep over every occurrence of a site, of any files. */
import { availableParallelism } from 'node:os';
import type { Command } from 'commander';
import { LabError } from '../abi/errors.js';
import { loadCatalog } from '../lab/catalog.js';
import { inject, USUAL_MOST } from '../lab/inject/inject.js';
import { allSites, isSite, parseFault } from '../lab/inject/spec.js';
import { override } from '../lab/override.js';
import { readScenario, scenarioFiles } from '../lab/scenario-file.js';
import type { Scenario } from '../scenario/scenario.js';
import { hintFor } from '../scenario/suggest.js';
import { EXIT_OK, EXIT_UNEXPECTED } from './exit.js';
import { humanInject, jsonInject, jsonSites, siteList } from './inject-print.js';
import { interruptible } from './interrupt.js';
import { count } from './table.js';
import type { Terminal } from './terminal.js';
import { whole } from './whole.js';

interface InjectFlags {
  readonly list?: true;
  readonly design?: readonly string[];
  readonly fault?: readonly string[];
  readonly sweep?: readonly string[];
  readonly pairs?: true;
  readonly answers?: true;
  readonly persistent?: true;
  readonly most: number;
  readonly workers?: number;
  readonly json?: true;
  readonly quiet?: true;
}

const EXAMPLES = `
A sweep fails the first, the second, the third … occurrence of a site, each in an execution of its own, until one meets
no such occurrence; it needs scenarios with a 'small' section. Executions run in one fixed order, so the n-th occurrence
is the same every time. With --persistent that occurrence fails and every later one as well. A cell of the matrix is the
worst of its occurrences in all scenarios; scenarios say what each is expected to be, and a cell that is better or worse
is reported.

Examples:
  $ xenolith inject --list
  $ xenolith inject guests/scenarios/faults --sweep all
  $ xenolith inject guests/scenarios/faults --sweep gnttab.unmap --sweep mmuext.unpin --persistent
  $ xenolith inject guests/scenarios/faults/exit.yaml --sweep gnttab.unmap --pairs --design notifier-split
  $ xenolith inject guests/scenarios/faults/exit.yaml --design notifier --fault gnttab.unmap:nth=2,status=eagain

Exit codes: 0 every cell as expected, 1 not, or interrupted, 2 bad input, 3 the laboratory broke.
`;

/** Adds the command; `done` receives the exit code. */
export function addInject(program: Command, t: Terminal, done: (code: number) => void): void {
  program
    .command('inject')
    .description('inject faults into a small scenario and say what leaks, who dies, and which faults mattered')
    .argument('[files...]', 'scenarios (YAML) with a small section, or folders of them')
    .option('--list', 'the sites, and what each can return')
    .option('-d, --design <name>', "a design, several times, or 'all'", collect)
    .option('--fault <site:key=value,…>', 'a fault of one execution, several times', collect)
    .option('--sweep <site>', "every occurrence of a site, several times, or 'all'", collect)
    .option('--pairs', 'every pair of occurrences too')
    .option('--answers', 'every answer of a site, not only its first')
    .option('--persistent', 'from each occurrence on, all of them')
    .option('--most <n>', 'occurrences of a site at most, spread over all of them', whole(1, 1_000_000), USUAL_MOST)
    .option('--workers <n>', 'threads (default: one a core)', whole(1, 64))
    .option('--json', 'the report as JSON on stdout')
    .option('-q, --quiet', 'no progress on stderr')
    .addHelpText('after', EXAMPLES)
    .action(async (files: string[], flags: InjectFlags) => {
      if (flags.list === true) {
        t.out(flags.json === true ? jsonSites() : siteList(t.columns));
        done(EXIT_OK);
      } else done(await injectFiles(files, flags, t));
    });
}

async function injectFiles(files: readonly string[], flags: InjectFlags, t: Terminal): Promise<number> {
  if (files.length === 0) throw new LabError('NO_FILE', 'no scenario is named', { hint: 'or --list' });
  const catalog = loadCatalog();
  const scenarios = chosen(
    scenarioFiles(files).map((f) => readScenario(f, catalog)),
    flags.design,
    catalog.designs.map((d) => d.name),
  );
  const faults = (flags.fault ?? []).map(parseFault);
  const sweep = sweepOf(flags);
  const planned = faults.length > 0 || scenarios.some((s) => s.faults.length > 0);
  if (sweep === undefined && !planned) {
    throw new LabError('BAD_FLAG', 'nothing is to be injected', { hint: '--sweep all, or --fault SITE' });
  }
  if (sweep !== undefined && planned) {
    throw new LabError('BAD_FLAG', 'a sweep plans its faults itself', { hint: 'leave out --fault, or --sweep' });
  }
  const report = await interruptible(t, (stop) =>
    inject(scenarios, {
      catalog,
      faults,
      sweep,
      workers: flags.workers ?? availableParallelism(),
      stop: t.gone === undefined ? stop : AbortSignal.any([stop, t.gone]),
      onProgress: (n, done, of) => {
        if (flags.quiet !== true)
          t.status(
            `${count(n)} faults injected, ${String(done)} of ${String(of)} ${scenarios.length > 1 ? 'sweeps' : 'designs'} done`,
          );
      },
    }),
  );
  t.status('');
  t.out(flags.json === true ? jsonInject(report) : humanInject(report, t.columns));
  const good = report.whole && report.missed.length === 0 && report.matrix.every((c) => c.expected);
  const met = report.runs.every((r) => r.expected && r.faults.every((f) => f.hits > 0));
  return good && met ? EXIT_OK : EXIT_UNEXPECTED;
}

/** The scenarios under the designs asked for; of several scenarios those that have one of them. */
function chosen(
  all: readonly Scenario[],
  designs: readonly string[] | undefined,
  known: readonly string[],
): readonly Scenario[] {
  if (designs === undefined || designs.includes('all')) return all;
  return all.flatMap((s) => {
    // A design that no scenario has, or that does not exist, is refused with its hint.
    const own = designs.filter((d) => s.designs.includes(d) || !all.some((x) => x.designs.includes(d)));
    return own.length === 0 ? [] : [override(s, { designs: own }, known)];
  });
}

function sweepOf(flags: InjectFlags): Parameters<typeof inject>[1]['sweep'] {
  if (flags.sweep === undefined) return undefined;
  const all = flags.sweep.includes('all');
  for (const s of flags.sweep) {
    if (s !== 'all' && !isSite(s))
      throw new LabError('BAD_FLAG', `there is no site '${s}'`, { hint: hintFor(s, allSites()) });
  }
  return {
    sites: all ? allSites() : flags.sweep.filter(isSite),
    pairs: flags.pairs === true,
    answers: flags.answers === true,
    persistent: flags.persistent === true,
    most: flags.most,
  };
}

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];
